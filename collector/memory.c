/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/glibc_heap_info.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/xalloc.h"

/* Without PAGEMAP_SCAN terabytes that are reserved would take minutes. */
#define MEMORY_PAUSE_NS 2000000000ull

/* ---- what smaps says --------------------------------------------------------------- */

struct mapping {
	uint64_t start, end, inode;
	char perms[5];
	const char *name; /* in the text */
	uint64_t rss, swap, huge, shared;
	bool is_hugetlb;
};

struct mappings {
	struct mapping *items;
	size_t n, cap;
};

static int read_file(const char *path, struct buffer *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	for (;;) {
		ARRAY_GROW(ret->data, ret->cap, ret->len + 65536);
		n = read(fd, ret->data + ret->len, 65536);
		if (n > 0)
			ret->len += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	if (n < 0)
		r = -errno;
	close(fd);
	ret->data[ret->len] = '\0';
	return r;
}

/* "560d8c000000-560d8c021000 rw-p 00000000 00:00 0                [heap]" */
static bool parse_head(char *line, struct mapping *ret)
{
	int at = 0;

	*ret = (struct mapping){0};
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*s %" SCNu64 " %n", &ret->start,
		   &ret->end, ret->perms, &ret->inode, &at) < 4 || !at)
		return false;
	ret->name = line + at;
	return ret->end > ret->start;
}

static void parse_field(const char *line, struct mapping *m)
{
	static const struct {
		const char *key;
		size_t at;
	} fields[] = {
		{"Rss:", offsetof(struct mapping, rss)},
		{"Shared_Clean:", offsetof(struct mapping, shared)},
		{"Shared_Dirty:", offsetof(struct mapping, shared)},
		{"AnonHugePages:", offsetof(struct mapping, huge)},
		{"Swap:", offsetof(struct mapping, swap)},
	};

	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		size_t len = strlen(fields[i].key);

		if (!strncmp(line, fields[i].key, len)) {
			*(uint64_t *)((char *)m + fields[i].at) +=
				strtoull(line + len, NULL, 10) << 10;
			return;
		}
	}
	if (!strncmp(line, "VmFlags:", 8))
		m->is_hugetlb = strstr(line, " ht") != NULL;
}

/* @text: is cut into lines, and lives as long as what is made of it. */
static void parse_smaps(char *text, struct mappings *ret)
{
	for (char *line = text, *next; line && *line; line = next) {
		struct mapping m;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (line[0] >= 'A' && line[0] <= 'Z') {
			if (ret->n)
				parse_field(line, &ret->items[ret->n - 1]);
		} else if (parse_head(line, &m)) {
			ARRAY_GROW(ret->items, ret->cap, ret->n);
			ret->items[ret->n++] = m;
		}
	}
}

/* ---- what a mapping is ------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool has_stack_pointer(const struct hold *h, const struct mapping *m)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct hold_thread *t = &h->threads[i];

		if (t->has_registers && t->registers.rsp >= m->start && t->registers.rsp < m->end)
			return true;
	}
	return false;
}

static enum snapshot_kind kind_of_nameless(const struct hold *h, const struct mapping *m,
					   const struct snapshot *s)
{
	const struct snapshot_region *before =
		s->n_regions ? &s->regions[s->n_regions - 1] : NULL;

	if (m->perms[3] == 's')
		return SNAPSHOT_SHARED;
	if (has_stack_pointer(h, m))
		return SNAPSHOT_STACK;
	/* the rest of .bss */
	if (before && before->kind == SNAPSHOT_DATA && before->end == m->start &&
	    m->perms[1] == 'w' && before->name[0] == '/')
		return SNAPSHOT_DATA;
	return SNAPSHOT_ANONYMOUS;
}

static enum snapshot_kind kind_of(const struct hold *h, const struct mapping *m,
				  const struct snapshot *s)
{
	static const char *const shared[] = {"/dev/zero (deleted)", "/SYSV", "/memfd:", "/dev/shm/",
					     "[anon_shmem:"};

	if (m->is_hugetlb)
		return SNAPSHOT_HUGETLB;
	if (!strcmp(m->name, "[heap]"))
		return SNAPSHOT_BRK;
	if (begins(m->name, "[stack"))
		return SNAPSHOT_STACK;
	if (m->perms[3] == 's' || begins(m->name, "[anon_shmem:")) {
		for (size_t i = 0; i < COUNT_OF(shared); i++)
			if (begins(m->name, shared[i]))
				return SNAPSHOT_SHARED;
	}
	if (!m->name[0] || begins(m->name, "[anon:"))
		return kind_of_nameless(h, m, s);
	if (m->name[0] == '[')
		return SNAPSHOT_KERNEL;
	return m->perms[3] == 'p' && m->perms[1] == 'w' ? SNAPSHOT_DATA : SNAPSHOT_FILE;
}

/* ---- pages ------------------------------------------------------------------------- */

#define RUNS_AT_ONCE 256

/* The pages of a mapping that are there. */
struct pages {
	struct process_memory memory;
	struct page_run *runs;
	size_t n, cap;
};

/*
 * Pages that may be the one of zeros: smaps does not count that.  Where it counts none of
 * them, that is what they are.  Of some of both it cannot be told which is which.
 */
static void tell_zeros(struct pages *p, uint64_t sure_bytes, uint64_t rss)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->runs[i].state == PAGE_MAY_BE_ZERO)
			p->runs[i].state = sure_bytes == rss ? PAGE_ZERO : PAGE_RESIDENT;
}

static int read_pages(struct pages *p, const struct mapping *m)
{
	uint64_t at = m->start, resident = 0, swapped = 0;

	p->n = 0;
	/* smaps says when there are no more: what is reserved behind may be terabytes */
	while (at < m->end && resident + swapped < m->rss + m->swap) {
		uint64_t looked;
		size_t n;
		int r;

		while (p->cap < p->n + RUNS_AT_ONCE)
			ARRAY_GROW(p->runs, p->cap, p->cap);
		r = page_map_read(&p->memory.pages, at, m->end, p->runs + p->n, RUNS_AT_ONCE, &n,
				  &looked);
		if (r)
			return r;
		for (size_t end = p->n + n; p->n < end; p->n++) {
			const struct page_run *run = &p->runs[p->n];

			resident += run->state == PAGE_RESIDENT ? run->end - run->start : 0;
			swapped += run->state == PAGE_SWAPPED ? run->end - run->start : 0;
		}
		at = looked;
	}
	tell_zeros(p, resident, m->rss);
	return 0;
}

/* The first run that ends behind @address. */
static size_t first_behind(const struct pages *p, uint64_t address)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->runs[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What lies between @start and @end, to the region added last. */
static void add_pages(const struct pages *p, uint64_t start, uint64_t end, struct snapshot *s)
{
	static const enum snapshot_page states[] = {[PAGE_RESIDENT] = SNAPSHOT_RESIDENT,
						    [PAGE_SWAPPED] = SNAPSHOT_SWAPPED,
						    [PAGE_ZERO] = SNAPSHOT_ZERO};
	uint64_t at = start;

	for (size_t i = first_behind(p, start); i < p->n && p->runs[i].start < end; i++) {
		const struct page_run *run = &p->runs[i];
		uint64_t from = run->start > start ? run->start : start;
		uint64_t to = run->end < end ? run->end : end;

		snapshot_add_pages(s, (from - at) / SNAPSHOT_PAGE_BYTES, SNAPSHOT_ABSENT);
		snapshot_add_pages(s, (to - from) / SNAPSHOT_PAGE_BYTES, states[run->state]);
		at = to;
	}
	snapshot_add_pages(s, (end - at) / SNAPSHOT_PAGE_BYTES, SNAPSHOT_ABSENT);
}

/* ---- all of it --------------------------------------------------------------------- */

static uint64_t run_bytes(const struct snapshot *s, const struct snapshot_region *r,
			  enum snapshot_page state)
{
	uint64_t pages = 0;

	for (size_t i = r->first_run; i < r->first_run + r->n_runs; i++)
		pages += s->runs[i].state == state ? s->runs[i].pages : 0;
	return pages * SNAPSHOT_PAGE_BYTES;
}

static void add_region(const struct mapping *m, enum snapshot_kind kind, const struct pages *p,
		       struct snapshot *s)
{
	struct snapshot_region r = {.start = m->start, .end = m->end, .kind = kind, .rss = m->rss,
				    .swap = m->swap, .huge = m->huge, .shared = m->shared};
	const char *name = m->name;

	if (kind == SNAPSHOT_DATA && !name[0])
		name = s->regions[s->n_regions - 1].name;
	snapshot_add_region(s, &r, name);
	if (p)
		add_pages(p, m->start, m->end, s);
}

/* A part of @m, which is cut where heaps of arenas begin and end. */
static void add_part(const struct mapping *m, uint64_t start, uint64_t end,
		     enum snapshot_kind kind, const struct pages *p, struct snapshot *s)
{
	struct mapping part = *m;
	struct snapshot_region *r;

	if (start == end)
		return;
	part.start = start;
	part.end = end;
	part.huge = part.shared = 0; /* of the whole only */
	add_region(&part, kind, p, s);
	r = &s->regions[s->n_regions - 1];
	r->rss = run_bytes(s, r, SNAPSHOT_RESIDENT);
	r->swap = run_bytes(s, r, SNAPSHOT_SWAPPED);
}

static int add_anonymous(const struct mapping *m, struct pages *p, struct snapshot *s)
{
	uint64_t at = m->start, start;
	size_t first = s->n_regions;
	struct glibc_heap_info heap;
	int r = 0;

	while (m->perms[1] == 'w' && p->n &&
	       (r = glibc_heap_next(&p->memory, at, m->end, &start, &heap)) > 0) {
		uint64_t end = start + heap.writable_bytes;

		add_part(m, at, start, SNAPSHOT_ANONYMOUS, p, s);
		at = end < m->end ? end : m->end;
		add_part(m, start, at, SNAPSHOT_ARENA, p, s);
	}
	if (r < 0)
		return r;
	if (at == m->start) {
		add_region(m, SNAPSHOT_ANONYMOUS, p, s);
		return 0;
	}
	add_part(m, at, m->end, SNAPSHOT_ANONYMOUS, p, s);
	s->regions[first].huge = m->huge;
	s->regions[first].shared = m->shared;
	return 0;
}

static int build(const struct hold *h, const struct mappings *maps, struct pages *p,
		 struct snapshot *s)
{
	int r = 0;

	for (size_t i = 0; i < maps->n && !r; i++) {
		const struct mapping *m = &maps->items[i];
		enum snapshot_kind kind = kind_of(h, m, s);
		bool has_pages = kind == SNAPSHOT_BRK || kind == SNAPSHOT_ANONYMOUS;

		s->rss_bytes += m->rss;
		s->swap_bytes += m->swap;
		if (has_pages)
			r = read_pages(p, m);
		if (!r && kind == SNAPSHOT_ANONYMOUS)
			r = add_anonymous(m, p, s);
		else if (!r)
			add_region(m, kind, has_pages ? p : NULL, s);
	}
	return r;
}

static int fail(pid_t pid, int error, struct err *err)
{
	if (error == -ETIME) {
		err_set(err, ERR_FAILED, 0,
			"cannot tell in %llu s what of the memory of process %d is resident",
			MEMORY_PAUSE_NS / 1000000000, (int)pid);
		err_hint(err, "it has reserved very much, and only Linux 6.7 and later passes over "
			      "that quickly");
		return error;
	}
	err_set(err, error == -EACCES || error == -EPERM ? ERR_PRIVILEGE : ERR_FAILED, -error,
		"cannot read what of the memory of process %d is resident", (int)pid);
	if (error == -EACCES || error == -EPERM)
		err_hint(err, "run heaptrail as root (sudo)");
	return error;
}

int memory_read(const struct hold *h, struct snapshot *ret, struct err *err)
{
	struct snapshot s = {0};
	struct mappings maps = {0};
	struct buffer text = {0};
	struct pages p = {0};
	pid_t pid = h->target->pid;
	char path[64];
	int r;

	process_memory_open(&p.memory, pid, clock_now_ns() + MEMORY_PAUSE_NS);
	r = p.memory.pages.fd < 0 ? p.memory.pages.fd : 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	if (!r)
		r = read_file(path, &text);
	if (!r) {
		parse_smaps((char *)text.data, &maps);
		r = build(h, &maps, &p, &s);
	}
	if (!r && !maps.n)
		r = -ESRCH;
	process_memory_close(&p.memory);
	free(p.runs);
	free(maps.items);
	buffer_release(&text);
	if (r) {
		snapshot_release(&s);
		return fail(pid, r, err);
	}
	*ret = s;
	return 0;
}
