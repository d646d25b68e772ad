/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PAGE_MAP_H
#define COLLECTOR_PAGE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Which pages of another process are there: /proc/PID/pagemap.  What is reserved only is passed
 * over in no time where the kernel can (PAGEMAP_SCAN, Linux 6.7), else entry by entry, which takes
 * seconds for terabytes: hence the deadline.
 *
 * To read a page that is not there would make one, and what the process has resident would be
 * another thing than before.  So whoever reads its memory asks here first.
 */
#define PAGE_MAP_BYTES 4096ull

enum page_state {
	PAGE_RESIDENT,
	PAGE_SWAPPED,
	PAGE_ZERO,	/* the page of zeros that all processes share: read, never written */
	PAGE_MAY_BE_ZERO, /* that, or resident and shared with a child: the kernel does not say */
};

struct page_run {
	uint64_t start, end; /* addresses */
	enum page_state state;
};

struct page_map {
	int fd; /* or a negative errno: whatever is mapped may be there */
	bool can_scan;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
};

void page_map_open(struct page_map *p, pid_t pid, uint64_t deadline_ns);
void page_map_close(struct page_map *p);

/*
 * The runs of pages that are there, by address, of what lies between @from and @end: at most
 * @max of them, of which there are *@ret_n; beyond *@ret_end, which is behind @from, it was not
 * looked.  The first and the last may be cut off by these limits; neighbours may be alike.  Any
 * threads may call it.  Returns 0 or a negative errno: -ETIME: not before the deadline.
 */
int page_map_read(const struct page_map *p, uint64_t from, uint64_t end, struct page_run *runs,
		  size_t max, size_t *ret_n, uint64_t *ret_end);
/*
 * The first pages between @from and @end that may have anything in them but zeros, and what
 * follows that is alike.  Returns 1; 0: there are none; or a negative errno.
 */
int page_map_next(const struct page_map *p, uint64_t from, uint64_t end, uint64_t *ret_start,
		  uint64_t *ret_end);

#endif
