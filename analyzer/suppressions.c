/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/suppressions.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/block_kinds.h"
#include "analyzer/rows.h"
#include "common/buffer.h"
#include "common/xalloc.h"

/*
 * What glibc and libstdc++ keep until the end of every program, most of which valgrind frees
 * before its report (__libc_freeres, __gnu_cxx::__freeres).  Each stack is told as closely as
 * can be: constructors of libraries run below ld.so, too, and dlopen() calls them by
 * _dlerror_run().
 */
#define LEAK(name, frames) "{\n" name "\nMemcheck:Leak\n" frames "}\n"
#define STDOUT_BUFFER(by) \
	LEAK("libc: buffer of standard output, by " by, \
	     "fun:malloc\nfun:_IO_file_doallocate\n...\nfun:" by "\n")

const char suppressions_built_in[] =
	/* 72,704 bytes in libstdc++ 5 to 12, 73,728 from 13 on */
	LEAK("libstdc++: emergency pool for exceptions",
	     "fun:malloc\nobj:*/libstdc++.so*\nobj:*/ld-*.so*\n")
	LEAK("libstdc++: emergency pool for exceptions, where it has names",
	     "fun:malloc\n...\nfun:_GLOBAL__sub_I_eh_alloc.cc\n")
	STDOUT_BUFFER("puts") STDOUT_BUFFER("_IO_puts") STDOUT_BUFFER("printf")
	STDOUT_BUFFER("__printf") STDOUT_BUFFER("__printf_chk") STDOUT_BUFFER("___printf_chk")
	STDOUT_BUFFER("vprintf") STDOUT_BUFFER("__vprintf_chk") STDOUT_BUFFER("putchar")
	LEAK("libc: buffer of standard output, by C++ streams",
	     "fun:malloc\nfun:_IO_file_doallocate\n...\nobj:*/libstdc++.so*\n")
	/* glibc keeps the stacks of threads that ended, and this with them */
	LEAK("ld.so: thread-local storage of a thread", "...\nfun:_dl_allocate_tls\n")
	LEAK("ld.so: thread-local storage of a library", "...\nfun:*tls_get_addr*\n")
	LEAK("libc: why the last call of dlopen() and the like failed",
	     "fun:*alloc\nfun:_dlerror_run\n")
	LEAK("libc: why the last call of dlopen() and the like failed, as text",
	     "...\nfun:dlerror\n")
	LEAK("libc: why the last call of dlopen() and the like failed, as text",
	     "...\nfun:__dlerror\n");

/* ---- patterns ------------------------------------------------------------------------- */

/* '*' is any text, also none; '?' one character, where @question. */
static bool glob(const char *p, const char *s, bool question)
{
	const char *star = NULL, *from = NULL;

	while (*s) {
		if (*p == '*') {
			star = p++;
			from = s;
		} else if (*p == *s || (question && *p == '?')) {
			p++;
			s++;
		} else if (star) { /* it stands for one character more */
			p = star + 1;
			s = ++from;
		} else {
			return false;
		}
	}
	while (*p == '*')
		p++;
	return !*p;
}

/* LeakSanitizer's are found anywhere, but for '^' at the begin and '$' at the end: as a glob. */
static char *anchored(const char *text)
{
	size_t n = strlen(text);
	bool begins = *text == '^', ends = n > begins && text[n - 1] == '$';

	return xasprintf("%s%.*s%s", begins ? "" : "*", (int)(n - begins - ends), text + begins,
			 ends ? "" : "*");
}

/*
 * A linker's name with wildcards cannot be demangled; but one of plain, nested names up to
 * there can be read: "_ZN3app4load*" is "app::load*".  NULL where it is anything else.
 */
static char *read_mangled(const char *text)
{
	struct buffer b = {0};
	const char *p = text + 2, *between = "", *end;
	bool nested = *p == 'N';

	if (!strncmp(text, "_Znw", 4) || !strncmp(text, "_Zna", 4))
		return xasprintf("operator new%s(*", text[3] == 'a' ? "[]" : "");
	p += nested;
	p += nested && *p == 'K';
	if (!strncmp(p, "St", 2)) {
		buffer_append(&b, "std", 3);
		between = "::";
		p += 2;
	}
	while (isdigit((unsigned char)*p)) {
		char *name;
		size_t n = strtoul(p, &name, 10);

		if (n > strlen(name) || memchr(name, '*', n) || memchr(name, '?', n))
			break;
		buffer_append(&b, between, strlen(between));
		buffer_append(&b, name, n);
		between = "::";
		p = name + n;
	}
	end = *p == 'I' ? "<*" : *p == 'E' || *p == 'v' || *p == '*' ? "*" : NULL;
	if (!b.len || !end) {
		buffer_release(&b);
		return NULL;
	}
	buffer_append(&b, end, strlen(end) + 1);
	return (char *)b.data;
}

static void add_pattern(struct suppression *s, enum suppression_place place, const char *text,
			suppressions_demangler *demangle)
{
	struct suppression_pattern p = {.place = place};

	p.text = place == SUPPRESSION_ANYWHERE ? anchored(text) : xstrdup(text);
	if (place == SUPPRESSION_FUNCTION && !strncmp(text, "_Z", 2)) {
		p.demangled = text[strcspn(text, "*?")] ? read_mangled(text)
			      : demangle		? demangle(text)
							: NULL;
	}
	ARRAY_GROW(s->patterns, s->cap_patterns, s->n_patterns);
	s->patterns[s->n_patterns++] = p;
}

/* ---- files ---------------------------------------------------------------------------- */

struct reading {
	struct suppressions *to;
	const char *name; /* of the file; the suppressions' */
	const char *next; /* the rest of it */
	unsigned int line;
	enum suppression_origin origin;
	suppressions_demangler *demangle;
	char *text; /* the line, without blanks around it */
	struct err *err;
};

/* The next line that is not empty and no comment; false: there is none. */
static bool next_line(struct reading *r)
{
	while (*r->next) {
		const char *begin = r->next + strspn(r->next, " \t\r");
		const char *end = begin + strcspn(begin, "\n");

		r->next = *end ? end + 1 : end;
		r->line++;
		while (end > begin && isspace((unsigned char)end[-1]))
			end--;
		if (end == begin || *begin == '#')
			continue;
		free(r->text);
		r->text = xstrndup(begin, (size_t)(end - begin));
		return true;
	}
	return false;
}

static int expected(const struct reading *r, const char *what)
{
	return err_set(r->err, ERR_USAGE, 0, "%s:%u: expected %s, not '%.80s'", r->name, r->line,
		       what, r->text);
}

static int ends_early(const struct reading *r, unsigned int begin)
{
	return err_set(r->err, ERR_USAGE, 0,
		       "%s:%u: expected '}' after this suppression, not the end of the file",
		       r->name, begin);
}

static struct suppression *add(struct reading *r, const char *name)
{
	struct suppressions *s = r->to;

	ARRAY_GROW(s->items, s->cap, s->n);
	s->items[s->n] = (struct suppression){.name = xstrdup(name), .file = r->name,
					      .line = r->line, .origin = r->origin,
					      .kinds = BLOCK_KINDS_ALL};
	return &s->items[s->n++];
}

/* What follows "KEY:" in the line; NULL where it is another. */
static const char *after(const char *line, const char *key)
{
	size_t n = strlen(key);

	return strncmp(line, key, n) ? NULL : line + n + strspn(line + n, " \t");
}

static int read_sanitizers(struct reading *r)
{
	const char *pattern = after(r->text, "leak:");

	if (!pattern || !pattern[strspn(pattern, "*^$")])
		return expected(r, "'leak:PATTERN' or '{'");
	add_pattern(add(r, pattern), SUPPRESSION_ANYWHERE, pattern, NULL);
	return 0;
}

/* Of memcheck's, those that are no leaks. */
static bool is_other_kind(const char *kind)
{
	static const char *const kinds[] = {"Value", "Addr", "Cond", "Jump", "Param", "Free",
					    "Overlap", "User", "Realloc"};

	for (size_t i = 0; i < COUNT_OF(kinds); i++)
		if (!strncmp(kind, kinds[i], strlen(kinds[i])))
			return true;
	return false;
}

/* "Memcheck:Leak", or "tool1,tool2:kind". */
static int read_kind(struct reading *r, bool *ret_is_leak)
{
	const char *colon = strchr(r->text, ':'), *tool = r->text;
	bool is_memcheck = false;

	if (!colon || !colon[1] || !after(colon, ":")[0])
		return expected(r, "'TOOL:KIND' such as 'Memcheck:Leak'");
	while (tool < colon) {
		size_t n = strcspn(tool, ",:");

		is_memcheck |= n == strlen("Memcheck") && !strncmp(tool, "Memcheck", n);
		tool += n + 1;
	}
	*ret_is_leak = is_memcheck && !strcmp(after(colon, ":"), "Leak");
	if (is_memcheck && !*ret_is_leak && !is_other_kind(after(colon, ":")))
		return expected(r, "'Memcheck:Leak' or another kind of error that memcheck knows");
	return 0;
}

static int read_leak_kinds(struct reading *r, const char *kinds, struct suppression *s)
{
	const char *bad;
	int len;

	if (block_kinds_parse(kinds, &s->kinds, &bad, &len))
		return 0;
	return expected(r, "leak kinds: definite, possible, indirect, reachable or all, with "
			   "commas between");
}

static int read_frame(struct reading *r, struct suppression *s)
{
	static const struct {
		const char *key;
		enum suppression_place place;
	} keys[] = {{"fun:", SUPPRESSION_FUNCTION}, {"obj:", SUPPRESSION_MODULE},
		    {"src:", SUPPRESSION_SOURCE}};
	const char *text;

	if (!strcmp(r->text, "...")) {
		add_pattern(s, SUPPRESSION_FRAMES, "", NULL);
		return 0;
	}
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		text = after(r->text, keys[i].key);
		if (!text || !*text)
			continue;
		add_pattern(s, keys[i].place, text, r->demangle);
		return 0;
	}
	return expected(r, "'fun:', 'obj:' or 'src:' with a name, '...' or '}'");
}

static int pass_over(struct reading *r, unsigned int begin)
{
	while (next_line(r))
		if (!strcmp(r->text, "}"))
			return 0;
	return ends_early(r, begin);
}

/* From "{" to "}". */
static int read_valgrinds(struct reading *r)
{
	unsigned int begin = r->line;
	struct suppression *s;
	bool is_leak = false, named;
	const char *kinds;
	char *name;
	int error;

	named = next_line(r);
	if (named && !strcmp(r->text, "}"))
		return expected(r, "the suppression's name");
	name = named ? xstrdup(r->text) : NULL;
	if (!name || !next_line(r)) {
		free(name);
		return ends_early(r, begin);
	}
	error = read_kind(r, &is_leak);
	if (error || !is_leak) {
		free(name);
		return error ? error : pass_over(r, begin);
	}
	s = add(r, name);
	free(name);
	s->line = begin;
	s->is_frames = true;
	while (next_line(r)) {
		kinds = s->n_patterns ? NULL : after(r->text, "match-leak-kinds:");
		if (!strcmp(r->text, "}"))
			return s->n_patterns ? 0 : expected(r, "a line for a frame, or '...'");
		error = kinds ? read_leak_kinds(r, kinds, s) : read_frame(r, s);
		if (error)
			return error;
	}
	return ends_early(r, begin);
}

int suppressions_parse(struct suppressions *s, const char *name, const char *text,
		       enum suppression_origin origin, suppressions_demangler *demangle,
		       struct err *err)
{
	struct reading r = {.to = s, .next = text, .origin = origin, .demangle = demangle,
			    .err = err};
	int error = 0;

	ARRAY_GROW(s->files, s->cap_files, s->n_files);
	r.name = s->files[s->n_files++] = xstrdup(name);
	while (!error && next_line(&r))
		error = strcmp(r.text, "{") ? read_sanitizers(&r) : read_valgrinds(&r);
	free(r.text);
	return error;
}

void suppressions_release(struct suppressions *s)
{
	for (size_t i = 0; i < s->n; i++) {
		for (size_t k = 0; k < s->items[i].n_patterns; k++) {
			free(s->items[i].patterns[k].text);
			free(s->items[i].patterns[k].demangled);
			free(s->items[i].patterns[k].seen);
		}
		free(s->items[i].patterns);
		free(s->items[i].name);
	}
	for (size_t i = 0; i < s->n_files; i++)
		free(s->files[i]);
	free(s->items);
	free(s->files);
	memset(s, 0, sizeof(*s));
}

/* ---- matching ------------------------------------------------------------------------- */

/* glibc's functions have a second name for calls among themselves. */
static const char *usual_name(const char *function)
{
	return function && !strncmp(function, "__GI_", 5) ? function + 5 : function;
}

/* What valgrind calls the frames outside of main(). */
static bool is_below_main(const char *function)
{
	return !strncmp(function, "__libc_start", 12) || !strcmp(function, "_start");
}

static bool matches_function(const struct suppression_pattern *p, const char *function)
{
	function = function ? function : "???"; /* valgrind's word for it */
	if (!strcmp(p->text, "(below main)") && is_below_main(function))
		return true;
	return glob(p->text, function, true) ||
	       (p->demangled && glob(p->demangled, function, true));
}

/* "FILE" or "FILE:LINE"; the whole path or its last part. */
static bool matches_source(const struct suppression_pattern *p, const struct catalog_frame *f)
{
	const char *names[2] = {f->file, f->file ? path_base(f->file) : NULL};
	bool is = false;

	for (size_t i = 0; f->file && i < COUNT_OF(names) && !is; i++) {
		char *with_line = xasprintf("%s:%u", names[i], f->line);

		is = glob(p->text, names[i], true) || glob(p->text, with_line, true);
		free(with_line);
	}
	return is;
}

static bool is_anywhere(const char *pattern, const char *name)
{
	return name && *name && glob(pattern, name, false);
}

static bool compare(const struct suppression_pattern *p, const struct catalog *c,
		    const struct catalog_frame *f)
{
	const char *module = catalog_module_path(c, f->module);

	switch (p->place) {
	case SUPPRESSION_FUNCTION:
		return matches_function(p, usual_name(f->function));
	case SUPPRESSION_MODULE:
		return glob(p->text, module ? module : "???", true);
	case SUPPRESSION_SOURCE:
		return matches_source(p, f);
	case SUPPRESSION_ANYWHERE:
		return is_anywhere(p->text, usual_name(f->function)) ||
		       is_anywhere(p->text, f->file) || is_anywhere(p->text, module);
	case SUPPRESSION_FRAMES:
		break;
	}
	return true;
}

enum { NOT_SEEN, MATCHES, MATCHES_NOT };

/* Many stacks have the same frames: each is compared once. */
static bool matches(struct suppression_pattern *p, const struct catalog *c, struct frame_id f)
{
	if (f.v >= c->n_frames)
		return false;
	if (!p->seen)
		p->seen = xcalloc(c->n_frames, 1);
	if (p->seen[f.v] == NOT_SEEN)
		p->seen[f.v] = compare(p, c, catalog_frame(c, f)) ? MATCHES : MATCHES_NOT;
	return p->seen[f.v] == MATCHES;
}

/*
 * The frame of the allocating function, which valgrind's stacks begin with.  Ours begin with
 * who called it, unless it called another one: operator new.  Which it was is not recorded.
 */
static bool matches_allocator(const struct suppression_pattern *p)
{
	static const char *const functions[] = {"malloc", "calloc", "realloc", "memalign",
						"posix_memalign", "aligned_alloc", "reallocarray",
						"valloc", "pvalloc"};

	if (p->place == SUPPRESSION_MODULE)
		return !strcmp(p->text, "*") || strstr(p->text, "vgpreload");
	for (size_t i = 0; p->place == SUPPRESSION_FUNCTION && i < COUNT_OF(functions); i++)
		if (glob(p->text, functions[i], true))
			return true;
	return false;
}

/* As glob(), with frames for characters; what is left of the frames does not matter. */
static bool matches_frames(struct suppression *s, const struct catalog *c,
			   const struct stack_walk *w, bool with_allocator)
{
	size_t p = 0, at = 0, star = SIZE_MAX, from = 0, n = w->n + with_allocator;

	while (p < s->n_patterns) {
		struct suppression_pattern *x = &s->patterns[p];

		if (x->place == SUPPRESSION_FRAMES) {
			star = p++;
			from = at;
		} else if (at < n && (with_allocator && !at
					      ? matches_allocator(x)
					      : matches(x, c, w->frames[at - with_allocator]))) {
			p++;
			at++;
		} else if (star != SIZE_MAX && from < n) {
			p = star + 1;
			at = ++from;
		} else {
			return false;
		}
	}
	return true;
}

static bool is_of(struct suppression *s, const struct catalog *c, const struct stack_walk *w)
{
	if (s->is_frames)
		return matches_frames(s, c, w, true) || matches_frames(s, c, w, false);
	for (size_t i = 0; i < w->n; i++)
		if (matches(&s->patterns[0], c, w->frames[i]))
			return true;
	return false;
}

struct suppression *suppressions_match(struct suppressions *s, const struct catalog *c,
				       const struct stack_walk *w, enum block_kind kind)
{
	for (size_t i = 0; i < s->n; i++) {
		bool may_be = kind == BLOCK_NOT_LOOKED_AT || s->items[i].kinds >> kind & 1;

		if (may_be && is_of(&s->items[i], c, w))
			return &s->items[i];
	}
	return NULL;
}
