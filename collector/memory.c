/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/xalloc.h"

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

/* As in <linux/fs.h> since Linux 6.7. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_PAGES _IOWR('f', 16, struct scan)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_ZERO (1u << 5)
#define SCAN_REGIONS 4096

struct pages {
	int fd; /* pagemap */
	bool cannot_scan;
	struct scan_region *regions;
	uint64_t *entries;
};

/* 0; -ENOTTY where the kernel cannot; another negative errno. */
static int scan_pages(struct pages *p, uint64_t from, uint64_t end, struct snapshot *s)
{
	uint64_t at = from;

	while (from < end) {
		struct scan a = {.size = sizeof(a), .start = from, .end = end,
				 .vec = (uintptr_t)p->regions, .vec_len = SCAN_REGIONS,
				 .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
				 .return_mask = SCAN_PRESENT | SCAN_SWAPPED | SCAN_ZERO};
		int n = ioctl(p->fd, SCAN_PAGES, &a);

		if (n < 0)
			return errno == EINVAL ? -ENOTTY : -errno;
		for (int i = 0; i < n; i++) {
			const struct scan_region *r = &p->regions[i];

			snapshot_add_pages(s, (r->start - at) / SNAPSHOT_PAGE_BYTES,
					   SNAPSHOT_ABSENT);
			snapshot_add_pages(s, (r->end - r->start) / SNAPSHOT_PAGE_BYTES,
					   r->categories & SCAN_ZERO	  ? SNAPSHOT_ZERO
					   : r->categories & SCAN_SWAPPED ? SNAPSHOT_SWAPPED
									  : SNAPSHOT_RESIDENT);
			at = r->end;
		}
		/* seen on 6.18: regions may reach further than walk_end says */
		if (a.walk_end <= from)
			return -EIO;
		from = a.walk_end > at ? a.walk_end : at;
	}
	snapshot_add_pages(s, (end - at) / SNAPSHOT_PAGE_BYTES, SNAPSHOT_ABSENT);
	return 0;
}

#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_EXCLUSIVE (1ull << 56)
#define ENTRIES 65536

static bool may_be_zero(uint64_t entry)
{
	return (entry & ENTRY_PRESENT) && !(entry & (ENTRY_FILE | ENTRY_EXCLUSIVE));
}

/*
 * By pagemap(5)'s entries.  Pages that only this process has are marked; others are shared
 * with a child, or the zero page, which smaps does not count: where it counts none of
 * them, that is what they are.  Of some of both it cannot be told which is which.
 */
static int read_pages(struct pages *p, const struct mapping *m, struct snapshot *s)
{
	uint64_t pages = (m->end - m->start) / SNAPSHOT_PAGE_BYTES, present = 0, unsure = 0;
	bool are_zero = false;

	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t at = 0; at < pages;) {
			uint64_t n = pages - at < ENTRIES ? pages - at : ENTRIES;
			off_t from = (off_t)((m->start / SNAPSHOT_PAGE_BYTES + at) * 8);
			ssize_t got = pread(p->fd, p->entries, n * 8, from);

			if (got <= 0)
				return got ? -errno : -ESRCH;
			n = (uint64_t)got / 8;
			for (uint64_t i = 0; i < n; i++) {
				uint64_t e = p->entries[i];

				if (!pass) {
					present += (e & ENTRY_PRESENT) != 0;
					unsure += may_be_zero(e);
					continue;
				}
				snapshot_add_pages(s, 1,
						   e & ENTRY_SWAPPED	? SNAPSHOT_SWAPPED
						   : !(e & ENTRY_PRESENT) ? SNAPSHOT_ABSENT
						   : are_zero && may_be_zero(e)
							   ? SNAPSHOT_ZERO
							   : SNAPSHOT_RESIDENT);
			}
			at += n;
		}
		are_zero = unsure && present - unsure == m->rss / SNAPSHOT_PAGE_BYTES;
	}
	return 0;
}

static int look_at_pages(struct pages *p, const struct mapping *m, struct snapshot *s)
{
	int r = p->cannot_scan ? -ENOTTY : scan_pages(p, m->start, m->end, s);

	if (r != -ENOTTY)
		return r;
	p->cannot_scan = true;
	if (!p->entries)
		p->entries = xmalloc(ENTRIES * sizeof(*p->entries));
	return read_pages(p, m, s);
}

/* ---- arenas of glibc --------------------------------------------------------------- */

/* Of arenas but the first (malloc/arena.c, HEAP_MAX_SIZE); so they are aligned, too. */
#define ARENA_BYTES (64ull << 20)

/* Does one begin there?  @ret_end: so far it may be written to. */
static bool is_arena(pid_t pid, uint64_t at, const struct mapping *m, uint64_t *ret_end)
{
	struct {
		uint64_t arena, prev, size, mprotect_size;
	} head;
	struct iovec to = {&head, sizeof(head)}, from = {(void *)(uintptr_t)at, sizeof(head)};

	if (at + sizeof(head) > m->end ||
	    process_vm_readv(pid, &to, 1, &from, 1, 0) != (ssize_t)sizeof(head))
		return false;
	if (!head.size || head.size % SNAPSHOT_PAGE_BYTES || head.size > head.mprotect_size ||
	    head.mprotect_size > ARENA_BYTES || head.mprotect_size % SNAPSHOT_PAGE_BYTES ||
	    at + head.size > m->end)
		return false;
	/* the first heap of an arena has it behind this very record; later ones name the first */
	if (head.prev ? head.prev % ARENA_BYTES || head.arena / ARENA_BYTES == at / ARENA_BYTES
		      : head.arena < at + sizeof(head) || head.arena > at + 128)
		return false;
	*ret_end = at + head.mprotect_size < m->end ? at + head.mprotect_size : m->end;
	return true;
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

static int add_region(const struct mapping *m, enum snapshot_kind kind, struct pages *p,
		      struct snapshot *s)
{
	struct snapshot_region r = {.start = m->start, .end = m->end, .kind = kind, .rss = m->rss,
				    .swap = m->swap, .huge = m->huge, .shared = m->shared};
	const char *name = m->name;

	if (kind == SNAPSHOT_DATA && !name[0])
		name = s->regions[s->n_regions - 1].name;
	snapshot_add_region(s, &r, name);
	if (kind != SNAPSHOT_BRK && kind != SNAPSHOT_ARENA && kind != SNAPSHOT_ANONYMOUS)
		return 0;
	if (!m->rss && !m->swap) { /* reserved, which may be terabytes */
		snapshot_add_pages(s, (m->end - m->start) / SNAPSHOT_PAGE_BYTES, SNAPSHOT_ABSENT);
		return 0;
	}
	return look_at_pages(p, m, s);
}

/* A part of @m, which is cut where arenas begin and end. */
static int add_part(const struct mapping *m, uint64_t start, uint64_t end,
		    enum snapshot_kind kind, struct pages *p, struct snapshot *s)
{
	struct mapping part = *m;
	struct snapshot_region *r;
	int e;

	if (start == end)
		return 0;
	part.start = start;
	part.end = end;
	part.huge = part.shared = 0; /* of the whole only */
	e = add_region(&part, kind, p, s);
	r = &s->regions[s->n_regions - 1];
	r->rss = run_bytes(s, r, SNAPSHOT_RESIDENT);
	r->swap = run_bytes(s, r, SNAPSHOT_SWAPPED);
	return e;
}

static int add_anonymous(const struct hold *h, const struct mapping *m, struct pages *p,
			 struct snapshot *s)
{
	uint64_t at = m->start, arena = (m->start + ARENA_BYTES - 1) / ARENA_BYTES * ARENA_BYTES;
	size_t first = s->n_regions;
	int r = 0;

	for (uint64_t end; !r && m->perms[1] == 'w' && m->rss + m->swap && arena < m->end;
	     arena += ARENA_BYTES) {
		if (!is_arena(h->target->pid, arena, m, &end))
			continue;
		r = add_part(m, at, arena, SNAPSHOT_ANONYMOUS, p, s);
		if (!r)
			r = add_part(m, arena, end, SNAPSHOT_ARENA, p, s);
		at = end;
	}
	if (!r && at == m->start)
		return add_region(m, SNAPSHOT_ANONYMOUS, p, s);
	if (!r)
		r = add_part(m, at, m->end, SNAPSHOT_ANONYMOUS, p, s);
	if (!r) {
		s->regions[first].huge = m->huge;
		s->regions[first].shared = m->shared;
	}
	return r;
}

static int build(const struct hold *h, const struct mappings *maps, struct pages *p,
		 struct snapshot *s)
{
	int r = 0;

	for (size_t i = 0; i < maps->n && !r; i++) {
		const struct mapping *m = &maps->items[i];
		enum snapshot_kind kind = kind_of(h, m, s);

		s->rss_bytes += m->rss;
		s->swap_bytes += m->swap;
		r = kind == SNAPSHOT_ANONYMOUS ? add_anonymous(h, m, p, s)
					       : add_region(m, kind, p, s);
	}
	return r;
}

int memory_read(const struct hold *h, struct snapshot *ret, struct err *err)
{
	struct snapshot s = {0};
	struct mappings maps = {0};
	struct buffer text = {0};
	struct pages p = {.regions = xmalloc(SCAN_REGIONS * sizeof(*p.regions))};
	pid_t pid = h->target->pid;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	p.fd = open(path, O_RDONLY | O_CLOEXEC);
	r = p.fd < 0 ? -errno : 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	if (!r)
		r = read_file(path, &text);
	if (!r) {
		parse_smaps((char *)text.data, &maps);
		r = build(h, &maps, &p, &s);
	}
	if (!r && !maps.n)
		r = -ESRCH;
	if (p.fd >= 0)
		close(p.fd);
	free(p.regions);
	free(p.entries);
	free(maps.items);
	buffer_release(&text);
	if (!r) {
		*ret = s;
		return 0;
	}
	snapshot_release(&s);
	err_set(err, r == -EACCES || r == -EPERM ? ERR_PRIVILEGE : ERR_FAILED, -r,
		"cannot read what of the memory of process %d is resident", (int)pid);
	if (r == -EACCES || r == -EPERM)
		err_hint(err, "run heaptrail as root (sudo)");
	return r;
}
