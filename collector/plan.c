/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/plan.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
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

/* One in each layer: aligned_alloc and memalign are one function. */
static struct plan_point *add_point(struct plan_object *o, uint64_t file_offset,
				    const struct family *family)
{
	for (size_t i = 0; i < o->n_points; i++) {
		const struct plan_point *p = &o->points[i];

		if (p->file_offset == file_offset &&
		    (!p->family || !family || p->family->layer == family->layer))
			return NULL;
	}
	ARRAY_GROW(o->points, o->cap_points, o->n_points);
	o->points[o->n_points].file_offset = file_offset;
	o->points[o->n_points].family = family;
	return &o->points[o->n_points++];
}

/* False: there is no code. */
static bool add_function_at(struct plan_object *o, struct elf_file *elf,
			    const struct family *family, const struct family_function *f,
			    const struct elf_symbol *symbol)
{
	uint8_t code[CODE_BYTES_MAX];
	struct plan_point *point;
	struct probe_site site;
	uint64_t offset;
	ssize_t n;

	if (!elf_file_offset_of(elf, symbol->address, &offset))
		return false;
	n = elf_file_read(elf, symbol->address, code,
			  symbol->size && symbol->size < sizeof(code) ? symbol->size
								      : sizeof(code));
	if (n <= 0)
		return false;
	site = probe_site_find(code, (size_t)n, symbol->address, family_function_arguments(f),
			       family_function_frees(f) ? f->pointer : 0,
			       !family_function_frees(f));
	point = add_point(o, offset + site.offset, family);
	if (!point)
		return true;
	point->function = f;
	point->site = site;
	point->symbol = *symbol;
	return true;
}

static void add_function(struct plan_object *o, struct elf_file *elf, const struct family *family,
			 const struct family_function *f)
{
	struct elf_symbol symbol;

	if (elf_file_find_function(elf, f->symbol, &symbol))
		add_function_at(o, elf, family, f, &symbol);
}

/* ---- the user's ---------------------------------------------------------------------- */

bool plan_is_module(const char *path, const char *name)
{
	const char *base = strrchr(path, '/');
	size_t len = strlen(name);

	base = base ? base + 1 : path;
	if (strchr(name, '/'))
		return !strcmp(path, name);
	/* libfoo.so is also libfoo.so.1 */
	return !strncmp(base, name, len) && (!base[len] || base[len] == '.');
}

struct placing {
	struct plan *plan;
	struct plan_object *object;
	struct elf_file *elf;
};

static void place(const struct placing *p, const struct family *family,
		  const struct family_function *f, const struct elf_symbol *symbol)
{
	if (!add_function_at(p->object, p->elf, family, f, symbol))
		return;
	ARRAY_GROW(p->plan->is_matched, p->plan->cap_matched, f->spec);
	p->plan->is_matched[f->spec] = true;
}

/* Several functions may bear one name, each static in its source. */
static bool place_by_name(void *arg, const char *name, const struct elf_symbol *symbol)
{
	const struct placing *p = arg;

	for (size_t i = 0; i < n_user_families; i++)
		for (size_t j = 0; j < user_families[i].n_functions; j++) {
			const struct family_function *f = &user_families[i].functions[j];

			if (!f->is_address && !strcmp(f->symbol, name) &&
			    (!f->module || plan_is_module(p->object->path, f->module)))
				place(p, &user_families[i], f, symbol);
		}
	return true;
}

static void add_user_functions(struct plan *plan, struct plan_object *o, struct elf_file *elf)
{
	struct placing p = {plan, o, elf};

	if (!n_user_families)
		return;
	elf_file_each_function(elf, place_by_name, &p);
	for (size_t i = 0; i < n_user_families; i++)
		for (size_t j = 0; j < user_families[i].n_functions; j++) {
			const struct family_function *f = &user_families[i].functions[j];

			if (f->is_address && plan_is_module(o->path, f->module))
				place(&p, &user_families[i], f,
				      &(struct elf_symbol){.address = f->address});
		}
}

static void add_debug_hook(struct plan_object *o, struct elf_file *elf)
{
	struct elf_symbol symbol;
	struct plan_point *point;
	uint64_t offset;

	if (elf_file_exports(elf, DEBUG_HOOK) &&
	    elf_file_find_function(elf, DEBUG_HOOK, &symbol) &&
	    elf_file_offset_of(elf, symbol.address, &offset)) {
		point = add_point(o, offset, NULL);
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
	add_user_functions(plan, &o, elf);
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

/* By which a report knows the layer's functions in a stack. */
static void put_extent(struct store_writer *w, const struct plan_object *o,
		       const struct plan_point *p)
{
	char *key = xasprintf("layer:%s:%s:%s", p->family->layer_name, o->path,
			      p->function->symbol);
	char *value = xasprintf("0x%" PRIx64 "+0x%" PRIx64, p->symbol.address, p->symbol.size);

	store_writer_put_text(w, key, value);
	free(key);
	free(value);
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
			if (p->family->layer != LAYER_HEAP)
				put_extent(w, &plan->objects[i], p);
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
	free(p->is_matched);
	memset(p, 0, sizeof(*p));
}

enum point_kind { POINT_HOOK, POINT_ALLOCATOR, POINT_USER };

static enum point_kind kind_of(const struct plan_point *p)
{
	return !p->family ? POINT_HOOK
	       : p->family->id >= FAMILY_USER_FIRST ? POINT_USER : POINT_ALLOCATOR;
}

static bool has_point(const struct plan *p, enum point_kind kind)
{
	for (size_t i = 0; i < p->n_objects; i++)
		for (size_t j = 0; j < p->objects[i].n_points; j++)
			if (kind_of(&p->objects[i].points[j]) == kind)
				return true;
	return false;
}

bool plan_has_allocator(const struct plan *p)
{
	return has_point(p, POINT_ALLOCATOR);
}

bool plan_has_user_probes(const struct plan *p)
{
	return has_point(p, POINT_USER);
}

bool plan_has_hook(const struct plan *p)
{
	return has_point(p, POINT_HOOK);
}

bool plan_has_matched(const struct plan *p, const struct family_function *f)
{
	return f->spec < p->cap_matched && p->is_matched[f->spec];
}
