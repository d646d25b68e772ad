/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/symbolize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "common/clock.h"
#include "common/format.h"
#include "common/sort.h"
#include "common/xalloc.h"
#include "image/debug_server.h"
#include "image/elf_file.h"
#include "image/frame_names.h"

#define NS_PER_S 1000000000ull

/* ---- files -------------------------------------------------------------------------- */

static struct elf_file *open_same(const char *path, const char *build_id, bool *ret_other)
{
	struct elf_file *elf;
	const char *id;

	if (elf_file_open(path, &elf, NULL) < 0)
		return NULL;
	id = elf_file_build_id(elf);
	if (id && !strcmp(id, build_id))
		return elf;
	*ret_other = true;
	elf_file_close(elf);
	return NULL;
}

/* The module's file, or one of its debug information.  NULL: neither is there. */
static struct elf_file *open_module(const struct module_record *m,
				    const struct symbolize_options *o, char **ret_path,
				    bool *ret_other)
{
	struct elf_file *elf;
	char *path = o->sysroot ? xasprintf("%s/%s", o->sysroot, m->path) : xstrdup(m->path);

	elf = open_same(path, m->build_id, ret_other);
	if (!elf && o->debug_path && strlen(m->build_id) > 2) {
		free(path);
		path = xasprintf("%s/.build-id/%.2s/%s.debug", o->debug_path, m->build_id,
				 m->build_id + 2);
		elf = open_same(path, m->build_id, ret_other);
	}
	*ret_path = path;
	return elf;
}

/* Counts what could not be used, and remembers the first. */
static void note_missing(struct symbolize_result *ret, const struct module_record *m,
			 enum symbolize_missing why)
{
	ret->refused += why == SYMBOLIZE_OTHER_BUILD;
	if (ret->missing++)
		return;
	ret->missing_path = m->path;
	ret->missing_why = why;
}

static void say_why_not(const struct module_record *m, enum symbolize_missing why)
{
	char path[512];

	format_safe(path, sizeof(path), m->path);
	if (why == SYMBOLIZE_NO_BUILD_ID)
		say("'%s' has no build id: it cannot be told whether it is the same", path);
	else if (why == SYMBOLIZE_OTHER_BUILD)
		say("'%s' is another build than was recorded (build id %s): not used", path,
		    m->build_id);
	else if (why == SYMBOLIZE_GONE)
		say("'%s' is not there, or cannot be read", path);
}

/* ---- debuginfod --------------------------------------------------------------------- */

struct servers {
	struct debug_server *open; /* NULL: none is asked, or none any more */
	const char *path;	   /* of what is being asked for */
};

static void show_fetch(void *arg, uint64_t bytes, uint64_t of)
{
	const struct servers *s = arg;

	progress_fetch(s->path, bytes, of);
}

static void open_servers(struct servers *s, const struct symbolize_options *o)
{
	const struct debug_server_options options = {
		.bytes_max = o->debuginfod_max, .progress = show_fetch, .arg = s};
	int r = o->debuginfod ? debug_server_open(&options, &s->open) : 0;

	if (r == -ENOSYS)
		say("warning: debuginfod servers cannot be asked: libdebuginfod is not installed "
		    "(Debian: libdebuginfod1, Fedora: elfutils-debuginfod-client)");
	else if (r == -EDESTADDRREQ)
		say("warning: no debuginfod server is asked: $DEBUGINFOD_URLS names none");
	else if (r)
		say("warning: debuginfod servers cannot be asked: %s", strerror(-r));
}

static void say_not_fetched(struct servers *s, const struct symbolize_options *o, int error)
{
	char path[512], max[FORMAT_MAX];
	struct err err;

	format_safe(path, sizeof(path), s->path);
	switch (error) {
	case -ENOENT:
		if (o->verbose)
			say("no debuginfod server has debug information of '%s'", path);
		break;
	case -EFBIG:
		if (o->verbose)
			say("debug information of '%s' is larger than %s: not fetched "
			    "(--debuginfod-max)",
			    path, format_bytes(max, o->debuginfod_max));
		break;
	default: /* nor will it be any better with the next */
		err_set(&err, ERR_FAILED, -error, "debug information of '%s' cannot be fetched",
			path);
		say("warning: %s; no debuginfod server is asked any more", err.what);
		debug_server_close(s->open);
		s->open = NULL;
	}
}

/* The file with @m's debug information, as a server has it, or NULL. */
static struct elf_file *fetch_debug_file(struct servers *s, const struct module_record *m,
					 const struct symbolize_options *o, char **ret_path)
{
	struct elf_file *elf = NULL;
	bool other = false;
	int r;

	if (!s->open || m->path[0] != '/')
		return NULL;
	s->path = m->path;
	r = debug_server_fetch(s->open, m->build_id, ret_path);
	progress_end();
	if (r) {
		say_not_fetched(s, o, r);
		return NULL;
	}
	elf = open_same(*ret_path, m->build_id, &other);
	if (!elf && o->verbose)
		say("'%s', which a debuginfod server sent for '%s', is %s: not used", *ret_path,
		    path_base(m->path), other ? "of another build" : "no program");
	return elf;
}

/* ---- frames ------------------------------------------------------------------------- */

struct naming {
	struct store_writer *writer; /* or … */
	struct catalog *memory;	     /* … where the names go to */
	const struct catalog *catalog;
	uint32_t *frames; /* [place] */
	bool *is_kept;	  /* [place] what is found is no better than what there is */
	bool *is_counted; /* [place] among the named */
	struct servers servers;
	size_t n, named;
	size_t done, total; /* places, as far as they are known: for who waits */
	uint64_t until_ns; /* 0: as long as it takes */
	bool linkage, renames; /* the names wanted, and whether they are others than recorded */
};

/* Is it more than, or other than, what is known of the frame? */
static bool is_news(const struct catalog_frame *f, const struct symbolized *s)
{
	return s->function &&
	       (!f->function || (s->file && !f->file) || strcmp(s->function, f->function));
}

static void put_record(struct naming *n, const struct symbol_record *s)
{
	if (n->memory) {
		catalog_add_symbol(n->memory, s);
		return;
	}
	if (s->depth == 0) /* the chain that comes may be shorter */
		store_writer_clear_symbols(n->writer, s->frame);
	store_writer_put_symbol(n->writer, s);
}

static void put_symbol(void *arg, const struct symbolized *s)
{
	struct naming *n = arg;
	uint32_t frame = n->frames[s->place];
	const struct catalog_frame *f = &n->catalog->frames[frame];
	const char *name = s->function;

	if (s->depth == 0 && !name)
		name = f->function;
	if (s->depth == 0) {
		n->done += n->done < n->total; /* a debug file may tell of it once more */
		n->is_kept[s->place] = !s->file && (f->file || (f->function && !n->renames));
		if (!n->is_kept[s->place] && is_news(f, s) && !n->is_counted[s->place]) {
			n->is_counted[s->place] = true;
			n->named++;
		}
	}
	if (n->is_kept[s->place])
		return;
	put_record(n, &(struct symbol_record){.frame = {frame},
					      .depth = s->depth,
					      .function = name,
					      .file = s->file,
					      .line = s->line});
}

/* Does a frame want a name? */
static bool is_wanted(const struct naming *n, const struct catalog_frame *f)
{
	if (!f->module.v || n->renames)
		return f->module.v;
	return !f->file && !(n->memory && f->function);
}

/* A frame that wants a name, with its module before it, to sort by. */
static uint64_t *sort_frames(const struct naming *names, size_t *ret_n)
{
	const struct catalog *c = names->catalog;
	uint64_t *keys = xcalloc(c->n_recorded_frames + 1, sizeof(*keys));
	size_t n = 0;

	for (uint32_t i = 1; i < c->n_recorded_frames; i++)
		if (is_wanted(names, &c->frames[i]))
			keys[n++] = (uint64_t)c->frames[i].module.v << 32 | i;
	sort_u64(keys, n);
	*ret_n = n;
	return keys;
}

static void show_names(void *arg)
{
	const struct naming *n = arg;

	progress_names(n->done, n->total);
}

static void name_module(struct naming *n, uint32_t m, const uint64_t *addresses,
			const struct symbolize_options *o, struct symbolize_result *ret)
{
	const struct symbolizer_options options = {.debug_path = o->debug_path,
						   .linkage_names = n->linkage,
						   .on_wait = show_names,
						   .wait_arg = n};
	const struct module_record *module = &n->catalog->modules[m];
	size_t before = n->named;
	struct elf_file *elf = NULL, *debug = NULL;
	char *path = NULL, *debug_path = NULL;
	enum symbolize_missing why = SYMBOLIZE_NO_BUILD_ID;
	enum debug_info found = DEBUG_NONE;
	bool other = false;

	if (m >= n->catalog->n_modules || !module->path)
		return;
	if (module->build_id) {
		elf = open_module(module, o, &path, &other);
		why = other ? SYMBOLIZE_OTHER_BUILD : SYMBOLIZE_GONE;
	}
	if (n->until_ns && clock_now_ns() >= n->until_ns)
		why = SYMBOLIZE_NO_TIME;
	else if (elf)
		found = frame_names(elf, path, addresses, n->n, &options, put_symbol, n);
	if (module->build_id && found < DEBUG_INFO)
		debug = fetch_debug_file(&n->servers, module, o, &debug_path);
	if (debug)
		frame_names(debug, debug_path, addresses, n->n, &options, put_symbol, n);
	ret->modules += n->named > before;
	if (module->path[0] == '/' && !debug && (!elf || why == SYMBOLIZE_NO_TIME)) {
		note_missing(ret, module, why);
		progress_end();
		if (o->verbose)
			say_why_not(module, why);
	}
	elf_file_close(elf);
	elf_file_close(debug);
	free(path);
	free(debug_path);
}

/* @n has where the names go to, and of which kind they are. */
static void name_all(struct naming *n, const struct symbolize_options *o,
		     struct symbolize_result *ret)
{
	size_t n_keys;
	uint64_t *keys = sort_frames(n, &n_keys);
	uint64_t *addresses = xcalloc(n_keys + 1, sizeof(*addresses));

	n->frames = xcalloc(n_keys + 1, sizeof(*n->frames));
	n->is_kept = xcalloc(n_keys + 1, sizeof(*n->is_kept));
	n->is_counted = xcalloc(n_keys + 1, sizeof(*n->is_counted));
	if (o->seconds_max)
		n->until_ns = clock_now_ns() + o->seconds_max * NS_PER_S;
	n->total = n_keys;
	memset(ret, 0, sizeof(*ret));
	open_servers(&n->servers, o);
	for (size_t i = 0; i < n_keys;) {
		uint32_t module = (uint32_t)(keys[i] >> 32);

		for (n->n = 0; i < n_keys && keys[i] >> 32 == module; i++, n->n++) {
			n->frames[n->n] = (uint32_t)keys[i];
			n->is_kept[n->n] = n->is_counted[n->n] = false;
			addresses[n->n] = n->catalog->frames[n->frames[n->n]].offset;
		}
		name_module(n, module, addresses, o, ret);
		n->done = i; /* those of which nothing is known, too */
	}
	progress_end();
	ret->frames = n->named;
	free(keys);
	free(addresses);
	free(n->frames);
	free(n->is_kept);
	free(n->is_counted);
	debug_server_close(n->servers.open);
}

static bool has_linkage_names(const struct catalog *c)
{
	const char *names = catalog_text(c, "function_names");

	return names && !strcmp(names, "linkage");
}

void symbolize(struct store_writer *w, const struct catalog *c, const struct symbolize_options *o,
	       struct symbolize_result *ret)
{
	bool was_linkage = has_linkage_names(c);
	bool linkage = o->names == SYMBOLIZE_AS_RECORDED ? was_linkage
							 : o->names == SYMBOLIZE_LINKAGE;
	struct naming n = {.writer = w,
			   .catalog = c,
			   .linkage = linkage,
			   .renames = linkage != was_linkage};

	name_all(&n, o, ret);
	store_writer_put_text(w, "function_names", linkage ? "linkage" : "demangled");
	if (!ret->missing)
		store_writer_put_number(w, "names_looked_up", 1);
}

void symbolize_in_memory(struct catalog *c, const struct symbolize_options *o,
			 struct symbolize_result *ret)
{
	struct naming n = {.memory = c, .catalog = c, .linkage = has_linkage_names(c)};

	name_all(&n, o, ret);
}
