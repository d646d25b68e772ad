/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/plan.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "image/elf_file.h"

#define DEBUG_HOOK "_dl_debug_state"
/* The longest code that is looked through for jumps into a prologue. */
#define CODE_BYTES_MAX 16384

static bool is_family(struct elf_file *elf, const struct family *family)
{
	const char *soname = elf_file_soname(elf);

	if (soname)
		return !strcmp(soname, family->soname);
	return elf_file_find_function(elf, family->static_symbol, NULL) &&
	       elf_file_find_function(elf, "malloc", NULL);
}

static struct plan_point *add_point(struct plan_object *o, uint64_t file_offset)
{
	for (size_t i = 0; i < o->n_points; i++)
		if (o->points[i].file_offset == file_offset)
			return NULL; /* aligned_alloc and memalign are one function */
	ARRAY_GROW(o->points, o->cap_points, o->n_points);
	o->points[o->n_points].file_offset = file_offset;
	return &o->points[o->n_points++];
}

static void add_function(struct plan_object *o, struct elf_file *elf, const struct family *family,
			 const struct family_function *f)
{
	uint8_t code[CODE_BYTES_MAX];
	struct elf_symbol symbol;
	struct plan_point *point;
	struct probe_site site;
	uint64_t offset;
	ssize_t n;

	if (!elf_file_find_function(elf, f->symbol, &symbol) ||
	    !elf_file_offset_of(elf, symbol.address, &offset))
		return;
	n = elf_file_read(elf, symbol.address, code,
			  symbol.size && symbol.size < sizeof(code) ? symbol.size : sizeof(code));
	if (n <= 0)
		return;
	site = probe_site_find(code, (size_t)n, symbol.address, family_function_arguments(f),
			       f->op == PROBE_FREE ? f->pointer : 0, family_function_returns(f));
	point = add_point(o, offset + site.offset);
	if (!point)
		return;
	point->family = family;
	point->function = f;
	point->site = site;
}

static void add_debug_hook(struct plan_object *o, struct elf_file *elf)
{
	struct elf_symbol symbol;
	struct plan_point *point;
	uint64_t offset;

	if (elf_file_exports(elf, DEBUG_HOOK) &&
	    elf_file_find_function(elf, DEBUG_HOOK, &symbol) &&
	    elf_file_offset_of(elf, symbol.address, &offset)) {
		point = add_point(o, offset);
		if (point)
			point->site = (struct probe_site){.instruction = "?"};
	}
}

static void object_release(struct plan_object *o)
{
	free(o->path);
	free(o->file);
	free(o->points);
}

static void add_object(struct plan *plan, pid_t pid, const struct process_map *map)
{
	struct plan_object o = {.device = map->device, .inode = map->inode};
	struct elf_file *elf;
	bool known = false;

	if (process_map_file(pid, map, &o.file) < 0)
		return;
	if (elf_file_open(o.file, &elf, NULL) < 0) {
		free(o.file);
		return;
	}
	if (!elf_file_is_64bit(elf) || elf_file_machine(elf) != EM_X86_64) {
		elf_file_close(elf); /* its arguments are in no registers that we know */
		free(o.file);
		return;
	}
	o.path = xstrdup(map->path);
	for (size_t i = 0; i < n_families; i++) {
		if (!is_family(elf, &families[i]))
			continue;
		known = true;
		for (size_t j = 0; j < families[i].n_functions; j++)
			add_function(&o, elf, &families[i], &families[i].functions[j]);
	}
	add_debug_hook(&o, elf);
	if (!known && !plan->other_allocator && elf_file_exports(elf, "malloc") &&
	    elf_file_exports(elf, "free") && !elf_file_exports(elf, DEBUG_HOOK))
		plan->other_allocator = xstrdup(map->path);
	elf_file_close(elf);
	if (!o.n_points) {
		object_release(&o);
		return;
	}
	ARRAY_GROW(plan->objects, plan->cap_objects, plan->n_objects);
	plan->objects[plan->n_objects++] = o;
}

/* Was this file looked at already?  There may be a hundred thousand mappings. */
static bool seen_before(struct hashmap *seen, const struct process_map *map)
{
	uint32_t *is_known = hashmap_put(seen, (uint64_t)map->inode ^ (uint64_t)map->device << 40);
	bool before = *is_known != HASHMAP_NONE;

	*is_known = 1;
	return before;
}

void plan_make(pid_t pid, const struct process_maps *maps, struct plan *ret)
{
	struct hashmap seen = {0};

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < maps->n; i++)
		if (maps->maps[i].executable && maps->maps[i].inode &&
		    !seen_before(&seen, &maps->maps[i]))
			add_object(ret, pid, &maps->maps[i]);
	hashmap_release(&seen);
}

void plan_put(const struct plan *plan, struct store_writer *w)
{
	for (size_t i = 0; i < plan->n_objects; i++)
		for (size_t j = 0; j < plan->objects[i].n_points; j++) {
			const struct plan_point *p = &plan->objects[i].points[j];
			char *key, *value;

			if (!p->family)
				continue;
			key = xasprintf("probe:%s:%s", plan->objects[i].path, p->function->symbol);
			value = xasprintf("+%u %s (%s)", p->site.offset, p->site.instruction,
					  p->site.emulated ? "emulated" : "single-stepped");
			store_writer_put_text(w, key, value);
			free(key);
			free(value);
		}
	if (plan->other_allocator)
		store_writer_put_text(w, "other_allocator", plan->other_allocator);
}

void plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->n_objects; i++)
		object_release(&p->objects[i]);
	free(p->objects);
	free(p->other_allocator);
	memset(p, 0, sizeof(*p));
}

static bool has_point(const struct plan *p, bool of_allocator)
{
	for (size_t i = 0; i < p->n_objects; i++)
		for (size_t j = 0; j < p->objects[i].n_points; j++)
			if (!p->objects[i].points[j].family != of_allocator)
				return true;
	return false;
}

bool plan_has_allocator(const struct plan *p)
{
	return has_point(p, true);
}

bool plan_has_hook(const struct plan *p)
{
	return has_point(p, false);
}
