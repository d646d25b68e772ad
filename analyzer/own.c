/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/own.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/hash.h"
#include "common/xalloc.h"

/* ---- the rules ---------------------------------------------------------------------- */

/* Modules, by the last part of their path, all of whose functions are skipped. */
static const char *const library_modules[] = {
	"libc.so.6", "libc-[0-9]*.so", "ld-linux*.so*", "ld-[0-9]*.so", "libpthread.so*",
	"libm.so*", "libdl.so*", "libgcc_s.so*", "libstdc++.so*", "libc++.so*", "libc++abi.so*",
	"libc.musl-*.so*", "ld-musl-*.so*", "libjemalloc.so*", "libtcmalloc*.so*",
	"libmimalloc.so*", "[[]vdso]",
};

/* Source files: what templates and inlined functions of a runtime come from. */
static const char *const library_files[] = {
	"*/include/c++/*", "*/c++/v1/*", "/rustc/*", "*/rustlib/src/rust/library/*",
};

/* Functions, wherever they are: static programs have them in themselves. */
static const char *const library_functions[] = {
	/* allocators */
	"malloc", "calloc", "realloc", "reallocarray", "free", "posix_memalign", "memalign",
	"aligned_alloc", "valloc", "pvalloc", "cfree", "__libc_malloc", "__libc_calloc",
	"__libc_realloc", "__libc_memalign", "_int_malloc", "_int_realloc", "_int_memalign",
	"_mid_memalign", "sysmalloc", "__GI___*", "tcache_init*", "je_*", "mi_*", "tc_*",
	/* what they and others map memory by */
	"mmap", "mmap64", "__mmap", "__mmap64", "munmap", "__munmap", "mremap", "__mremap", "brk",
	"__brk", "syscall", "sbrk", "__sbrk", "shmat", "__shmat", "__glibc_morecore",
	"__default_morecore",
	/* C++ */
	"operator new*", "operator delete*", "std::*", "__gnu_cxx::*", "__cxxabiv1::*", "__cxa_*",
	"__gnu_debug::*",
	/* Rust */
	"alloc::*", "core::*", "hashbrown::*", "<alloc::*", "<core::*", "<std::*", "__rust_*",
	"__rdl_*", "__rg_*", "<* as alloc::*", "<* as core::*",
	/* the same, not demangled */
	"_Znw*", "_Zna*", "_Zdl*", "_Zda*", "_ZSt*", "_ZNS[a-z]*", "_ZNKS[a-z]*", "_ZN9__gnu_cxx*",
	"_ZNK9__gnu_cxx*", "_ZN10__cxxabiv1*", "_ZNK10__cxxabiv1*", "_ZN11__gnu_debug*",
	"_ZNK11__gnu_debug*", "_ZN3std[0-9]*", "_ZN4core[0-9]*", "_ZN5alloc[0-9]*",
	"_ZN9hashbrown[0-9]*", "_ZN[0-9]*_$LT$std..*", "_ZN[0-9]*_$LT$core..*",
	"_ZN[0-9]*_$LT$alloc..*",
	/* glibc's functions that allocate for their caller */
	"strdup", "__strdup", "strndup", "__strndup", "wcsdup", "getline", "_IO_getline*",
	"getdelim", "_IO_getdelim", "__getdelim", "asprintf", "__asprintf", "___asprintf",
	"vasprintf", "_IO_vasprintf", "__vasprintf*", "fopen", "fopen64", "_IO_new_fopen",
	"__fopen_internal", "fdopen", "_IO_new_fdopen", "opendir", "__opendir*", "__alloc_dir",
	"scandir*", "__scandir*", "glob", "glob64", "open_memstream", "_IO_file_doallocate",
	"_IO_doallocbuf", "_IO_*", "getaddrinfo", "regcomp", "re_compile_*", "qsort", "qsort_r",
	"__qsort_r", "setlocale", "newlocale", "tsearch", "hsearch_r", "hcreate_r", "realpath",
	"__realpath*", "getcwd", "__getcwd", "setvbuf", "pthread_create", "__pthread_create*",
	"allocate_stack", "_dl_*", "__dl*", "dlopen*",
};

/* Well-known functions of programs and libraries that hand out malloc's blocks as their own. */
static const char *const wrapper_functions[] = {
	/* GNU and many others */
	"xmalloc", "xcalloc", "xrealloc", "xreallocarray", "xzalloc", "xstrdup", "xstrndup",
	"xmemdup", "xnmalloc", "xnrealloc", "xpalloc", "x2realloc", "x2nrealloc", "xasprintf",
	"xvasprintf", "safe_malloc", "checked_malloc", "emalloc", "ecalloc", "erealloc", "zmalloc",
	"zcalloc", "zrealloc", "ztrymalloc*", "zmalloc_*",
	"xmalloc_*", "xrealloc_*", "ggc_internal_*alloc*", "ggc_alloc*", "obstack_*", "_obstack_*",
	"rpl_malloc", "rpl_realloc",
	/* GLib */
	"g_malloc*", "g_try_malloc*", "g_realloc*", "g_try_realloc*", "g_slice_alloc*",
	"g_slice_copy", "g_strdup*", "g_strndup", "g_strconcat", "g_strjoin*", "g_memdup*",
	"g_strdup_printf", "g_strdup_vprintf", "g_vasprintf", "g_aligned_alloc*",
	/* Python, Lua, Perl, Ruby, Tcl, Guile */
	"PyMem_*", "PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc", "_PyMem_*",
	"_PyObject_Malloc", "_PyObject_Calloc", "_PyObject_Realloc", "_PyObject_GC_*",
	"PyObject_GC_*", "_PyObject_New*", "PyType_GenericAlloc", "_PyObject_Arena*",
	"new_arena", "pymalloc_alloc", "allocate_from_new_pool", "l_alloc", "luaM_*",
	"Perl_safesys*", "Perl_safe*alloc", "S_safemalloc", "Perl_sv_grow", "ruby_x*alloc*",
	"objspace_x*alloc*", "Tcl_Alloc", "TclpAlloc", "Tcl_Realloc", "scm_malloc",
	"scm_gc_malloc*",
	/* databases, cryptography, media, networks */
	"sqlite3Malloc*", "sqlite3_malloc*", "sqlite3Realloc*", "sqlite3_realloc*", "sqlite3Mem*",
	"sqlite3DbMalloc*", "sqlite3DbRealloc*", "sqlite3DbStr*Dup", "sqlite3MallocZero",
	"dbMallocRawFinish", "dbReallocFinish", "mallocWithAlarm", "sqlite3PageMalloc",
	"pcache1Alloc",
	"CRYPTO_malloc", "CRYPTO_zalloc", "CRYPTO_realloc", "CRYPTO_strdup", "CRYPTO_memdup",
	"OPENSSL_*alloc*", "palloc", "palloc0", "repalloc", "MemoryContextAlloc*", "AllocSetAlloc*",
	"av_malloc*", "av_mallocz*", "av_calloc", "av_realloc*", "av_fast_*alloc*", "av_strdup",
	"av_memdup", "vlc_alloc", "apr_palloc", "apr_pcalloc*", "talloc_*", "_talloc*", "ngx_alloc",
	"ngx_calloc", "ngx_palloc*", "ngx_pcalloc", "evbuffer_chain_new*", "event_mm_*",
	"xmlMalloc*", "xmlMem*", "xmlStrdup", "xmlStrndup", "png_malloc*", "jpeg_get_*",
	"nettle_xrealloc", "gcry_*alloc*", "_gcry_*alloc*", "curl_*alloc", "Curl_*alloc*",
	"git__malloc", "git__calloc", "git__realloc*", "git__strdup", "do_xmalloc", "strbuf_grow",
	/* JavaScript, JITs, browsers */
	"js_malloc*", "js_calloc*", "js_realloc*", "js_def_malloc", "v8::internal::Malloced::*",
	"llvm::safe_*alloc", "llvm::allocate_buffer*", "WTF::fastMalloc*", "moz_x*alloc",
	"PL_*Alloc*", "PR_Malloc", "PR_Calloc", "uv__malloc", "uv__calloc", "uv__realloc",
};

static bool matches_any(const char *const *patterns, size_t n, const char *text)
{
	for (size_t i = 0; text && i < n; i++) {
		size_t plain = strcspn(patterns[i], "*?[\\"); /* most differ in these already */

		if (!strncmp(patterns[i], text, plain) && !fnmatch(patterns[i], text, 0))
			return true;
	}
	return false;
}

/* What follows is then a part of the name: "operator new", "ns::operator bool". */
static bool ends_in_operator(const char *begin, const char *end)
{
	size_t n = (size_t)(end - begin);

	return n >= 8 && !strncmp(end - 8, "operator", 8) && (n == 8 || end[-9] == ':');
}

/* "void ns::f<int>(g (*)())" begins with its return type, which no pattern is about. */
static const char *without_return_type(const char *function)
{
	const char *begin = function;
	int depth = 0;

	for (const char *p = function; *p && (*p != '(' || depth); p++) {
		if (*p == '<')
			depth++;
		else if (*p == '>' && depth && p[-1] != '-')
			depth--;
		else if (*p == ' ' && !depth && !ends_in_operator(begin, p))
			begin = p + 1;
	}
	return begin;
}

static enum skip_reason reason_of(const struct catalog *c, const struct catalog_frame *f,
				  const char *const *skip, size_t n)
{
	const char *module = catalog_module_path(c, f->module), *function = f->function;
	const char *plain = function ? without_return_type(function) : NULL;

	if (matches_any(skip, n, function) || matches_any(skip, n, plain))
		return SKIP_USER;
	if (matches_any(library_modules, COUNT_OF(library_modules),
			module ? path_base(module) : NULL) ||
	    matches_any(library_files, COUNT_OF(library_files), f->file) ||
	    matches_any(library_functions, COUNT_OF(library_functions), plain))
		return SKIP_LIBRARY;
	if (matches_any(wrapper_functions, COUNT_OF(wrapper_functions), plain))
		return SKIP_WRAPPER;
	return SKIP_NONE;
}

/* Callers have been seen: where all of the frame is to be skipped theirs holds. */
static void find_own(void *arg, struct stack_id id, struct stack_id parent, bool is_cut)
{
	struct own *o = arg;
	const struct catalog *c = o->catalog;
	struct frame_id f = catalog_stack(c, id)->frame;

	(void)is_cut;
	o->of_stacks[id.v] = f; /* the innermost, where every frame is to be skipped */
	for (; f.v && !o->has_own[id.v]; f = catalog_frame(c, f)->outer)
		if (own_skips(o, f) == SKIP_NONE) {
			o->of_stacks[id.v] = f;
			o->has_own[id.v] = true;
		}
	if (o->has_own[id.v] || !o->has_own[parent.v])
		return;
	o->of_stacks[id.v] = o->of_stacks[parent.v];
	o->has_own[id.v] = true;
}

void own_init(struct own *o, const struct catalog *c, const char *const *skip, size_t n)
{
	uint32_t *classes = stacks_classify_frames(c);

	*o = (struct own){.catalog = c,
			  .classes = classes,
			  .identities = xcalloc(1, sizeof(*o->identities)),
			  .has_own = xcalloc(c->n_stacks + 1, sizeof(*o->has_own)),
			  .reasons = xcalloc(c->n_frames + 1, sizeof(*o->reasons)),
			  .of_stacks = xcalloc(c->n_stacks + 1, sizeof(*o->of_stacks)),
			  .n_stacks = c->n_stacks};
	for (uint32_t i = 1; i < c->n_frames; i++)
		o->reasons[i] = classes[i] < i ? o->reasons[classes[i]]
					       : (uint8_t)reason_of(c, &c->frames[i], skip, n);
	stacks_visit(c, find_own, o);
}

void own_release(struct own *o)
{
	free(o->reasons);
	free(o->of_stacks);
	free(o->has_own);
	free(o->classes);
	if (o->identities)
		free(o->identities->of_stacks);
	free(o->identities);
	memset(o, 0, sizeof(*o));
}

struct frame_id own_of_stack(const struct own *o, struct stack_id id)
{
	return id.v < o->n_stacks ? o->of_stacks[id.v] : (struct frame_id){0};
}

uint64_t own_stack_identity(const struct own *o, struct stack_id id)
{
	if (id.v >= o->n_stacks)
		return hash_u64(STACK_LOST);
	if (!o->identities->of_stacks)
		o->identities->of_stacks = stacks_identities(o->catalog, o->classes);
	return o->identities->of_stacks[id.v];
}

enum skip_reason own_skips(const struct own *o, struct frame_id frame)
{
	return frame.v < o->catalog->n_frames ? (enum skip_reason)o->reasons[frame.v] : SKIP_NONE;
}

size_t own_frame(const struct own *o, const struct stack_walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (own_skips(o, w->frames[i]) == SKIP_NONE)
			return i;
	return 0;
}

/* ---- what was skipped --------------------------------------------------------------- */

static void add_skipped(struct skipped_list *l, struct hashmap *index, const char *function,
			enum skip_reason reason, uint64_t stack, uint64_t bytes)
{
	uint32_t *place = hashmap_put(index, hash_bytes(function, strlen(function)));

	if (*place == HASHMAP_NONE) {
		*place = (uint32_t)l->n;
		ARRAY_GROW(l->items, l->cap, l->n);
		l->items[l->n++] = (struct skipped){.function = function, .reason = reason};
	}
	if (l->items[*place].last_stack == stack)
		return; /* it is there twice */
	l->items[*place].last_stack = stack;
	l->items[*place].allocated_bytes += bytes;
}

static int by_bytes(const void *a, const void *b)
{
	const struct skipped *x = a, *y = b;

	if (x->allocated_bytes != y->allocated_bytes)
		return x->allocated_bytes < y->allocated_bytes ? 1 : -1;
	return strcmp(x->function, y->function);
}

/* Is there an own frame?  If all are to be skipped, a walk would be long and in vain. */
static bool has_own(const struct own *o, struct stack_id id)
{
	return id.v < o->n_stacks && o->has_own[id.v];
}

/* The own frame, with those before it in @ret; {0}: all are to be skipped. */
static struct frame_id walk_to_own(const struct own *o, struct stack_steps *steps,
				   struct stack_walk *ret)
{
	struct frame_id f;

	ret->n = 0;
	if (!has_own(o, steps->stack))
		return (struct frame_id){0};
	while ((f = stacks_step(steps)).v && own_skips(o, f) != SKIP_NONE)
		ret->frames[ret->n++] = f;
	return f;
}

void own_list_skipped(const struct own *o, const struct analysis *a, struct skipped_list *ret)
{
	struct hashmap index = {0};
	struct stack_walk w;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < a->n_groups; i++) {
		struct stack_steps s = {.catalog = o->catalog,
					.stack = {(uint32_t)a->groups[i].key}};

		if (!walk_to_own(o, &s, &w).v)
			continue; /* the innermost is its own */
		for (size_t k = 0; k < w.n; k++) {
			struct frame_id f = w.frames[k];
			const char *function = catalog_frame(o->catalog, f)->function;
			enum skip_reason reason = own_skips(o, f);

			if (function && reason != SKIP_LIBRARY)
				add_skipped(ret, &index, function, reason, i + 1,
					    a->groups[i].totals.allocated_bytes);
		}
	}
	hashmap_release(&index);
	if (ret->n)
		qsort(ret->items, ret->n, sizeof(*ret->items), by_bytes);
}

void own_list_release(struct skipped_list *l)
{
	free(l->items);
	memset(l, 0, sizeof(*l));
}

/* ---- what has no files and lines ---------------------------------------------------- */

static int by_nameless_bytes(const void *a, const void *b)
{
	const struct nameless *x = a, *y = b;

	if (x->allocated_bytes != y->allocated_bytes)
		return x->allocated_bytes < y->allocated_bytes ? 1 : -1;
	return x->module.v < y->module.v ? -1 : x->module.v > y->module.v;
}

void own_list_nameless(const struct own *o, const struct analysis *a, struct nameless_list *ret)
{
	size_t n = o->catalog->n_modules;

	ret->items = xcalloc(n + 1, sizeof(*ret->items));
	for (uint32_t i = 0; i < n; i++)
		ret->items[i].module.v = i;
	for (size_t i = 0; i < a->n_groups; i++) {
		struct frame_id own =
			own_of_stack(o, (struct stack_id){(uint32_t)a->groups[i].key});
		const struct catalog_frame *f = catalog_frame(o->catalog, own);

		if (own.v && !f->file && f->module.v < n)
			ret->items[f->module.v].allocated_bytes +=
				a->groups[i].totals.allocated_bytes;
	}
	if (n)
		qsort(ret->items, n, sizeof(*ret->items), by_nameless_bytes);
	for (ret->n = 0; ret->n < n && ret->items[ret->n].allocated_bytes;)
		ret->n++;
}

void own_nameless_release(struct nameless_list *l)
{
	free(l->items);
	memset(l, 0, sizeof(*l));
}

/* ---- wrappers that nobody named ----------------------------------------------------- */

#define SUSPECT_SHARE 0.8
#define SUSPECT_CALLERS 3

struct suspect {
	const char *function;
	uint64_t bytes;
	struct hashmap calls, callers; /* by address: within it, and of it */
};

/* An own function's bytes, and by which frames they come and go; @callers: the next frames. */
static void note_stack(struct suspect *s, const struct catalog_frame *f,
		       struct stack_steps *callers, uint64_t bytes)
{
	struct frame_id caller;

	s->function = f->function;
	s->bytes += bytes;
	*hashmap_put(&s->calls, (uint64_t)f->module.v << 48 ^ f->offset) = 0;
	while ((caller = stacks_step(callers)).v) {
		const struct catalog_frame *g = catalog_frame(callers->catalog, caller);

		if (!g->function || strcmp(g->function, f->function)) {
			*hashmap_put(&s->callers, (uint64_t)g->module.v << 48 ^ g->offset) = 0;
			return;
		}
	}
}

const char *own_suspect(const struct own *o, const struct analysis *a, double *ret_share)
{
	struct suspect *suspects = NULL;
	size_t n = 0, cap = 0;
	struct hashmap index = {0};
	const char *found = NULL;
	struct stack_walk w;

	for (size_t i = 0; i < a->n_groups; i++) {
		struct stack_steps s = {.catalog = o->catalog,
					.stack = {(uint32_t)a->groups[i].key}};
		const struct catalog_frame *f =
			catalog_frame(o->catalog, walk_to_own(o, &s, &w));
		uint32_t *place;

		if (!f->function)
			continue;
		place = hashmap_put(&index, hash_bytes(f->function, strlen(f->function)));
		if (*place == HASHMAP_NONE) {
			*place = (uint32_t)n++;
			ARRAY_GROW(suspects, cap, *place);
			suspects[*place] = (struct suspect){0};
		}
		note_stack(&suspects[*place], f, &s, a->groups[i].totals.allocated_bytes);
	}
	for (size_t i = 0; i < n; i++) {
		double share = a->totals.allocated_bytes
				       ? (double)suspects[i].bytes /
						 (double)a->totals.allocated_bytes
				       : 0;

		if (share > SUSPECT_SHARE && suspects[i].calls.n == 1 &&
		    suspects[i].callers.n >= SUSPECT_CALLERS) {
			found = suspects[i].function;
			*ret_share = share;
		}
		hashmap_release(&suspects[i].calls);
		hashmap_release(&suspects[i].callers);
	}
	hashmap_release(&index);
	free(suspects);
	return found;
}
