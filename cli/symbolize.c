/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/symbolize.h"

#include <stdlib.h>
#include <string.h>

#include "image/demangle.h"
#include "image/elf_file.h"

static struct elf_file *open_same(const struct module_record *m)
{
	struct elf_file *elf;
	const char *id;

	if (!m->path || !m->build_id || elf_file_open(m->path, &elf, NULL) < 0)
		return NULL;
	id = elf_file_build_id(elf);
	if (id && !strcmp(id, m->build_id))
		return elf;
	elf_file_close(elf);
	return NULL;
}

static size_t name_frames(struct store_writer *w, const struct catalog *c, struct module_id module,
			  struct elf_file *elf)
{
	size_t n = 0;

	for (uint32_t i = 1; i < c->n_recorded_frames; i++) {
		char *name;

		if (c->frames[i].module.v != module.v || c->frames[i].function)
			continue;
		name = demangled_caller(elf, c->frames[i].offset);
		if (!name)
			continue;
		store_writer_put_symbol(w, &(struct symbol_record){.frame = {i}, .function = name});
		free(name);
		n++;
	}
	return n;
}

size_t symbolize(struct store_writer *w, const struct catalog *c)
{
	size_t n = 0;

	for (uint32_t i = 1; i < c->n_modules; i++) {
		struct elf_file *elf = open_same(&c->modules[i]);

		if (!elf)
			continue;
		n += name_frames(w, c, (struct module_id){i}, elf);
		elf_file_close(elf);
	}
	return n;
}
