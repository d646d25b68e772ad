/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/roots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "collector/family.h"
#include "collector/glibc_heap.h"
#include "collector/glibc_heap_info.h"
#include "collector/glibc_traces.h"
#include "common/xalloc.h"

#define PAGE_BYTES 4096ull
#define STACK_BYTES_MAX (1ull << 30) /* a thread's own memory is above its stack, not far */
#define RED_ZONE 128 /* bytes below the stack pointer that functions may use: x86-64 ABI */

static void add(struct roots_ranges *to, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	ARRAY_GROW(to->items, to->cap, to->n);
	to->items[to->n++] = (struct pointers_range){start, end};
}

static bool is_root(const struct process_map *m)
{
	return m->readable && m->writable &&
	       (strncmp(m->path, "/dev/", 5) || !strncmp(m->path, "/dev/zero", 9) ||
		!strncmp(m->path, "/dev/shm/", 9));
}

/* ---- stacks --------------------------------------------------------------------------- */

/* Is the thread's own memory (its TLS) in @m, above @address?  Then that is on its stack. */
static bool is_stack_of(const struct hold_thread *t, const struct process_map *m, uint64_t address)
{
	return !strcmp(m->path, "[stack]") ||
	       (t->registers.fs_base > address && t->registers.fs_base < m->end);
}

/* What lies below the stack pointer, down to another thread's memory in the same mapping. */
static void leave_out_below(struct roots *r, const struct hold *h, const struct hold_thread *t)
{
	uint64_t sp = t->registers.rsp - RED_ZONE, low;
	const struct process_map *m = process_maps_find(&r->maps, sp);

	if (!m || !is_stack_of(t, m, sp))
		return;
	low = m->start;
	for (size_t i = 0; i < h->n; i++) {
		uint64_t other = h->threads[i].registers.fs_base + PAGE_BYTES;

		if (h->threads[i].has_registers && other > low && other <= sp)
			low = other;
	}
	add(&r->left_out, low, sp);
}

/* Stacks have nothing that can be read below: a guard. */
static bool may_be_stack(const struct roots *r, size_t i)
{
	const struct process_map *m = &r->maps.maps[i];

	return i && !m->inode && (!m->path[0] || !strncmp(m->path, "[anon", 5)) && m->writable &&
	       m[-1].end == m->start && !m[-1].readable;
}

static void leave_out_stacks(struct roots *r, const struct hold *h)
{
	struct pointers_range ended;

	for (size_t i = 0; i < h->n; i++)
		if (h->threads[i].has_registers)
			leave_out_below(r, h, &h->threads[i]);
	for (size_t i = 0; i < r->maps.n; i++) {
		const struct process_map *m = &r->maps.maps[i];

		if (may_be_stack(r, i) && glibc_ended_stack(&r->memory, m, &ended))
			add(&r->left_out, ended.start, ended.end);
	}
}

/* The thread that ends the process: nothing will use what it has in registers. */
static bool is_done(const struct hold *h, const struct hold_thread *t)
{
	return h->at_exit && (t->registers.orig_rax == SYS_exit_group ||
			      t->registers.orig_rax == SYS_exit);
}

static void add_registers(struct roots *r, const struct hold *h)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct hold_thread *t = &h->threads[i];
		uint64_t words[sizeof(t->registers) / 8];

		if (!t->has_registers || is_done(h, t))
			continue;
		memcpy(words, &t->registers, sizeof(words));
		for (size_t k = 0; k < COUNT_OF(words); k++) {
			ARRAY_GROW(r->words, r->cap_words, r->n_words);
			r->words[r->n_words++] = words[k];
		}
	}
}

static bool is_libc(const struct process_map *m)
{
	const char *slash = strrchr(m->path, '/');

	return slash && (!strncmp(slash, "/libc.so", 8) || !strncmp(slash, "/libc-2", 7));
}

/* ---- the allocators' memory ------------------------------------------------------------- */

static bool is_any_threads(const struct hold *h, const struct process_map *m)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct user_regs_struct *x = &h->threads[i].registers;

		if (h->threads[i].has_registers &&
		    ((x->fs_base >= m->start && x->fs_base < m->end) ||
		     (x->rsp >= m->start && x->rsp < m->end)))
			return true;
	}
	return false;
}

/* What is being left out: blocks are gone through by address, as mappings are. */
struct allocators {
	struct roots *roots;
	const struct hold *hold;
	const struct live_blocks *blocks;
	const struct drain *drain;
	size_t next; /* the first block that is not in a mapping before */
	/* where glibc's main arena has memory besides the program break */
	struct roots_ranges scattered;
};

/* The heaps of glibc's arenas that @m has. */
static int leave_out_heaps(struct allocators *a, const struct process_map *m)
{
	struct roots *r = a->roots;
	struct glibc_heap_info heap;
	uint64_t at = m->start, start;
	int e;

	while ((e = glibc_heap_next(&r->memory, at, m->end, &start, &heap)) > 0) {
		at = start + heap.writable_bytes < m->end ? start + heap.writable_bytes : m->end;
		add(&r->left_out, start, at);
	}
	return e;
}

/* Of glibc's blocks before @to, which @m has: what no heap has of those left out from @heap on. */
static void leave_out_mapped(struct allocators *a, const struct process_map *m, size_t heap,
			     size_t to)
{
	struct roots *r = a->roots;
	size_t end = r->left_out.n;
	bool is_scattered = false;

	for (size_t i = a->next; i < to; i++) {
		uint64_t address = a->blocks->items[i].address;
		/* else there is no need to read what is before the block */
		bool may_be_mapped = address % PAGE_BYTES == 16 ||
				     a->blocks->items[i].size >= PAGE_BYTES;
		struct pointers_range pages;

		while (heap < end && r->left_out.items[heap].end <= address)
			heap++;
		if (!(a->blocks->flags[i] & LIVE_GLIBC) ||
		    (heap < end && r->left_out.items[heap].start <= address))
			continue;
		if (may_be_mapped && glibc_mapped_chunk(&r->memory, address, &pages))
			add(&r->left_out, pages.start, pages.end);
		else
			is_scattered = true;
	}
	if (is_scattered)
		add(&a->scattered, m->start, m->end);
}

/* What nobody knows of: mapped by none of the calls that were seen. */
static void divide_unknown(struct allocators *a, uint64_t start, uint64_t end, bool has_stack)
{
	if (!has_stack && !n_mapping_families)
		add(&a->roots->doubtful, start, end);
}

/* Of other allocators' mapping what never had a block: the program's, or the allocator's own. */
static void divide(struct allocators *a, uint64_t start, uint64_t end, bool has_stack)
{
	while (start < end) {
		const struct mapping *m = mappings_find(&a->drain->mappings, start, end);

		if (!m) {
			divide_unknown(a, start, end, has_stack);
			return;
		}
		if (m->start > start)
			divide(a, start, m->start, has_stack);
		if (replay_at(&a->drain->heap, m->slot)->family == FAMILY_ALLOCATOR)
			add(&a->roots->left_out, m->start > start ? m->start : start,
			    m->end < end ? m->end : end);
		start = m->end;
	}
}

/*
 * Where blocks were a thread may have its stack by now.  What threads from number @i on have in
 * use of theirs is not left out.
 */
static void leave_out_but_stacks(struct allocators *a, uint64_t start, uint64_t end, size_t i)
{
	for (; i < a->hold->n && start < end; i++) {
		const struct user_regs_struct *x = &a->hold->threads[i].registers;
		uint64_t low = x->rsp - RED_ZONE, high = x->fs_base + PAGE_BYTES;

		if (!a->hold->threads[i].has_registers || low >= end || high <= start ||
		    high <= low || high - low > STACK_BYTES_MAX)
			continue;
		if (low > start)
			leave_out_but_stacks(a, start, low, i + 1);
		start = high;
	}
	add(&a->roots->left_out, start, end);
}

/* Returns whether there is any. */
static bool leave_out_others(struct allocators *a, const struct process_map *m)
{
	const struct page_set *pages = &a->drain->block_pages;
	bool has_stack = is_any_threads(a->hold, m);
	uint64_t at = m->start, start, end;

	if (!page_set_next(pages, m->start, m->end, &start, &end))
		return false; /* if it is theirs all the same, it may hide what is lost */
	while (page_set_next(pages, at, m->end, &start, &end)) {
		divide(a, at, start, has_stack);
		leave_out_but_stacks(a, start, end, 0);
		at = end;
	}
	divide(a, at, m->end, has_stack);
	return true;
}

/*
 * Where that is, is known by all that malloc knows: it takes as long as reading it.  Where that
 * does not fit together, who points from there is not known.
 */
static void leave_out_scattered(struct allocators *a)
{
	struct roots *r = a->roots;
	struct glibc_walk *walk;
	struct glibc_heap heap;
	struct err err;

	if (glibc_walk_read(r->memory.pid, &r->maps, NULL, 0, r->memory.deadline_ns, &walk, &err)) {
		for (size_t i = 0; i < a->scattered.n; i++)
			add(&r->doubtful, a->scattered.items[i].start, a->scattered.items[i].end);
		return;
	}
	glibc_walk_finish(walk, &heap);
	for (size_t i = 0; i < heap.n_parts; i++)
		add(&r->left_out, heap.parts[i].start, heap.parts[i].end);
	glibc_heap_release(&heap);
}

static int leave_out_allocators(struct allocators *a)
{
	struct roots *r = a->roots;
	const struct live_blocks *b = a->blocks;
	int e = 0;

	for (size_t i = 0; i < r->maps.n && !e; i++) {
		const struct process_map *m = &r->maps.maps[i];
		size_t to, heap = r->left_out.n;

		while (a->next < b->n && b->items[a->next].address < m->start)
			a->next++;
		for (to = a->next; to < b->n && b->items[to].address < m->end; to++)
			;
		if (!strcmp(m->path, "[heap]")) {
			if (!leave_out_others(a, m))
				add(&r->left_out, m->start, m->end);
		} else if (is_root(m) && (!m->inode || process_map_is_anonymous(m))) {
			e = leave_out_heaps(a, m);
			leave_out_mapped(a, m, heap, to);
			leave_out_others(a, m);
		}
		a->next = to;
	}
	if (!e && a->scattered.n)
		leave_out_scattered(a);
	free(a->scattered.items);
	return e;
}

/* In the data of the C library, or of the program if that is linked statically. */
static void leave_out_main_arena(struct roots *r)
{
	bool has_libc = false;
	struct pointers_range arena;

	for (size_t i = 0; i < r->maps.n; i++)
		has_libc |= is_libc(&r->maps.maps[i]);
	for (size_t i = 0; i < r->maps.n; i++) {
		const struct process_map *m = &r->maps.maps[i];

		if (is_root(m) && m->inode && (!has_libc || is_libc(m)) &&
		    glibc_main_arena(&r->memory, m, &arena))
			add(&r->left_out, arena.start, arena.end);
	}
}

/* ---- all together ----------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
	const struct pointers_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* The blocks are in order by themselves; what else is left out need not be. */
struct leaving_out {
	const struct roots_ranges *ranges;
	const struct live_blocks *blocks;
	size_t next_range, next_block;
};

/* The next of both lists that ends behind @address, if it begins before @end. */
static bool next_left_out(struct leaving_out *l, uint64_t address, uint64_t end,
			  struct pointers_range *ret)
{
	bool is_found = false;

	*ret = (struct pointers_range){end, end};
	while (l->next_range < l->ranges->n && l->ranges->items[l->next_range].end <= address)
		l->next_range++;
	if (l->next_range < l->ranges->n && l->ranges->items[l->next_range].start < end) {
		*ret = l->ranges->items[l->next_range];
		is_found = true;
	}
	while (l->next_block < l->blocks->n &&
	       l->blocks->items[l->next_block].address + l->blocks->items[l->next_block].size <=
		       address)
		l->next_block++;
	if (l->next_block < l->blocks->n) {
		const struct pointers_block *b = &l->blocks->items[l->next_block];

		if (b->address < ret->start) {
			*ret = (struct pointers_range){b->address, b->address + b->size};
			is_found = true;
		}
	}
	return is_found;
}

/* What of [@at, @end) is not left out. */
static void add_rest(struct roots_ranges *to, uint64_t at, uint64_t end, struct leaving_out *l)
{
	struct pointers_range out;

	while (at < end && next_left_out(l, at, end, &out)) {
		add(to, at, out.start);
		at = out.end > at ? out.end : at;
	}
	add(to, at, end);
}

/* The ranges of @doubtful without those of others: what is left out, and blocks. */
static void cut_doubtful(struct roots *r, const struct live_blocks *blocks)
{
	struct leaving_out l = {.ranges = &r->left_out, .blocks = blocks};
	struct roots_ranges all = r->doubtful;

	r->doubtful = (struct roots_ranges){0};
	for (size_t i = 0; i < all.n; i++)
		add_rest(&r->doubtful, all.items[i].start, all.items[i].end, &l);
	for (size_t i = 0; i < all.n; i++)
		add(&r->left_out, all.items[i].start, all.items[i].end);
	free(all.items);
}

/* In order, and none within the one before. */
static void put_in_order(struct roots_ranges *x)
{
	size_t n = 0;

	if (x->n)
		qsort(x->items, x->n, sizeof(*x->items), by_start);
	for (size_t i = 0; i < x->n; i++) {
		if (n && x->items[i].start <= x->items[n - 1].end) {
			if (x->items[i].end > x->items[n - 1].end)
				x->items[n - 1].end = x->items[i].end;
		} else {
			x->items[n++] = x->items[i];
		}
	}
	x->n = n;
}

static int fail(pid_t pid, int error, struct err *err)
{
	return err_set(err, error == -EPERM ? ERR_PRIVILEGE : ERR_FAILED, -error,
		       "cannot read the memory of process %d", (int)pid);
}

int roots_find(struct roots *r, const struct hold *hold, const struct live_blocks *blocks,
	       const struct drain *d, bool all, uint64_t deadline_ns, struct err *err)
{
	struct leaving_out l = {.ranges = &r->left_out, .blocks = blocks};
	struct allocators a = {.roots = r, .hold = hold, .blocks = blocks, .drain = d};
	pid_t pid = hold->target->pid;
	int error;

	*r = (struct roots){.memory.pages.fd = -EBADF};
	error = process_maps_read(pid, &r->maps, err);
	if (error)
		return error;
	process_memory_open(&r->memory, pid, deadline_ns);
	add_registers(r, hold);
	leave_out_stacks(r, hold);
	error = all ? 0 : leave_out_allocators(&a);
	if (error)
		return fail(pid, error, err);
	leave_out_main_arena(r);
	put_in_order(&r->left_out);
	put_in_order(&r->doubtful);
	cut_doubtful(r, blocks);
	put_in_order(&r->left_out);
	for (size_t i = 0; i < r->maps.n; i++)
		if (is_root(&r->maps.maps[i]))
			add_rest(&r->ranges, r->maps.maps[i].start, r->maps.maps[i].end, &l);
	return 0;
}

void roots_release(struct roots *r)
{
	process_memory_close(&r->memory);
	process_maps_release(&r->maps);
	free(r->ranges.items);
	free(r->doubtful.items);
	free(r->left_out.items);
	free(r->words);
	hashmap_release(&r->vtables);
	memset(r, 0, sizeof(*r));
	r->memory.pages.fd = -EBADF;
}

/* ---- tables of functions ----------------------------------------------------------------- */

#define VTABLE_WORDS 21 /* that memcheck looks at */

/*
 * As memcheck has it: in a file's mapping, a row of zeros and addresses of code, two of which
 * there must be.
 */
static bool look_for_vtable(struct roots *r, uint64_t address)
{
	const struct process_map *m = process_maps_find(&r->maps, address), *code;
	uint64_t words[VTABLE_WORDS];
	size_t n, found = 0;

	if (!m || !m->inode || !m->readable)
		return false;
	n = (m->end - address) / 8 < VTABLE_WORDS ? (m->end - address) / 8 : VTABLE_WORDS;
	if (m->writable)
		process_memory_words(&r->memory, address, n, words);
	else
		process_memory_constants(&r->memory, address, n, words);
	for (size_t i = 0; i < n && found < 2; i++) {
		if (!words[i])
			continue;
		code = process_maps_find(&r->maps, words[i]);
		if (!code || !code->inode || !code->executable)
			return false;
		found++;
	}
	return found == 2;
}

static bool is_vtable(void *roots, uint64_t address)
{
	struct roots *r = roots;
	uint32_t *known = hashmap_put(&r->vtables, address);

	if (*known == HASHMAP_NONE)
		*known = look_for_vtable(r, address);
	return *known;
}

static int read_memory(void *roots, const struct pointers_range *ranges, size_t n, void *to)
{
	return process_memory_ranges(&((struct roots *)roots)->memory, ranges, n, to);
}

static bool written(void *roots, const struct pointers_range *r, struct pointers_range *ret)
{
	return process_memory_written(&((struct roots *)roots)->memory, r, ret);
}

struct pointers_memory roots_memory(struct roots *r)
{
	return (struct pointers_memory){
		.arg = r, .read = read_memory, .written = written, .is_vtable = is_vtable};
}
