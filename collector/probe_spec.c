/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/probe_spec.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "store/layers.h"

#define ARGUMENTS_MAX 6
#define LAYER_NAME_MAX 31
#define FUNCTIONS_MAX 256 /* of a family */
#define DEFAULT_LAYER "user"

/* ---- what the operations are -------------------------------------------------------- */

enum key {
	KEY_POOL = 1,
	KEY_SIZE = 2,
	KEY_PTR = 4,
	KEY_KEY = 8,
	KEY_PARENT = 16,
	KEY_OK = 32,
	KEY_LAYER = 64,
};

static const struct {
	const char *name;
	enum key key;
} key_names[] = {
	{"pool", KEY_POOL},   {"size", KEY_SIZE},     {"ptr", KEY_PTR}, {"key", KEY_KEY},
	{"parent", KEY_PARENT}, {"ok", KEY_OK}, {"layer", KEY_LAYER},
};

static const struct operation {
	const char *name;
	enum family_kind kind;
	enum probe_op op;
	unsigned int needs, takes; /* keys; all take layer= */
	enum key block;		   /* which of them is the block */
	enum key pool;		   /* and which its pool */
} operations[] = {
	{"alloc", FAMILY_BLOCKS, PROBE_ALLOC, KEY_SIZE, KEY_PTR | KEY_POOL | KEY_OK, KEY_PTR,
	 KEY_POOL},
	{"realloc", FAMILY_BLOCKS, PROBE_REALLOC, KEY_PTR | KEY_SIZE, KEY_POOL, KEY_PTR, KEY_POOL},
	{"free", FAMILY_BLOCKS, PROBE_FREE, KEY_PTR, 0, KEY_PTR, 0},
	{"acquire", FAMILY_COUNTED, PROBE_ALLOC, KEY_KEY, KEY_SIZE | KEY_OK, KEY_KEY, 0},
	{"release", FAMILY_COUNTED, PROBE_FREE, KEY_KEY, 0, KEY_KEY, 0},
	{"pool_new", FAMILY_POOLS, PROBE_ALLOC, KEY_POOL, KEY_PARENT | KEY_OK, KEY_POOL,
	 KEY_PARENT},
	{"reset", FAMILY_POOLS, PROBE_POOL_RESET, KEY_POOL, 0, KEY_POOL, 0},
	{"destroy", FAMILY_POOLS, PROBE_POOL_DESTROY, KEY_POOL, 0, KEY_POOL, 0},
};

/* ---- one spec ----------------------------------------------------------------------- */

struct parser {
	struct probe_specs *specs;
	struct probe_spec *spec;
	const struct operation *operation;
	unsigned int keys; /* that were given */
	bool nothrow;
	struct err *err;
};

/* A part of the spec's text. */
struct word {
	const char *p;
	size_t len;
};

static int wrong_at(const struct parser *ps, const char *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int wrong_at(const struct parser *ps, const char *at, const char *fmt, ...)
{
	size_t column = (size_t)(at - ps->spec->text) + 1;
	va_list ap;
	char what[300];

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	err_set(ps->err, ERR_USAGE, 0, "column %zu of the probe '%.120s': %s", column,
		ps->spec->text, what);
	err_hint(ps->err, "a probe is written as `[MODULE:]SYMBOL: OP [key=value ...]`, for "
			  "example `my_malloc: alloc size=arg1`; see heaptrail(1), PROBING YOUR "
			  "OWN ALLOCATORS");
	return -EINVAL;
}

static struct word next_word(const char **at)
{
	struct word w;

	while (isspace((unsigned char)**at))
		++*at;
	w.p = *at;
	while (**at && !isspace((unsigned char)**at))
		++*at;
	w.len = (size_t)(*at - w.p);
	return w;
}

static bool is_word(struct word w, const char *text)
{
	return w.len == strlen(text) && !memcmp(w.p, text, w.len);
}

static bool is_symbol_char(char c)
{
	return isalnum((unsigned char)c) || strchr("_.$@~+-", c);
}

/* "0x1234": a place in the module. */
static int parse_address(struct parser *ps, struct word w)
{
	struct family_function *f = &ps->spec->function;
	char *end;

	if (w.len < 3 || w.p[0] != '0' || (w.p[1] != 'x' && w.p[1] != 'X'))
		return 0;
	errno = 0;
	f->address = strtoull(w.p, &end, 16);
	if (errno || end != w.p + w.len)
		return wrong_at(ps, w.p, "'%.*s' is no address", (int)w.len, w.p);
	if (!ps->spec->module)
		return wrong_at(ps, w.p, "an address needs its module: MODULE:%.*s", (int)w.len,
				w.p);
	f->is_address = true;
	return 0;
}

/* "MODULE:SYMBOL:"; returns where what is behind it begins. */
static int parse_place(struct parser *ps, const char **at)
{
	struct word w = next_word(at), symbol;
	const char *colon = w.len ? memrchr(w.p, ':', w.len) : NULL, *module;

	if (!w.len)
		return wrong_at(ps, w.p, "there is no function");
	if (!colon)
		return wrong_at(ps, w.p + w.len, "a colon is missing behind '%.*s'", (int)w.len,
				w.p);
	*at = colon + 1;
	symbol = (struct word){w.p, (size_t)(colon - w.p)};
	module = memrchr(symbol.p, ':', symbol.len);
	if (module) {
		if (module == symbol.p)
			return wrong_at(ps, symbol.p, "there is no module before the colon");
		ps->spec->module = xasprintf("%.*s", (int)(module - symbol.p), symbol.p);
		symbol = (struct word){module + 1, (size_t)(colon - module - 1)};
	}
	if (!symbol.len)
		return wrong_at(ps, symbol.p, "there is no function before the colon");
	for (size_t i = 0; i < symbol.len; i++)
		if (!is_symbol_char(symbol.p[i]))
			return wrong_at(ps, symbol.p + i, "'%c' is in no function's name (of C++, "
					"the linker's is meant, which begins with _Z)",
					symbol.p[i]);
	ps->spec->symbol = xasprintf("%.*s", (int)symbol.len, symbol.p);
	return parse_address(ps, symbol);
}

static int parse_operation(struct parser *ps, const char **at)
{
	struct word w = next_word(at);
	size_t i;

	for (i = 0; i < COUNT_OF(operations) && !is_word(w, operations[i].name); i++)
		;
	if (i == COUNT_OF(operations))
		return wrong_at(ps, w.p, w.len ? "'%.*s' is none of alloc, realloc, free, acquire, "
						 "release, pool_new, reset and destroy"
					       : "what it does is missing%.*s", (int)w.len, w.p);
	ps->operation = &operations[i];
	ps->spec->kind = operations[i].kind;
	ps->spec->function.op = operations[i].op;
	return 0;
}

/* "arg3" */
static int parse_argument(struct parser *ps, struct word w, uint8_t *ret)
{
	if (w.len < 4 || memcmp(w.p, "arg", 3) || !isdigit((unsigned char)w.p[3]))
		return wrong_at(ps, w.p, "'%.*s' is no argument such as arg1", (int)w.len, w.p);
	if (w.len != 4 || w.p[3] < '1' || w.p[3] > '0' + ARGUMENTS_MAX)
		return wrong_at(ps, w.p, "there is no '%.*s': arguments are arg1 to arg%d, those "
				"that are passed in registers", (int)w.len, w.p, ARGUMENTS_MAX);
	*ret = (uint8_t)(w.p[3] - '0');
	return 0;
}

static int parse_constant(struct parser *ps, struct word w)
{
	char *end;

	errno = 0;
	ps->spec->constant = strtoull(w.p, &end, 0);
	if (errno || end != w.p + w.len)
		return wrong_at(ps, w.p, "'%.*s' is no size", (int)w.len, w.p);
	ps->spec->has_constant = true;
	return 0;
}

static int parse_size(struct parser *ps, struct word w)
{
	struct family_function *f = &ps->spec->function;
	const char *times = memchr(w.p, '*', w.len);
	struct word first = w;
	int r;

	if (w.len && isdigit((unsigned char)w.p[0]))
		return parse_constant(ps, w);
	if (times)
		first.len = (size_t)(times - w.p);
	r = parse_argument(ps, first, &f->size);
	if (r || !times)
		return r;
	return parse_argument(ps, (struct word){times + 1, w.len - first.len - 1}, &f->factor);
}

/* "arg1", "*arg1" or "ret": the block, or the key, or the pool. */
static int parse_block(struct parser *ps, struct word w)
{
	struct family_function *f = &ps->spec->function;

	if (is_word(w, "ret")) {
		if (f->op != PROBE_ALLOC)
			return wrong_at(ps, w.p, "%s takes an argument: what it returns comes too "
					"late", ps->operation->name);
		return 0;
	}
	if (w.len && *w.p == '*') {
		if (f->op != PROBE_ALLOC)
			return wrong_at(ps, w.p, "%s takes the argument itself, not what it points "
					"to", ps->operation->name);
		f->op = PROBE_ALLOC_OUT;
		return parse_argument(ps, (struct word){w.p + 1, w.len - 1}, &f->pointer);
	}
	if (f->op == PROBE_ALLOC)
		f->op = PROBE_ALLOC_ENTRY; /* but if the result matters */
	return parse_argument(ps, w, &f->pointer);
}

static int parse_ok(struct parser *ps, struct word w)
{
	enum probe_ok *ok = &ps->spec->function.ok;

	if (is_word(w, "any"))
		*ok = PROBE_OK_ANY;
	else if (is_word(w, "zero"))
		*ok = PROBE_OK_ZERO;
	else if (is_word(w, "nonzero"))
		*ok = PROBE_OK_NONZERO;
	else
		return wrong_at(ps, w.p, "ok= is any, zero or nonzero, not '%.*s'", (int)w.len,
				w.p);
	return 0;
}

static int parse_layer(struct parser *ps, struct word w)
{
	for (size_t i = 0; i < w.len; i++)
		if (!isalnum((unsigned char)w.p[i]) && !strchr("_.-", w.p[i]))
			return wrong_at(ps, w.p + i, "'%c' is in no layer's name", w.p[i]);
	if (!w.len || w.len > LAYER_NAME_MAX)
		return wrong_at(ps, w.p, "a layer's name has 1 to %d characters", LAYER_NAME_MAX);
	if (is_word(w, "heap") && ps->spec->kind != FAMILY_BLOCKS)
		return wrong_at(ps, w.p, "layer heap has alloc, realloc and free only");
	ps->spec->layer = xasprintf("%.*s", (int)w.len, w.p);
	return 0;
}

static int parse_value(struct parser *ps, enum key key, struct word value)
{
	switch (key) {
	case KEY_SIZE:
		return parse_size(ps, value);
	case KEY_OK:
		return parse_ok(ps, value);
	case KEY_LAYER:
		return parse_layer(ps, value);
	default:
		break;
	}
	return key == ps->operation->block
		       ? parse_block(ps, value)
		       : parse_argument(ps, value, &ps->spec->function.pool);
}

static const char *name_of(enum key key)
{
	for (size_t i = 0; i < COUNT_OF(key_names); i++)
		if (key_names[i].key == key)
			return key_names[i].name;
	return "";
}

static int parse_pair(struct parser *ps, struct word w)
{
	const char *equals = memchr(w.p, '=', w.len);
	struct word name = w, value;
	size_t i;

	if (is_word(w, "nothrow")) {
		ps->nothrow = true;
		return 0;
	}
	if (!equals)
		return wrong_at(ps, w.p, "'%.*s' is not of the form key=value", (int)w.len, w.p);
	name.len = (size_t)(equals - w.p);
	value = (struct word){equals + 1, w.len - name.len - 1};
	for (i = 0; i < COUNT_OF(key_names) && !is_word(name, key_names[i].name); i++)
		;
	if (i == COUNT_OF(key_names))
		return wrong_at(ps, w.p, "'%.*s' is none of pool, size, ptr, key, parent, ok and "
				"layer", (int)name.len, name.p);
	if (!((ps->operation->needs | ps->operation->takes | KEY_LAYER) & key_names[i].key))
		return wrong_at(ps, w.p, "%s takes no %s=", ps->operation->name, key_names[i].name);
	if (ps->keys & key_names[i].key)
		return wrong_at(ps, w.p, "%s= comes twice", key_names[i].name);
	ps->keys |= key_names[i].key;
	return parse_value(ps, key_names[i].key, value);
}

/* What the parts of it say together. */
static int check(struct parser *ps, const char *end)
{
	struct family_function *f = &ps->spec->function;
	unsigned int missing = ps->operation->needs & ~ps->keys;

	if (missing)
		return wrong_at(ps, end, "%s needs %s=", ps->operation->name,
				name_of((enum key)(missing & -missing)));
	if (f->op == PROBE_ALLOC_ENTRY && f->ok != PROBE_OK_USUAL)
		f->op = PROBE_ALLOC_ARG;
	/* a return probe would end the process when an exception passes */
	f->throws = !strncmp(ps->spec->symbol, "_Z", 2) && !ps->nothrow;
	return 0;
}

static int parse(struct parser *ps)
{
	const char *at = ps->spec->text;
	struct word w;
	int r = parse_place(ps, &at);

	if (!r)
		r = parse_operation(ps, &at);
	while (!r && (w = next_word(&at)).len)
		r = parse_pair(ps, w);
	return r ? r : check(ps, at);
}

static void spec_release(struct probe_spec *spec)
{
	free(spec->text);
	free(spec->module);
	free(spec->symbol);
	free(spec->layer);
}

int probe_specs_add(struct probe_specs *s, const char *text, struct err *err)
{
	struct parser ps = {.specs = s, .err = err};
	int r;

	if (s->n == PROBE_SPECS_MAX)
		return err_set(err, ERR_USAGE, 0, "there are more than %d probes", PROBE_SPECS_MAX);
	ARRAY_GROW(s->specs, s->cap, s->n);
	ps.spec = &s->specs[s->n];
	*ps.spec = (struct probe_spec){.text = xstrdup(text)};
	r = parse(&ps);
	if (r)
		spec_release(ps.spec);
	else
		s->n++;
	return r;
}

static int add_line(struct probe_specs *s, const char *path, unsigned int number, char *line,
		    struct err *err)
{
	struct err e = {0};

	line[strcspn(line, "#\n")] = '\0';
	if (!line[strspn(line, " \t\r\v\f")])
		return 0;
	if (!probe_specs_add(s, line, &e))
		return 0;
	err_set(err, e.class, 0, "line %u of '%s', %s", number, path, e.what);
	err_hint(err, "%s", e.hint);
	return -EINVAL;
}

int probe_specs_read(struct probe_specs *s, const char *path, struct err *err)
{
	unsigned int number = 0;
	char *line = NULL;
	size_t cap = 0;
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return err_set(err, ERR_USAGE, errno, "cannot open the probes in '%s'", path);
	while (!r && getline(&line, &cap, f) > 0)
		r = add_line(s, path, ++number, line, err);
	if (!r && ferror(f))
		r = err_set(err, ERR_USAGE, EIO, "cannot read the probes in '%s'", path);
	free(line);
	fclose(f);
	return r;
}

/* ---- all of them -------------------------------------------------------------------- */

/* What the symbols of those without a layer begin with, up to an underscore. */
static char *common_name(const struct probe_specs *s)
{
	const char *first = NULL;
	size_t len = 0;

	for (size_t i = 0; i < s->n; i++) {
		const char *symbol = s->specs[i].symbol;
		size_t n = 0;

		if (s->specs[i].layer)
			continue;
		symbol += strspn(symbol, "_");
		if (!first) {
			first = symbol;
			len = strlen(symbol);
		}
		while (n < len && symbol[n] == first[n])
			n++;
		len = n;
	}
	while (len && first[len - 1] != '_')
		len--;
	while (len && first[len - 1] == '_')
		len--;
	if (len < 2 || len > LAYER_NAME_MAX || strcspn(first, ".$@~+") < len ||
	    (len == 4 && !memcmp(first, "heap", 4)) || isdigit((unsigned char)*first))
		return xstrdup(DEFAULT_LAYER);
	return xasprintf("%.*s", (int)len, first);
}

static int too_many(const char *what, int n, struct err *err)
{
	return err_set(err, ERR_USAGE, 0, "the probes have more than %d %s", n, what);
}

/* The layer of that name: a number, the next one if it is new; -1: there are no more. */
static int layer_number(const struct probe_specs *s, const char *name)
{
	int next = 1;

	if (!strcmp(name, "heap"))
		return LAYER_HEAP;
	for (size_t i = 0; i < s->n_families; i++) {
		if (!strcmp(s->families[i].layer_name, name))
			return s->families[i].layer;
		if (s->families[i].layer >= next)
			next = s->families[i].layer + 1;
	}
	return next < PROBE_LAYERS ? next : -1;
}

static const char *family_name(const char *layer, enum family_kind kind)
{
	switch (kind) {
	case FAMILY_POOLS:
		return xasprintf("%s" LAYERS_POOLS_SUFFIX, layer);
	case FAMILY_COUNTED:
		return xasprintf("%s" LAYERS_COUNTED_SUFFIX, layer);
	default:
		return xstrdup(strcmp(layer, "heap") ? layer : "user malloc");
	}
}

static const char *layer_of(const struct probe_specs *s, const struct probe_spec *spec)
{
	return spec->layer ? spec->layer : s->default_layer;
}

static struct family *find_family(struct probe_specs *s, const char *layer, enum family_kind kind)
{
	for (size_t i = 0; i < s->n_families; i++)
		if (s->families[i].kind == kind && !strcmp(s->families[i].layer_name, layer))
			return &s->families[i];
	return NULL;
}

static int set_constant(struct probe_specs *s, struct probe_spec *spec, struct err *err)
{
	size_t i;

	for (i = 0; i < s->n_constants && s->constants[i] != spec->constant; i++)
		;
	if (i == PROBE_CONSTANTS)
		return too_many("different sizes", PROBE_CONSTANTS, err);
	s->constants[i] = spec->constant;
	if (i == s->n_constants)
		s->n_constants++;
	spec->function.size = (uint8_t)(i % 16);
	spec->function.factor = (uint8_t)(COOKIE_CONSTANT_FACTOR + i / 16);
	return 0;
}

/* The same function in the same layer: one call cannot be two things. */
static int check_twice(const struct probe_specs *s, size_t at, struct err *err)
{
	const struct probe_spec *a = &s->specs[at];

	for (size_t i = 0; i < at; i++) {
		const struct probe_spec *b = &s->specs[i];

		if (!strcmp(a->symbol, b->symbol) && !strcmp(layer_of(s, a), layer_of(s, b)) &&
		    (a->module && b->module ? !strcmp(a->module, b->module)
					    : a->module == b->module))
			return err_set(err, ERR_USAGE, 0,
				       "the function '%.120s' is probed twice in layer %s",
				       a->symbol, layer_of(s, a));
	}
	return 0;
}

static int add_to_family(struct probe_specs *s, size_t at, struct err *err)
{
	struct probe_spec *spec = &s->specs[at];
	const char *layer = layer_of(s, spec);
	struct family *f = find_family(s, layer, spec->kind);
	int number = layer_number(s, layer);
	struct family_function *functions;

	if (number < 0)
		return too_many("layers", PROBE_LAYERS - 1, err);
	if (!f) {
		if (s->n_families == FAMILY_USER_MAX)
			return too_many("families", FAMILY_USER_MAX, err);
		f = &s->families[s->n_families];
		*f = (struct family){.id = (uint8_t)(FAMILY_USER_FIRST + s->n_families++),
				     .kind = spec->kind,
				     .name = family_name(layer, spec->kind),
				     .layer = (uint8_t)number,
				     .layer_name = layer,
				     .realloc_0_frees = true};
	}
	if (f->n_functions == FUNCTIONS_MAX)
		return too_many("functions in one layer", FUNCTIONS_MAX, err);
	functions = (struct family_function *)f->functions;
	functions = xrealloc(functions, (f->n_functions + 1) * sizeof(*functions));
	functions[f->n_functions] = spec->function;
	functions[f->n_functions].symbol = spec->symbol;
	functions[f->n_functions].module = spec->module;
	functions[f->n_functions].spec = (uint16_t)at;
	f->functions = functions;
	f->n_functions++;
	return 0;
}

int probe_specs_finish(struct probe_specs *s, struct err *err)
{
	int r = 0;

	s->default_layer = common_name(s);
	for (size_t i = 0; i < s->n && !r; i++) {
		r = check_twice(s, i, err);
		if (!r && s->specs[i].has_constant)
			r = set_constant(s, &s->specs[i], err);
		if (!r)
			r = add_to_family(s, i, err);
	}
	return r;
}

void probe_specs_release(struct probe_specs *s)
{
	for (size_t i = 0; i < s->n; i++)
		spec_release(&s->specs[i]);
	for (size_t i = 0; i < s->n_families; i++) {
		free((char *)s->families[i].name);
		free((void *)s->families[i].functions);
	}
	free(s->specs);
	free(s->default_layer);
	memset(s, 0, sizeof(*s));
}
