/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/symbolize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "cli/command.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/frame_names.h"

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

static void say_why_not(const struct module_record *m, bool other)
{
	char path[512];

	if (m->path[0] != '/')
		return; /* no file at all */
	format_safe(path, sizeof(path), m->path);
	if (!m->build_id)
		say("'%s' has no build id: it cannot be told whether it is the same", path);
	else if (other)
		say("'%s' is another build than was recorded (build id %s): not used", path,
		    m->build_id);
	else
		say("'%s' is not there, or cannot be read", path);
}

/* ---- frames ------------------------------------------------------------------------- */

struct naming {
	struct store_writer *writer;
	const struct catalog *catalog;
	uint32_t *frames; /* [place] */
	bool *is_kept;	  /* [place] what is found is no better than what there is */
	size_t n, named;
};

static void put_symbol(void *arg, const struct symbolized *s)
{
	struct naming *n = arg;
	uint32_t frame = n->frames[s->place];

	if (s->depth == 0) {
		n->is_kept[s->place] = !s->file && n->catalog->frames[frame].function;
		n->named += !n->is_kept[s->place] && s->function;
	}
	if (n->is_kept[s->place])
		return;
	store_writer_put_symbol(n->writer, &(struct symbol_record){.frame = {frame},
								   .depth = s->depth,
								   .function = s->function,
								   .file = s->file,
								   .line = s->line});
}

/* Those of a module that want a name, with their return addresses. */
static void list_frames(struct naming *n, uint32_t module, uint64_t *ret_addresses)
{
	n->n = 0;
	for (uint32_t i = 1; i < n->catalog->n_recorded_frames; i++) {
		const struct catalog_frame *f = &n->catalog->frames[i];

		if (f->module.v != module || f->file)
			continue;
		n->frames[n->n] = i;
		n->is_kept[n->n] = false;
		ret_addresses[n->n++] = f->offset;
	}
}

void symbolize(struct store_writer *w, const struct catalog *c, const struct symbolize_options *o,
	       struct symbolize_result *ret)
{
	const struct symbolizer_options options = {.debug_path = o->debug_path,
						   .debuginfod = o->debuginfod};
	size_t most = c->n_recorded_frames + 1;
	uint64_t *addresses = xcalloc(most, sizeof(*addresses));
	struct naming n = {.writer = w,
			   .catalog = c,
			   .frames = xcalloc(most, sizeof(*n.frames)),
			   .is_kept = xcalloc(most, sizeof(*n.is_kept))};

	memset(ret, 0, sizeof(*ret));
	for (uint32_t m = 1; m < c->n_modules; m++) {
		const struct module_record *module = &c->modules[m];
		size_t before = n.named;
		bool other = false;
		struct elf_file *elf = NULL;
		char *path = NULL;

		list_frames(&n, m, addresses);
		if (!n.n || !module->path)
			continue;
		if (module->build_id)
			elf = open_module(module, o, &path, &other);
		if (elf)
			frame_names(elf, path, addresses, n.n, &options, put_symbol, &n);
		else if (o->verbose)
			say_why_not(module, other);
		ret->modules += n.named > before;
		ret->refused += !elf && other;
		elf_file_close(elf);
		free(path);
	}
	ret->frames = n.named;
	free(addresses);
	free(n.frames);
	free(n.is_kept);
}
