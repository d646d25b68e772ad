/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/process_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE_BYTES 4096ull
#define RANGES_MAX 1024 /* UIO_MAXIOV */
/* Of a page in /proc/PID/pagemap: it has memory, or is swapped. */
#define PAGE_IS_THERE (3ull << 62)
#define ENTRIES 512

void process_memory_open(struct process_memory *m, pid_t pid, const struct process_maps *maps)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	*m = (struct process_memory){.pid = pid, .maps = maps};
	m->pagemap = open(path, O_RDONLY | O_CLOEXEC);
}

void process_memory_close(struct process_memory *m)
{
	if (m->pagemap >= 0)
		close(m->pagemap);
	m->pagemap = -1;
}

/* ---- reading -------------------------------------------------------------------------- */

/* Where reading goes on: in the range @i, @at bytes behind its beginning. */
struct place {
	size_t i;
	uint64_t at;
};

static void advance(struct place *p, const struct pointers_range *ranges, size_t n, uint64_t bytes)
{
	p->at += bytes;
	while (p->i < n && p->at >= ranges[p->i].end - ranges[p->i].start) {
		p->at -= ranges[p->i].end - ranges[p->i].start;
		p->i++;
	}
}

static ssize_t read_from(const struct process_memory *m, const struct pointers_range *ranges,
			 size_t n, const struct place *p, void *to)
{
	struct iovec remote[RANGES_MAX], local = {.iov_base = to};
	size_t n_remote = 0;

	for (size_t i = p->i; i < n && n_remote < RANGES_MAX; i++) {
		uint64_t skip = i == p->i ? p->at : 0;

		remote[n_remote++] = (struct iovec){
			(void *)(uintptr_t)(ranges[i].start + skip),
			ranges[i].end - ranges[i].start - skip};
		local.iov_len += remote[n_remote - 1].iov_len;
	}
	return process_vm_readv(m->pid, &local, 1, remote, n_remote, 0);
}

/* What is left of the page where reading stopped, and of its range. */
static uint64_t rest_of_page(const struct pointers_range *ranges, const struct place *p)
{
	uint64_t address = ranges[p->i].start + p->at, left = ranges[p->i].end - address;
	uint64_t page = PAGE_BYTES - address % PAGE_BYTES;

	return page < left ? page : left;
}

int process_memory_read(void *memory, const struct pointers_range *ranges, size_t n, void *to)
{
	const struct process_memory *m = memory;
	struct place p = {0, 0};
	char *next = to;

	advance(&p, ranges, n, 0);
	while (p.i < n) {
		ssize_t r = read_from(m, ranges, n, &p, next);
		uint64_t bytes;

		if (r < 0 && errno != EFAULT)
			return -errno;
		bytes = r > 0 ? (uint64_t)r : rest_of_page(ranges, &p);
		if (r <= 0) { /* the page is not there, or one behind it: ask for it alone */
			uint64_t start = ranges[p.i].start + p.at;
			struct pointers_range page = {start, start + bytes};

			if (read_from(m, &page, 1, &(struct place){0, 0}, next) != (ssize_t)bytes)
				memset(next, 0, bytes);
		}
		next += bytes;
		advance(&p, ranges, n, bytes);
	}
	return 0;
}

void process_memory_words(struct process_memory *m, uint64_t address, size_t n, uint64_t *ret)
{
	struct pointers_range r = {address, address + 8 * n};

	if (process_memory_read(m, &r, 1, ret))
		memset(ret, 0, 8 * n);
}

/* ---- pages that were written to -------------------------------------------------------- */

/* Pages from @page on until @end, of which the entries are read: how many. */
static size_t read_entries(const struct process_memory *m, uint64_t page, uint64_t end,
			   uint64_t entries[ENTRIES])
{
	size_t wanted = end - page < ENTRIES ? (size_t)(end - page) : ENTRIES;
	ssize_t r = pread(m->pagemap, entries, wanted * 8, (off_t)(page * 8));

	return r < 8 ? 0 : (size_t)r / 8;
}

bool process_memory_written(void *memory, const struct pointers_range *r,
			    struct pointers_range *ret)
{
	const struct process_memory *m = memory;
	const struct process_map *map = process_maps_find(m->maps, r->start);
	uint64_t page = r->start / PAGE_BYTES, end = (r->end + PAGE_BYTES - 1) / PAGE_BYTES;
	uint64_t entries[ENTRIES], first = end;
	bool is_over = false;

	*ret = *r;
	/* pages of shared memory that were written to need not be in the table */
	if (m->pagemap < 0 || !map || map->is_shared)
		return true;
	while (page < end && !is_over) {
		size_t n = read_entries(m, page, end, entries);

		if (!n)
			return true; /* not known */
		for (size_t i = 0; i < n && !is_over; i++) {
			bool is_there = entries[i] & PAGE_IS_THERE;

			if (is_there && first == end)
				first = page;
			is_over = !is_there && first != end;
			page += !is_over;
		}
	}
	if (first == end)
		return false;
	if (first * PAGE_BYTES > r->start)
		ret->start = first * PAGE_BYTES;
	if (page * PAGE_BYTES < r->end)
		ret->end = page * PAGE_BYTES;
	return true;
}
