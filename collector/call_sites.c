/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/call_sites.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/family.h"
#include "collector/ring_events.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/sort.h"
#include "common/xalloc.h"
#include "image/frame_names.h"
#include "image/perf_map.h"

/* An address in no known mapping makes us look again, but not more often than this. */
#define READ_AGAIN_NS 10000000ull
#define READ_TIMES 8
/* Looking up names ends then: `heaptrail symbolize` has more patience. */
#define RESOLVE_NS_MAX 120000000000ull

void call_sites_init(struct call_sites *c, struct store_writer *writer, pid_t pid)
{
	memset(c, 0, sizeof(*c));
	c->writer = writer;
	c->pid = pid;
	c->n_modules = c->n_frames = c->n_stacks = 1;
	ARRAY_GROW(c->modules, c->cap_modules, 0);
	ARRAY_GROW(c->frames, c->cap_frames, 0);
	ARRAY_GROW(c->forms, c->cap_forms, 0); /* of no stack: not known */
}

void call_sites_release(struct call_sites *c)
{
	for (size_t i = 1; i < c->n_modules; i++) {
		free(c->modules[i].path);
		allocation_calls_free(c->modules[i].calls);
		elf_file_close(c->modules[i].elf);
	}
	free(c->modules);
	free(c->frames);
	process_maps_release(&c->maps);
	process_maps_release(&c->older_maps);
	hashmap_release(&c->by_address);
	hashmap_release(&c->by_frame);
	hashmap_release(&c->by_branch);
	free(c->stacks);
	free(c->forms);
	free(c->files);
	perf_map_close(c->jit_names);
	memset(c, 0, sizeof(*c));
}

static void forget_addresses(struct call_sites *c)
{
	hashmap_clear(&c->by_address);
	c->last.n = 0;
	memset(c->callers, 0, sizeof(c->callers));
}

void call_sites_set_space(struct call_sites *c, struct space_id space)
{
	struct stat st;
	char proc[32];

	c->space = space;
	snprintf(proc, sizeof(proc), "/proc/%d", (int)c->pid);
	c->owner = stat(proc, &st) == 0 ? st.st_uid : geteuid();
	c->last_read_ns = 0;
	c->is_exact = c->is_older_exact = c->is_recording = false;
	process_maps_release(&c->maps);
	process_maps_release(&c->older_maps);
	forget_addresses(c);
}

void call_sites_begin_recording(struct call_sites *c)
{
	c->is_recording = true;
}

void call_sites_maps_changed(struct call_sites *c)
{
	c->last_read_ns = 0;
	forget_addresses(c);
}

/* Code that is in no file: a JIT's, or the kernel's own pages. */
static const char anonymous[] = "[anonymous]";

static enum code_owner owner_of(struct elf_file *elf, const struct family *family)
{
	if (!family && !n_mapping_families)
		return CODE_OF_ANYBODY; /* nobody asks whose mappings are whose */
	if (!family)
		return elf_file_exports(elf, "_dl_debug_state") ? CODE_OF_LOADER : CODE_OF_ANYBODY;
	return family->is_library && elf_file_soname(elf) ? CODE_OF_ALLOCATOR : CODE_OF_ANYBODY;
}

/* The module of what is mapped there; @anew: another than what was, by the same name. */
static struct module_id find_module(struct call_sites *c, const struct process_map *map, bool anew)
{
	const char *path = map->path[0] ? map->path : anonymous;
	struct call_site_module m = {.device = map->device, .inode = map->inode};
	struct module_id id;
	char *file;

	for (size_t i = c->n_modules - 1; i > 0 && !anew; i--)
		if (c->modules[i].inode == map->inode && c->modules[i].device == map->device &&
		    !strcmp(c->modules[i].path, path))
			return (struct module_id){(uint32_t)i};

	m.path = xstrdup(path);
	if (process_map_file(c->pid, map, &file) == 0) {
		if (elf_file_open(file, &m.elf, NULL) < 0)
			m.elf = NULL;
		free(file);
	}
	if (m.elf) {
		const struct family *family = family_of_file(m.elf);

		m.is_allocator = family != NULL;
		m.owner = owner_of(m.elf, family);
	}
	id.v = (uint32_t)c->n_modules++;
	ARRAY_GROW(c->modules, c->cap_modules, id.v);
	c->modules[id.v] = m;
	store_writer_put_module(c->writer, &(struct module_record){
		.id = id,
		.path = path,
		.build_id = m.elf ? elf_file_build_id(m.elf) : NULL,
	});
	return id;
}

static struct module_id intern_module(struct call_sites *c, const struct process_map *map)
{
	return find_module(c, map, false);
}

/* The difference between the process's addresses and the module's own. */
static uint64_t bias_of(const struct call_sites *c, const struct process_map *map,
			struct module_id module)
{
	struct elf_file *elf = c->modules[module.v].elf;
	uint64_t address;

	if (!elf || !elf_file_code_address_of(elf, map->offset, &address))
		return 0;
	return map->start - address;
}

static bool is_same_mapping(const struct process_map *a, const struct process_map *b)
{
	return a->start == b->start && a->end == b->end && a->inode == b->inode &&
	       a->device == b->device;
}

static bool has_mapping(const struct process_maps *maps, const struct process_map *map)
{
	const struct process_map *old = process_maps_find(maps, map->start);

	return old && is_same_mapping(old, map);
}

static uint16_t current_generation(const struct call_sites *c)
{
	return c->current_generation ? c->current_generation(c->generation_arg) : 0;
}

/* Reads until no code has come or gone meanwhile; not for ever, though. */
static bool read_exactly(struct call_sites *c, struct process_maps *ret)
{
	for (int i = 0; i < READ_TIMES; i++) {
		uint16_t before = current_generation(c);

		if (process_maps_read(c->pid, ret, NULL) < 0)
			return false;
		c->generation = current_generation(c);
		c->is_exact = c->generation == before;
		if (c->is_exact)
			break;
		if (i < READ_TIMES - 1)
			process_maps_release(ret);
	}
	return true;
}

bool call_sites_read_maps(struct call_sites *c, uint64_t now_ns)
{
	uint16_t generation = c->generation;
	bool was_exact = c->is_exact;
	struct process_maps maps;

	c->last_read_ns = now_ns;
	if (!read_exactly(c, &maps)) {
		c->generation = generation;
		c->is_exact = was_exact;
		return false;
	}
	for (size_t i = 0; i < maps.n; i++) {
		const struct process_map *map = &maps.maps[i];
		struct module_id module;

		if (!map->executable || !map->inode || has_mapping(&c->maps, map))
			continue;
		module = intern_module(c, map);
		c->modules[module.v].is_transient |= c->is_recording;
		store_writer_put_mapping(c->writer, &(struct mapping_record){
			.space = c->space,
			.module = module,
			.start = map->start,
			.end = map->end,
			.bias = bias_of(c, map, module),
			.first_ns = now_ns,
		});
	}
	if (generation == c->generation && was_exact) {
		process_maps_release(&c->maps); /* as it was: what was before is worth more */
	} else {
		process_maps_release(&c->older_maps);
		c->older_maps = c->maps;
		c->older_generation = generation;
		c->is_older_exact = was_exact;
	}
	c->maps = maps;
	forget_addresses(c);
	return true;
}

/* What was mapped there in that generation, or NULL where it cannot be told. */
static const struct process_map *map_of(struct call_sites *c, uint64_t address, uint16_t generation)
{
	const struct process_map *map = process_maps_find(&c->maps, address), *older;

	if (generation == c->generation)
		return map;
	/* mappings of later ones were not to be had (yet) */
	if ((int16_t)(generation - c->generation) > 0)
		return map && !c->modules[intern_module(c, map).v].is_transient ? map : NULL;
	older = process_maps_find(&c->older_maps, address);
	if (c->is_older_exact && generation == c->older_generation)
		return older;
	if (map && older && !is_same_mapping(map, older))
		return NULL;
	if (!map) /* it went since */
		map = older;
	return map && !c->modules[intern_module(c, map).v].is_transient ? map : NULL;
}

static struct frame_id intern_frame(struct call_sites *c, struct module_id module, uint64_t offset)
{
	uint32_t *id = hashmap_put(&c->by_frame, hash_u64(module.v) ^ offset);

	if (*id == HASHMAP_NONE || c->frames[*id].module.v != module.v ||
	    c->frames[*id].offset != offset) {
		*id = (uint32_t)c->n_frames++;
		ARRAY_GROW(c->frames, c->cap_frames, *id);
		c->frames[*id] = (struct call_site_frame){
			.module = module,
			.offset = offset,
			.calls = FORM_UNASKED,
			.within = FORM_UNASKED,
		};
		store_writer_put_frame(c->writer, (struct frame_id){*id}, module, offset);
	}
	return (struct frame_id){*id};
}

static struct frame_id new_frame(struct call_sites *c, uint64_t address, uint16_t generation)
{
	const struct process_map *map = map_of(c, address, generation);
	struct module_id module;

	if (!map || !map->executable)
		return intern_frame(c, (struct module_id){0}, address);
	module = intern_module(c, map);
	return intern_frame(c, module, address - bias_of(c, map, module));
}

void call_sites_set_file(struct call_sites *c, uint32_t id, const struct process_map *map)
{
	struct module_id module = intern_module(c, map);

	if (c->modules[module.v].has_file) /* it was written anew, in place */
		module = find_module(c, map, true);
	c->modules[module.v].has_file = true;
	c->last.n = 0;
	ARRAY_GROW(c->files, c->cap_files, id);
	c->files[id] = module;
}

/* A frame that tells its file itself. */
static struct frame_id located_frame(struct call_sites *c, uint64_t frame)
{
	static const struct process_map no_file = {.path = (char *)""};
	uint32_t id = RING_FRAME_FILE(frame);
	struct module_id module = {0};
	uint64_t offset = RING_FRAME_OFFSET(frame), address;

	if (!(frame & RING_FRAME_IN_FILE))
		return intern_frame(c, intern_module(c, &no_file),
				    frame & ~RING_FRAME_IN_NO_FILE);
	if (id < c->cap_files)
		module = c->files[id];
	if (module.v && c->modules[module.v].elf &&
	    elf_file_code_address_of(c->modules[module.v].elf, offset, &address))
		offset = address;
	return intern_frame(c, module, offset);
}

/* Has it been a while?  Events are older than the clock that other readings go by. */
static bool may_read_again(const struct call_sites *c, uint64_t now_ns)
{
	return now_ns > c->last_read_ns && now_ns - c->last_read_ns > READ_AGAIN_NS;
}

static struct frame_id frame_of(struct call_sites *c, uint64_t address, uint16_t generation,
				uint64_t now_ns)
{
	bool is_later = (int16_t)(generation - c->generation) > 0;
	uint32_t *known = NULL;

	if (address & (RING_FRAME_IN_FILE | RING_FRAME_IN_NO_FILE))
		return located_frame(c, address);
	if (!c->last_read_ns || (is_later && may_read_again(c, now_ns)))
		call_sites_read_maps(c, now_ns);
	if (generation != c->generation) /* addresses mean something else */
		return new_frame(c, address, generation);
	known = hashmap_put(&c->by_address, address);
	if (*known != HASHMAP_NONE)
		return (struct frame_id){*known};
	if (!process_maps_find(&c->maps, address) && may_read_again(c, now_ns)) {
		call_sites_read_maps(c, now_ns);
		known = hashmap_put(&c->by_address, address);
	}
	*known = new_frame(c, address, generation).v;
	return (struct frame_id){*known};
}

/* ---- forms of allocation --------------------------------------------------------------- */

/* Of a stack's frames, so many may be operators, one calling the other, and who called them. */
#define FORM_FRAMES 4

static void ask_code(struct call_sites *c, struct call_site_frame *f)
{
	struct call_site_module *m = &c->modules[f->module.v];

	f->calls = f->within = FORM_UNKNOWN;
	if (!f->module.v || !m->elf)
		return;
	if (!m->calls)
		m->calls = allocation_calls_new(m->elf);
	f->within = (uint8_t)allocation_calls_within(m->calls, f->offset);
	f->calls = (uint8_t)allocation_calls_to(m->calls, f->offset);
}

/* The form of @stack, which @caller has called, if that is known. */
static void find_form(struct call_sites *c, struct stack_id stack, struct stack_id caller)
{
	enum allocation_form outer, form;
	struct call_site_frame *f;

	if (c->forms[stack.v] != FORM_UNASKED)
		return;
	outer = call_sites_form(c, caller);
	f = &c->frames[c->stacks[stack.v].frame.v];
	if (f->calls == FORM_UNASKED)
		ask_code(c, f);
	if (!f->within)
		form = (enum allocation_form)f->calls;
	else if (outer >= FORM_NEW)
		form = outer;
	else /* operator new[] may have jumped to operator new */
		form = f->within == FORM_NEW_ARRAY ? FORM_NEW_ARRAY : FORM_ANY_NEW;
	c->forms[stack.v] = (uint8_t)form;
}

void call_sites_write_form(struct call_sites *c, struct stack_id stack)
{
	enum allocation_form form = call_sites_form(c, stack);
	char key[32];

	if (!form || c->forms[stack.v] & FORM_WRITTEN)
		return;
	c->forms[stack.v] |= FORM_WRITTEN;
	snprintf(key, sizeof(key), FORM_KEY "%" PRIu32, stack.v);
	store_writer_put_text(c->writer, key, allocation_form_names[form]);
}

/* ---- stacks ------------------------------------------------------------------------------ */

/* Most stacks go on in one way or two: that costs no search in a large table. */
#define CALLEES_MAX 8

/* The stack of @frame among the first ones that go on from @caller; 0: it is not there. */
static uint32_t find_callee(const struct call_sites *c, struct stack_id caller,
			    struct frame_id frame, uint32_t *ret_n)
{
	uint32_t at = c->stacks[caller.v].first_callee;

	for (*ret_n = 0; at && c->stacks[at].frame.v != frame.v; ++*ret_n)
		at = c->stacks[at].next_callee;
	return at;
}

static uint32_t add_stack(struct call_sites *c, struct stack_id caller, struct frame_id frame,
			  enum stack_end end)
{
	uint32_t id = (uint32_t)c->n_stacks++;

	ARRAY_GROW(c->stacks, c->cap_stacks, id);
	c->stacks[id] = (struct call_site_stack){.frame = frame};
	ARRAY_GROW(c->forms, c->cap_forms, id);
	c->forms[id] = FORM_UNASKED;
	store_writer_put_stack(c->writer, (struct stack_id){id}, caller, frame, end);
	return id;
}

/* The stack of @frame, called by @caller; where nobody is known to have called, @end says why. */
static struct stack_id branch(struct call_sites *c, struct stack_id caller, struct frame_id frame,
			      enum stack_end end)
{
	uint64_t from = caller.v ? caller.v : 1ull << 31 | (uint64_t)end;
	uint32_t callees = CALLEES_MAX, id = 0, *known;

	if (caller.v)
		id = find_callee(c, caller, frame, &callees);
	if (id)
		return (struct stack_id){id};
	if (callees < CALLEES_MAX) {
		id = add_stack(c, caller, frame, end);
		c->stacks[id].next_callee = c->stacks[caller.v].first_callee;
		c->stacks[caller.v].first_callee = id;
		return (struct stack_id){id};
	}
	known = hashmap_put(&c->by_branch, from << 32 | frame.v);
	if (*known == HASHMAP_NONE)
		*known = add_stack(c, caller, frame, end);
	return (struct stack_id){*known};
}

/* How many of its outermost frames are those of the stack before. */
static size_t shared_frames(const struct call_sites *c, const uint64_t *addresses, size_t n,
			    uint16_t generation, enum stack_end end)
{
	const struct call_sites_last *l = &c->last;
	size_t shared = 0;

	if (l->generation != generation || l->end != end)
		return 0;
	while (shared < l->n && shared < n && l->addresses[shared] == addresses[n - 1 - shared])
		shared++;
	return shared;
}

struct stack_id call_sites_stack(struct call_sites *c, const uint64_t *addresses, size_t n,
				 uint16_t generation, enum stack_end end, uint64_t now_ns)
{
	struct call_sites_last *l = &c->last;
	size_t shared = shared_frames(c, addresses, n, generation, end);
	struct stack_id stack = {0};

	l->n = shared;
	for (size_t i = 0; i < n; i++) {
		uint64_t address = addresses[n - 1 - i];
		struct stack_id caller = stack;

		if (i < shared) {
			stack = l->stacks[i];
			if (i + FORM_FRAMES >= n)
				find_form(c, stack, caller);
			continue;
		}
		/* if what was learnt of addresses becomes void on the way, this does, too */
		stack = branch(c, stack, frame_of(c, address, generation, now_ns), end);
		if (i + FORM_FRAMES >= n)
			find_form(c, stack, caller);
		if (i == l->n && i < RING_FRAMES_MAX) {
			l->addresses[i] = address;
			l->stacks[i] = stack;
			l->n = i + 1;
		}
	}
	l->generation = generation;
	l->end = end;
	if (generation != c->generation) /* addresses mean something else */
		l->n = 0;
	return stack;
}

struct stack_id call_sites_caller(struct call_sites *c, uint64_t address, uint16_t generation,
				  uint64_t now_ns)
{
	struct call_sites_caller *known =
		&c->callers[(address ^ address >> 10) % CALL_SITES_CALLERS];
	struct stack_id stack;

	if (known->stack.v && known->address == address && known->generation == generation)
		return known->stack;
	stack = branch(c, (struct stack_id){0}, frame_of(c, address, generation, now_ns),
		       STACK_CALLER);
	find_form(c, stack, (struct stack_id){0});
	if (generation == c->generation)
		*known = (struct call_sites_caller){address, stack, generation};
	return stack;
}

struct stack_id call_sites_name(struct call_sites *c, const char *name)
{
	struct module_id module = {(uint32_t)c->n_modules++};
	struct frame_id frame;

	ARRAY_GROW(c->modules, c->cap_modules, module.v);
	c->modules[module.v] = (struct call_site_module){.path = xstrdup(name)};
	store_writer_put_module(c->writer,
				&(struct module_record){.id = module, .path = name});
	frame = intern_frame(c, module, 0);
	store_writer_put_symbol(c->writer,
				&(struct symbol_record){.frame = frame, .function = name});
	return branch(c, (struct stack_id){0}, frame, STACK_COMPLETE);
}

bool call_sites_in_allocator(const struct call_sites *c, struct stack_id stack)
{
	return stack.v && stack.v < c->n_stacks &&
	       c->modules[c->frames[c->stacks[stack.v].frame.v].module.v].is_allocator;
}

enum code_owner call_sites_owner(struct call_sites *c, uint64_t address, uint16_t generation,
				 uint64_t now_ns)
{
	struct frame_id frame = frame_of(c, address, generation, now_ns);

	return c->modules[c->frames[frame.v].module.v].owner;
}

struct resolving {
	struct call_sites *sites;
	const uint32_t *frames; /* [place] */
	size_t done;		/* frames, as far as they are known */
};

static void put_symbol(void *arg, const struct symbolized *s)
{
	struct resolving *r = arg;

	r->done += s->depth == 0;
	store_writer_put_symbol(r->sites->writer, &(struct symbol_record){
		.frame = {r->frames[s->place]},
		.depth = s->depth,
		.function = s->function,
		.file = s->file,
		.line = s->line});
}

static bool is_anonymous(const struct call_sites *c, uint32_t module)
{
	/* 0: mapped after the mappings were last read */
	return !module || !strcmp(c->modules[module].path, anonymous);
}

void call_sites_read_jit_names(struct call_sites *c)
{
	for (uint32_t i = 1; i < c->n_frames && !c->jit_names; i++) {
		if (!is_anonymous(c, c->frames[i].module.v))
			continue;
		c->jit_names = perf_map_open(c->pid, c->owner);
		return;
	}
}

/* Code that is in no file: its own process may have told what it is. */
static void resolve_anonymous(struct call_sites *c, const struct resolving *r, size_t n)
{
	for (size_t i = 0; i < n && c->jit_names; i++) {
		const char *name =
			perf_map_function_at(c->jit_names, c->frames[r->frames[i]].offset - 1);

		if (name)
			store_writer_put_symbol(c->writer, &(struct symbol_record){
				.frame = {r->frames[i]}, .function = name});
	}
}

/* Its frames, in the order of their modules. */
static uint64_t *sort_frames(const struct call_sites *c)
{
	uint64_t *keys = xcalloc(c->n_frames, sizeof(*keys));

	for (uint32_t i = 1; i < c->n_frames; i++)
		keys[i - 1] = (uint64_t)c->frames[i].module.v << 32 | i;
	sort_u64(keys, c->n_frames - 1);
	return keys;
}

static bool is_stopped(int stop_fd)
{
	struct pollfd p = {.fd = stop_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static void show_names(void *arg)
{
	const struct resolving *r = arg;

	if (r->sites->on_names)
		r->sites->on_names(r->done, r->sites->n_frames - 1);
}

bool call_sites_resolve(struct call_sites *c, int stop_fd)
{
	uint64_t until_ns = clock_now_ns() + RESOLVE_NS_MAX, *keys = sort_frames(c);
	uint32_t *frames = xcalloc(c->n_frames, sizeof(*frames));
	uint64_t *addresses = xcalloc(c->n_frames, sizeof(*addresses));
	struct resolving r = {c, frames, 0};
	const struct symbolizer_options options = {.linkage_names = c->linkage_names,
						   .stop_fd = stop_fd,
						   .on_wait = show_names,
						   .wait_arg = &r};
	bool is_whole = true;

	for (size_t i = 0; i < c->n_frames - 1;) {
		uint32_t module = (uint32_t)(keys[i] >> 32);
		size_t n = 0;

		for (; i < c->n_frames - 1 && keys[i] >> 32 == module; i++, n++) {
			frames[n] = (uint32_t)keys[i];
			addresses[n] = c->frames[frames[n]].offset;
		}
		if (is_anonymous(c, module)) {
			resolve_anonymous(c, &r, n);
		} else if (c->modules[module].elf) {
			is_whole &= !is_stopped(stop_fd) && clock_now_ns() < until_ns;
			if (is_whole)
				frame_names(c->modules[module].elf, c->modules[module].path,
					    addresses, n, &options, put_symbol, &r);
		}
		r.done = i; /* those of which nothing is known, too */
	}
	is_whole &= !is_stopped(stop_fd);
	free(keys);
	free(frames);
	free(addresses);
	return is_whole;
}
