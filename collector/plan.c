/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/plan.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "collector/mapping_calls.h"
#include "common/hash.h"
#include "common/xalloc.h"
#include "image/elf_file.h"
#include "store/layers.h"

#define DEBUG_HOOK "_dl_debug_state"
/* The longest code that is looked through for jumps into a prologue. */
#define CODE_BYTES_MAX 16384

/* One of each kind and layer at an instruction: aligned_alloc and memalign are one function. */
static struct plan_point *add_point(struct plan_object *o, enum plan_role role,
				    uint64_t file_offset, const struct family *family,
				    const struct exit_site *exit)
{
	for (size_t i = 0; i < o->n_points; i++) {
		const struct plan_point *p = &o->points[i];

		if (p->role == role && p->file_offset == file_offset &&
		    (!family || !p->family || p->family->layer == family->layer) &&
		    (!exit ||
		     (p->exit.reg == exit->reg && p->exit.condition == exit->condition)))
			return NULL;
	}
	ARRAY_GROW(o->points, o->cap_points, o->n_points);
	o->points[o->n_points] = (struct plan_point){
		.role = role, .family = family, .file_offset = file_offset};
	return &o->points[o->n_points++];
}

/* Code in a file, of a function in a layer. */
struct code_source {
	struct elf_file *elf;
	uint8_t layer;
};

static ssize_t read_code(void *source, uint64_t address, void *buf, size_t len)
{
	return elf_file_read(((struct code_source *)source)->elf, address, buf, len);
}

static uint64_t pointer_at(void *source, uint64_t slot, const char **ret_name)
{
	return elf_file_pointer_at(((struct code_source *)source)->elf, slot, ret_name);
}

static const char *function_at(void *source, uint64_t address)
{
	return elf_file_function_at(((struct code_source *)source)->elf, address);
}

static bool is_start(void *source, uint64_t address)
{
	return elf_file_is_function_start(((struct code_source *)source)->elf, address);
}

static bool is_probed(void *source, const char *name)
{
	return ((struct code_source *)source)->layer == LAYER_HEAP && families_have(name);
}

/* Of a function that may throw; false: it cannot be probed.  @ret_never: it does not throw. */
static bool add_exits(struct plan_object *o, struct elf_file *elf, const struct family *family,
		      const struct family_function *f, uint64_t address, bool *ret_never)
{
	struct code_source source = {elf, family->layer};
	struct exit_code code = {&source, read_code, pointer_at, function_at, is_start, is_probed};
	struct exit_sites exits;
	bool found = exit_sites_find(&code, address, &exits);

	if (!found) {
		ARRAY_GROW(o->refused, o->cap_refused, o->n_refused);
		o->refused[o->n_refused++] = xasprintf("%s (%s)", f->symbol, exits.reason);
	}
	for (size_t i = 0; found && i < exits.n; i++) {
		const struct exit_site *e = &exits.sites[i];
		struct plan_point *point;
		uint64_t offset;

		if (!elf_file_offset_of(elf, e->address, &offset) ||
		    !(point = add_point(o, PLAN_EXIT, offset, family, e)))
			continue;
		point->function = f;
		point->symbol = f->symbol;
		point->exit = *e;
		point->site.emulated = e->emulated;
		memcpy(point->site.instruction, e->instruction, sizeof(e->instruction));
	}
	*ret_never = exits.never_throws;
	exit_sites_release(&exits);
	return found;
}

static bool has_function(const struct plan_object *o, uint64_t address,
			 const struct family *family)
{
	for (size_t i = 0; i < o->n_points; i++)
		if (o->points[i].role == PLAN_CALL && o->points[i].extent.address == address &&
		    o->points[i].family->layer == family->layer)
			return true;
	return false;
}

/* Where function @name begins. */
static void add_named(struct plan_object *o, struct elf_file *elf, enum plan_role role,
		      const char *name)
{
	struct probe_site site;
	uint8_t code[256];
	struct elf_symbol symbol;
	struct plan_point *point;
	uint64_t offset;
	ssize_t n;

	if (!elf_file_find_function(elf, name, &symbol) ||
	    !elf_file_offset_of(elf, symbol.address, &offset))
		return;
	n = elf_file_read(elf, symbol.address, code, sizeof(code));
	site = n > 0 ? probe_site_find(code, (size_t)n, symbol.address, 0, 0, false)
		     : (struct probe_site){.instruction = "?"};
	if (role == PLAN_HOOK) /* a single return */
		site = (struct probe_site){.instruction = "?"};
	point = add_point(o, role, offset + site.offset, NULL, NULL);
	if (!point)
		return;
	point->symbol = name;
	point->site = site;
}

/* False: there is no code, or it cannot be probed. */
static bool add_function_at(struct plan_object *o, struct elf_file *elf,
			    const struct family *family, const struct family_function *f,
			    const struct elf_symbol *symbol)
{
	bool may_return = family_function_returns(f), at_exits = f->throws, never = false;
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
	if (has_function(o, symbol->address, family))
		return true;
	if (f->throws && may_return && !add_exits(o, elf, family, f, symbol->address, &never))
		return false;
	at_exits &= !never;
	site = probe_site_find(code, (size_t)n, symbol->address, family_function_arguments(f),
			       family_function_frees(f) ? f->pointer : 0,
			       may_return && !at_exits);
	point = add_point(o, PLAN_CALL, offset + site.offset, family, NULL);
	point->function = f;
	point->symbol = f->symbol;
	point->site = site;
	point->extent = *symbol;
	point->at_exits = at_exits;
	return true;
}

static void add_function(struct plan_object *o, struct elf_file *elf, const struct family *family,
			 const struct family_function *f, const char *name)
{
	struct elf_symbol symbol;

	if (elf_file_find_function(elf, name, &symbol))
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
	size_t refused = p->object->n_refused;
	bool is_added = add_function_at(p->object, p->elf, family, f, symbol);

	if (p->object->n_refused > refused && !p->plan->user_refused)
		p->plan->user_refused = xasprintf("%s of '%s'", p->object->refused[refused],
						  p->object->path);
	if (!is_added)
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

static void add_family(struct plan_object *o, struct elf_file *elf, const struct family *family)
{
	for (size_t i = 0; i < family->n_functions; i++) {
		const struct family_function *f = &family->functions[i];
		char *name;

		add_function(o, elf, family, f, f->symbol);
		if (!family->prefix)
			continue;
		name = xasprintf("%s%s", family->prefix, f->symbol);
		add_function(o, elf, family, f, name);
		free(name);
	}
}

/*
 * Ways out of a function that its exits do not see.  What is thrown is allocated before it
 * is: that is no call within the one which throws it.
 */
static void add_unwinders(struct plan_object *o, struct elf_file *elf)
{
	static const char *const names[] = {
		"__cxa_allocate_exception",
		"_Unwind_RaiseException", "_Unwind_Resume_or_Rethrow", "_Unwind_ForcedUnwind",
		"longjmp", "siglongjmp", "_longjmp", "__longjmp_chk",
	};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		add_named(o, elf, PLAN_UNWIND, names[i]);
}

static void object_release(struct plan_object *o)
{
	free(o->path);
	free(o->file);
	free(o->points);
	for (size_t i = 0; i < o->n_refused; i++)
		free(o->refused[i]);
	free(o->refused);
}

static void add_object(struct plan *plan, pid_t pid, const struct process_map *map)
{
	struct plan_object o = {.device = map->device, .inode = map->inode};
	struct elf_file *elf;
	const struct family *family;

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
	family = family_of_file(elf);
	if (family)
		add_family(&o, elf, family);
	add_user_functions(plan, &o, elf);
	if (n_mapping_families)
		mapping_calls_plan(&o, elf);
	if (elf_file_exports(elf, DEBUG_HOOK))
		add_named(&o, elf, PLAN_HOOK, DEBUG_HOOK);
	add_unwinders(&o, elf);
	if (!family && !plan->other_allocator && elf_file_exports(elf, "malloc") &&
	    elf_file_exports(elf, "free") && !elf_file_exports(elf, DEBUG_HOOK))
		plan->other_allocator = xstrdup(map->path);
	elf_file_close(elf);
	if (!o.n_points && !o.n_refused) {
		object_release(&o);
		return;
	}
	ARRAY_GROW(plan->objects, plan->cap_objects, plan->n_objects);
	plan->objects[plan->n_objects++] = o;
}

static bool has_role(const struct plan *p, enum plan_role role)
{
	for (size_t i = 0; i < p->n_objects; i++)
		for (size_t j = 0; j < p->objects[i].n_points; j++)
			if (p->objects[i].points[j].role == role)
				return true;
	return false;
}

/* Nobody needs them where no function's exits are probed. */
static void drop_unwinders(struct plan *p)
{
	size_t kept = 0;

	if (has_role(p, PLAN_EXIT))
		return;
	for (size_t i = 0; i < p->n_objects; i++) {
		struct plan_object *o = &p->objects[i];
		size_t n = 0;

		for (size_t j = 0; j < o->n_points; j++)
			if (o->points[j].role != PLAN_UNWIND)
				o->points[n++] = o->points[j];
		o->n_points = n;
		if (n || o->n_refused)
			p->objects[kept++] = *o;
		else
			object_release(o);
	}
	p->n_objects = kept;
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
	drop_unwinders(ret);
}

/* By which a report knows the layer's functions in a stack. */
static void put_extent(struct store_writer *w, const struct plan_object *o,
		       const struct plan_point *p)
{
	char *key = xasprintf("layer:%s:%s:%s", p->family->layer_name, o->path,
			      p->function->symbol);
	bool at_entry = p->function->op == PROBE_ALLOC_ENTRY;
	char *value = xasprintf("0x%" PRIx64 "+0x%" PRIx64 "%s", p->extent.address,
				p->extent.size, at_entry ? LAYERS_AT_ENTRY : "");

	store_writer_put_text(w, key, value);
	free(key);
	free(value);
}

static void put_call(struct store_writer *w, const struct plan_object *o,
		     const struct plan_point *p)
{
	char *key = xasprintf("probe:%s:%s()", o->path, p->symbol);
	char *value = xasprintf("behind the system call: %s (%s)", p->site.instruction,
				p->site.emulated ? "emulated" : "single-stepped");

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

			if (p->role == PLAN_SYSCALL)
				put_call(w, &plan->objects[i], p);
			if (p->role != PLAN_CALL)
				continue;
			key = xasprintf("probe:%s:%s", plan->objects[i].path, p->symbol);
			value = xasprintf("+%u %s (%s)", p->site.offset, p->site.instruction,
					  p->site.emulated ? "emulated" : "single-stepped");
			store_writer_put_text(w, key, value);
			free(key);
			free(value);
			if (p->family->layer != LAYER_HEAP)
				put_extent(w, &plan->objects[i], p);
		}
	for (size_t i = 0; i < plan->n_objects; i++)
		for (size_t j = 0; j < plan->objects[i].n_refused; j++) {
			char *text = xasprintf("%s of '%s'", plan->objects[i].refused[j],
					       plan->objects[i].path);

			store_writer_put_text(w, "not_probed", text);
			free(text);
		}
	for (size_t i = 0; i < plan->n_objects; i++) {
		char *text;

		if (!plan->objects[i].n_unsure)
			continue;
		text = xasprintf("%zu calls of mmap or the like, whose code is not understood, of "
				 "'%s'", plan->objects[i].n_unsure, plan->objects[i].path);
		store_writer_put_text(w, "mappings_not_probed", text);
		free(text);
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
	free(p->user_refused);
	free(p->is_matched);
	memset(p, 0, sizeof(*p));
}

static bool has_calls(const struct plan *p, bool of_user)
{
	for (size_t i = 0; i < p->n_objects; i++)
		for (size_t j = 0; j < p->objects[i].n_points; j++) {
			const struct plan_point *point = &p->objects[i].points[j];

			if (point->role == PLAN_CALL &&
			    (point->family->id >= FAMILY_USER_FIRST) == of_user)
				return true;
		}
	return false;
}

bool plan_has_allocator(const struct plan *p)
{
	return has_calls(p, false);
}

bool plan_has_user_probes(const struct plan *p)
{
	return has_calls(p, true);
}

bool plan_has_hook(const struct plan *p)
{
	return has_role(p, PLAN_HOOK);
}

bool plan_has_matched(const struct plan *p, const struct family_function *f)
{
	return f->spec < p->cap_matched && p->is_matched[f->spec];
}
