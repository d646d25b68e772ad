/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/page_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"

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
#define SCAN_REGIONS 256u

/* pagemap(5) */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_EXCLUSIVE (1ull << 56)
#define ENTRIES 1024u

/* Programs' own memory ends there, also where more would be possible: nobody asked for it. */
#define USER_END ((1ull << 47) - PAGE_MAP_BYTES)

void page_map_open(struct page_map *p, pid_t pid, uint64_t deadline_ns)
{
	struct scan nothing = {.size = sizeof(nothing), .category_anyof_mask = SCAN_PRESENT,
			       .return_mask = SCAN_PRESENT};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	*p = (struct page_map){.deadline_ns = deadline_ns};
	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0)
		p->fd = -errno;
	p->can_scan = p->fd >= 0 && ioctl(p->fd, SCAN_PAGES, &nothing) >= 0;
}

void page_map_close(struct page_map *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static enum page_state state_of_categories(uint64_t categories)
{
	return categories & SCAN_ZERO	   ? PAGE_ZERO
	       : categories & SCAN_SWAPPED ? PAGE_SWAPPED
					   : PAGE_RESIDENT;
}

static int scan(const struct page_map *p, uint64_t from, uint64_t end, struct page_run *runs,
		size_t max, size_t *ret_n, uint64_t *ret_end)
{
	struct scan_region regions[SCAN_REGIONS];
	struct scan a = {.size = sizeof(a), .start = from, .end = end,
			 .vec = (uintptr_t)regions,
			 .vec_len = max < SCAN_REGIONS ? max : SCAN_REGIONS,
			 .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
			 .return_mask = SCAN_PRESENT | SCAN_SWAPPED | SCAN_ZERO};
	int n = ioctl(p->fd, SCAN_PAGES, &a);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		runs[i] = (struct page_run){regions[i].start, regions[i].end,
					    state_of_categories(regions[i].categories)};
	*ret_n = (size_t)n;
	*ret_end = a.walk_end;
	/* seen on 6.18: regions may reach further than walk_end says */
	if (n && runs[n - 1].end > *ret_end)
		*ret_end = runs[n - 1].end;
	return *ret_end > from ? 0 : -EIO;
}

static enum page_state state_of_entry(uint64_t entry)
{
	if (entry & ENTRY_SWAPPED)
		return PAGE_SWAPPED;
	/* pages that only this process has are marked, but the one of zeros is none of those */
	return entry & (ENTRY_FILE | ENTRY_EXCLUSIVE) ? PAGE_RESIDENT : PAGE_MAY_BE_ZERO;
}

static int read_entries(const struct page_map *p, uint64_t from, uint64_t end,
			struct page_run *runs, size_t max, size_t *ret_n, uint64_t *ret_end)
{
	uint64_t entries[ENTRIES], at = from, pages = (end - from) / PAGE_MAP_BYTES;
	ssize_t got = pread(p->fd, entries, (pages < ENTRIES ? pages : ENTRIES) * 8,
			    (off_t)(at / PAGE_MAP_BYTES * 8));
	size_t n = 0;

	if (got < 8)
		return got < 0 ? -errno : -ESRCH;
	for (size_t i = 0; i < (size_t)got / 8; i++, at += PAGE_MAP_BYTES) {
		enum page_state state = state_of_entry(entries[i]);

		if (!(entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)))
			continue;
		if (n && runs[n - 1].end == at && runs[n - 1].state == state) {
			runs[n - 1].end += PAGE_MAP_BYTES;
			continue;
		}
		if (n == max)
			break;
		runs[n++] = (struct page_run){at, at + PAGE_MAP_BYTES, state};
	}
	*ret_n = n;
	*ret_end = at;
	return 0;
}

int page_map_read(const struct page_map *p, uint64_t from, uint64_t end, struct page_run *runs,
		  size_t max, size_t *ret_n, uint64_t *ret_end)
{
	*ret_n = 0;
	if (end > USER_END) { /* to ask for what lies beyond would be an error */
		if (from >= USER_END) {
			*ret_end = end;
			return 0;
		}
		end = USER_END;
	}
	*ret_end = end;
	if (from >= end)
		return 0;
	if (p->deadline_ns && clock_now_ns() > p->deadline_ns)
		return -ETIME;
	if (p->fd < 0) {
		runs[(*ret_n)++] = (struct page_run){from, end, PAGE_RESIDENT};
		return 0;
	}
	end = (end + PAGE_MAP_BYTES - 1) & ~(PAGE_MAP_BYTES - 1);
	return (p->can_scan ? scan : read_entries)(p, from & ~(PAGE_MAP_BYTES - 1), end, runs, max,
						   ret_n, ret_end);
}

int page_map_next(const struct page_map *p, uint64_t from, uint64_t end, uint64_t *ret_start,
		  uint64_t *ret_end)
{
	struct page_run run;

	while (from < end) {
		uint64_t next;
		size_t n;
		int r = page_map_read(p, from, end, &run, 1, &n, &next);

		if (r)
			return r;
		if (n && run.state != PAGE_ZERO) {
			*ret_start = run.start > from ? run.start : from;
			*ret_end = run.end < end ? run.end : end;
			return 1;
		}
		from = next;
	}
	return 0;
}
