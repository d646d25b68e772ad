/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/process_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "common/clock.h"

#define IOVECS 512 /* the kernel takes 1024 */
#define RUNS 128
#define GATHERED 512

void process_memory_open(struct process_memory *m, pid_t pid, uint64_t deadline_ns)
{
	*m = (struct process_memory){.pid = pid, .deadline_ns = deadline_ns};
	page_map_open(&m->pages, pid, deadline_ns);
}

void process_memory_close(struct process_memory *m)
{
	page_map_close(&m->pages);
}

/* ---- ranges ----------------------------------------------------------------------------- */

/* Bytes that are there, to be read together: where they are, and where they go to. */
struct request {
	const struct process_memory *memory;
	struct iovec there[IOVECS], here[IOVECS];
	size_t n;
	/* what is known of pages: those between @from and @end that are there */
	struct page_run runs[RUNS];
	size_t n_runs, next;
	uint64_t from, end;
};

/*
 * Asks for all that is noted.  Where the kernel stops, the page is mapped but must not be read:
 * it becomes zeros.
 */
static int ask(struct request *q)
{
	size_t done = 0;

	while (done < q->n) {
		struct iovec *here = &q->here[done], *there = &q->there[done];
		ssize_t got = process_vm_readv(q->memory->pid, here, q->n - done, there,
					       q->n - done, 0);
		size_t skip;

		if (got < 0 && errno != EFAULT)
			return -errno;
		for (skip = got > 0 ? (size_t)got : 0; done < q->n && skip >= here->iov_len; done++)
			skip -= here++->iov_len;
		if (done == q->n)
			break;
		there = &q->there[done];
		if (!skip && got > 0)
			continue; /* it stopped between two of them */
		if (!skip) {
			skip = PAGE_MAP_BYTES - (uintptr_t)there->iov_base % PAGE_MAP_BYTES;
			skip = skip < here->iov_len ? skip : here->iov_len;
			memset(here->iov_base, 0, skip);
		}
		here->iov_base = (char *)here->iov_base + skip;
		there->iov_base = (char *)there->iov_base + skip;
		here->iov_len = there->iov_len -= skip;
		done += !here->iov_len;
	}
	q->n = 0;
	return 0;
}

static int note(struct request *q, uint64_t start, uint64_t end, char *to)
{
	struct iovec *last = q->n ? &q->there[q->n - 1] : NULL;

	if (last && (uintptr_t)last->iov_base + last->iov_len == start &&
	    (char *)q->here[q->n - 1].iov_base + last->iov_len == to) {
		last->iov_len += end - start;
		q->here[q->n - 1].iov_len += end - start;
		return 0;
	}
	if (q->n == IOVECS) {
		int r = ask(q);

		if (r)
			return r;
	}
	q->there[q->n] = (struct iovec){(void *)(uintptr_t)start, end - start};
	q->here[q->n++] = (struct iovec){to, end - start};
	return 0;
}

/* The next run that ends behind @at, if it begins before @end; @until: if it is known that far. */
static int next_run(struct request *q, uint64_t at, uint64_t end, uint64_t until,
		    struct page_run *ret)
{
	/* ranges need not rise */
	while (q->next && q->runs[q->next - 1].end > at)
		q->next--;
	while (at < end) {
		if (at < q->from || at >= q->end) {
			int r = page_map_read(&q->memory->pages, at, until, q->runs, RUNS,
					      &q->n_runs, &q->end);

			if (r)
				return r;
			q->from = at;
			q->next = 0;
		}
		while (q->next < q->n_runs && q->runs[q->next].end <= at)
			q->next++;
		if (q->next < q->n_runs) {
			*ret = q->runs[q->next];
			break;
		}
		at = q->end;
	}
	if (at >= end || ret->start >= end)
		*ret = (struct page_run){end, end, PAGE_ZERO};
	return 0;
}

/* @until: as far as ranges rise from here on. */
static int add_range(struct request *q, const struct pointers_range *r, uint64_t until, char *to)
{
	uint64_t at = r->start;
	int e = 0;

	while (at < r->end && !e) {
		struct page_run run;
		uint64_t start, end;

		e = next_run(q, at, r->end, until, &run);
		if (e)
			break;
		start = run.start > at ? run.start : at;
		end = run.end < r->end ? run.end : r->end;
		memset(to + (at - r->start), 0, start - at);
		if (run.state == PAGE_ZERO)
			memset(to + (start - r->start), 0, end - start);
		else
			e = note(q, start, end, to + (start - r->start));
		at = end > start ? end : start;
	}
	return e;
}

int process_memory_ranges(void *memory, const struct pointers_range *ranges, size_t n, void *to)
{
	struct request q;
	char *next = to;
	size_t rising = 0; /* the last of those that rise */
	int e = 0;

	q.memory = memory;
	q.n = q.n_runs = q.next = 0;
	q.from = q.end = 0;
	for (size_t i = 0; i < n && !e; i++) {
		if (rising < i)
			rising = i;
		while (rising + 1 < n && ranges[rising + 1].start >= ranges[rising].end)
			rising++;
		e = add_range(&q, &ranges[i], ranges[rising].end, next);
		next += ranges[i].end - ranges[i].start;
	}
	return e ? e : ask(&q);
}

bool process_memory_written(void *memory, const struct pointers_range *r,
			    struct pointers_range *ret)
{
	const struct process_memory *m = memory;
	int found = page_map_next(&m->pages, r->start, r->end, &ret->start, &ret->end);

	/* where that is not known, reading tells why */
	if (found < 0)
		*ret = *r;
	return found;
}

void process_memory_words(const struct process_memory *m, uint64_t address, size_t n,
			  uint64_t *ret)
{
	struct pointers_range r = {address, address + 8 * n};

	if (r.end < r.start || process_memory_ranges((void *)(uintptr_t)m, &r, 1, ret))
		memset(ret, 0, 8 * n);
}

void process_memory_constants(struct process_memory *m, uint64_t address, size_t n,
			      uint64_t *ret)
{
	struct iovec here = {ret, 8 * n}, there = {(void *)(uintptr_t)address, 8 * n};
	ssize_t got = process_vm_readv(m->pid, &here, 1, &there, 1, 0);

	if (got < (ssize_t)(8 * n))
		memset(ret, 0, 8 * n);
	m->calls++;
	m->bytes += got > 0 ? (uint64_t)got : 0;
}

/* ---- exactly what is there --------------------------------------------------------------- */

int process_memory_check_time(const struct process_memory *m)
{
	return m->deadline_ns && clock_now_ns() > m->deadline_ns ? -ETIME : 0;
}

/* Where what is there without a gap from @address on ends; at @limit, if not before. */
static int there_until(const struct process_memory *m, uint64_t address, uint64_t limit,
		       uint64_t *ret)
{
	struct page_run runs[RUNS];

	*ret = address;
	while (*ret < limit) {
		uint64_t looked;
		size_t n, i;
		int r = page_map_read(&m->pages, *ret, limit, runs, RUNS, &n, &looked);

		if (r)
			return r;
		for (i = 0; i < n && runs[i].start <= *ret; i++)
			*ret = runs[i].end;
		if (i < n || *ret < looked)
			break;
	}
	if (*ret > limit)
		*ret = limit;
	return 0;
}

ssize_t process_memory_read_some(struct process_memory *m, uint64_t address, void *to,
				 size_t n_bytes)
{
	struct iovec here, there;
	uint64_t end;
	ssize_t n;
	int r = address + n_bytes < address ? -EFAULT : process_memory_check_time(m);

	if (!r)
		r = there_until(m, address, address + n_bytes, &end);
	if (!r && n_bytes && end == address)
		r = -EFAULT;
	if (r)
		return r;
	here = (struct iovec){to, end - address};
	there = (struct iovec){(void *)(uintptr_t)address, end - address};
	n = process_vm_readv(m->pid, &here, 1, &there, 1, 0);
	m->calls++;
	if (n < 0)
		return -errno;
	m->bytes += (uint64_t)n;
	return n;
}

int process_memory_read(struct process_memory *m, uint64_t address, void *to, size_t n_bytes)
{
	ssize_t n = process_memory_read_some(m, address, to, n_bytes);

	if (n < 0)
		return (int)n;
	return (size_t)n == n_bytes ? 0 : -EFAULT;
}

int process_memory_gather(struct process_memory *m, const uint64_t *addresses, size_t n, void *to,
			  size_t piece_bytes)
{
	struct pointers_range ranges[GATHERED];

	for (size_t i = 0; i < n; i += GATHERED) {
		size_t some = n - i < GATHERED ? n - i : GATHERED;
		int e = process_memory_check_time(m);

		for (size_t k = 0; k < some; k++) {
			uint64_t at = addresses[i + k];

			if (at + piece_bytes < at) /* nothing is there */
				at = 0;
			ranges[k] = (struct pointers_range){at, at + piece_bytes};
		}
		if (!e)
			e = process_memory_ranges(m, ranges, some,
						  (char *)to + i * piece_bytes);
		if (e)
			return e;
		m->calls++;
		m->bytes += some * piece_bytes;
	}
	return 0;
}
