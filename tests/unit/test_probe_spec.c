/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/probe_spec.h"

#include <string.h>

#include "tests/unit/tap.h"

static struct probe_specs specs;
static struct err err;

static void begin(void)
{
	probe_specs_release(&specs);
	memset(&err, 0, sizeof(err));
}

static const struct family_function *parse(const char *text)
{
	begin();
	if (probe_specs_add(&specs, text, &err)) {
		diag("%s", err.what);
		return NULL;
	}
	return &specs.specs[0].function;
}

static bool is_refused(const char *text, unsigned int column, const char *words)
{
	char start[32];

	begin();
	snprintf(start, sizeof(start), "column %u ", column);
	if (!probe_specs_add(&specs, text, &err) || specs.n)
		return false;
	if (strncmp(err.what, start, strlen(start)) || !strstr(err.what, words) || !err.hint[0])
		diag("%s", err.what);
	return !strncmp(err.what, start, strlen(start)) && strstr(err.what, words) && err.hint[0];
}

static void forms(void)
{
	const struct family_function *f;

	f = parse("my_malloc: alloc size=arg1");
	ok(f && f->op == PROBE_ALLOC && f->size == 1 && !f->factor && !f->pointer && !f->pool,
	   "alloc");
	f = parse("  my_calloc:alloc   size=arg1*arg2 ");
	ok(f && f->op == PROBE_ALLOC && f->size == 1 && f->factor == 2, "a product; no space");
	f = parse("my_pool_alloc: alloc pool=arg1 size=arg2 layer=x");
	ok(f && f->pool == 1 && f->size == 2 && !strcmp(specs.specs[0].layer, "x"), "in a pool");
	f = parse("f: alloc ptr=*arg1 size=arg3 ok=nonzero");
	ok(f && f->op == PROBE_ALLOC_OUT && f->pointer == 1 && f->ok == PROBE_OK_NONZERO, "out");
	f = parse("luau_alloc: realloc ptr=arg2 size=arg4");
	ok(f && f->op == PROBE_REALLOC && f->pointer == 2 && f->size == 4, "realloc");
	f = parse("hedl_parse: acquire key=*arg4");
	ok(f && f->op == PROBE_ALLOC_OUT && f->pointer == 4 &&
		   specs.specs[0].kind == FAMILY_COUNTED, "acquire, out");
	f = parse("object_retain: acquire key=arg1");
	ok(f && f->op == PROBE_ALLOC_ENTRY && !family_function_returns(f), "acquire at the entry");
	f = parse("trylock: acquire ok=zero key=arg1");
	ok(f && f->op == PROBE_ALLOC_ARG && family_function_returns(f), "… or if it succeeds");
	f = parse("apr_pool_create_ex: pool_new pool=*arg1 parent=arg2");
	ok(f && f->op == PROBE_ALLOC_OUT && f->pool == 2 && f->pointer == 1, "pool_new");
	f = parse("apr_pool_clear: reset pool=arg1");
	ok(f && f->op == PROBE_POOL_RESET && f->pointer == 1 && !f->pool, "reset");
	f = parse("libfoo.so:0x1f0: destroy pool=arg6");
	ok(f && f->is_address && f->address == 0x1f0 && f->op == PROBE_POOL_DESTROY &&
		   f->pointer == 6 && !strcmp(specs.specs[0].module, "libfoo.so"), "an address");
	f = parse("_ZN1a1bEv: alloc size=arg2 nothrow");
	ok(f && !f->throws, "C++ that does not throw");
	f = parse("_ZN1a1cEv: free ptr=arg1");
	ok(f && f->throws && !family_function_returns(f), "or has no return probe");
}

static void errors(void)
{
	ok(is_refused("", 1, "no function"), "nothing");
	ok(is_refused("f", 2, "a colon is missing"), "no colon");
	ok(is_refused("f: ", 4, "missing"), "no operation");
	ok(is_refused("f: gibt", 4, "'gibt' is none of"), "unknown operation");
	ok(is_refused("f: alloc size=arg7", 15, "arg1 to arg6"), "argument 7");
	ok(is_refused("f: alloc size=arg0", 15, "arg1 to arg6"), "argument 0");
	ok(is_refused("f: alloc size=x", 15, "no argument"), "no argument");
	ok(is_refused("f: alloc size=arg1*", 20, "no argument"), "half a product");
	ok(is_refused("f: alloc size=12x", 15, "no size"), "no number");
	ok(is_refused("f: free", 8, "needs ptr="), "free of nothing");
	ok(is_refused("f: free size=arg1", 9, "takes no size="), "a key that it does not take");
	ok(is_refused("f: free ptr=arg1 free", 18, "key=value"), "no pair");
	ok(is_refused("f: free pt=arg1", 9, "'pt' is none"), "an unknown key");
	ok(is_refused("f: release key=*arg1", 16, "not what it points"), "a free's out-pointer");
	ok(is_refused("f: release key=ret", 16, "too late"), "a free's result");
	ok(is_refused("f: alloc size=1 size=1", 17, "twice"), "twice");
	ok(is_refused("f(int): free ptr=arg1", 2, "linker's"), "a C++ name");
	ok(is_refused(":f: free ptr=arg1", 1, "no module"), "no module");
	ok(is_refused("0x1: free ptr=arg1", 1, "its module"), "an address of nothing");
	ok(is_refused("f: free ptr=arg1 layer=", 24, "1 to 31"), "a layer without a name");
	ok(is_refused("f: reset pool=arg1 layer=heap", 26, "layer heap"), "a pool of the heap");
}

static void together(void)
{
	const struct family *f = specs.families;
	char text[64];
	int r = 0;

	begin();
	probe_specs_add(&specs, "_my_malloc: alloc size=arg1", &err);
	probe_specs_add(&specs, "my_free: free ptr=arg1", &err);
	probe_specs_add(&specs, "my_ref: acquire key=arg1", &err);
	probe_specs_add(&specs, "slab: alloc size=96 layer=slab", &err);
	probe_specs_add(&specs, "slob: alloc size=96 layer=heap", &err);
	ok(!probe_specs_finish(&specs, &err) && specs.n_families == 4 && specs.n_constants == 1,
	   "families by layer and kind");
	ok(f[0].id == 32 && !strcmp(f[0].name, "my") && f[0].layer == 1 && f[0].n_functions == 2 &&
		   !strcmp(f[1].name, "my references") && f[1].layer == 1,
	   "named by what their functions begin with");
	ok(f[2].layer == 2 && f[2].functions[0].factor == COOKIE_CONSTANT_FACTOR &&
		   specs.constants[0] == 96, "a layer of its own, and a constant size");
	ok(f[3].layer == LAYER_HEAP && !strcmp(f[3].layer_name, "heap"), "or malloc's");
	begin();
	probe_specs_add(&specs, "fopen: acquire key=ret", &err);
	probe_specs_add(&specs, "fclose: release key=arg1", &err);
	ok(!probe_specs_finish(&specs, &err) && !strcmp(f[0].layer_name, "user"), "or user");
	begin();
	probe_specs_add(&specs, "f: free ptr=arg1", &err);
	probe_specs_add(&specs, "f: release key=arg1", &err);
	ok(probe_specs_finish(&specs, &err) && strstr(err.what, "twice"), "twice in a layer");
	begin();
	for (int i = 0; i < 16; i++) {
		snprintf(text, sizeof(text), "f%d: free ptr=arg1 layer=l%d", i, i);
		r |= probe_specs_add(&specs, text, &err);
	}
	ok(!r && probe_specs_finish(&specs, &err) && strstr(err.what, "15 layers"), "many layers");
	begin();
}

int main(void)
{
	forms();
	errors();
	together();
	return done();
}
