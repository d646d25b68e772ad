/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/glibc_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "common/clock.h"
#include "common/xalloc.h"

/* To pass over less than that costs more than to read it. */
#define FAR_BYTES ((uint64_t)8 << 10)

void remote_init(struct remote *r, pid_t pid, uint64_t deadline_ns)
{
	*r = (struct remote){.pid = pid, .deadline_ns = deadline_ns,
			     .ahead = REMOTE_WINDOW_MIN};
	r->window = xmalloc(REMOTE_WINDOW_BYTES);
}

void remote_release(struct remote *r)
{
	free(r->window);
	*r = (struct remote){0};
}

static int check_time(const struct remote *r)
{
	return r->deadline_ns && clock_now_ns() > r->deadline_ns ? -ETIME : 0;
}

ssize_t remote_read_some(struct remote *r, uint64_t address, void *to, size_t n_bytes)
{
	struct iovec here = {to, n_bytes}, there = {(void *)(uintptr_t)address, n_bytes};
	int late = check_time(r);
	ssize_t n;

	if (late)
		return late;
	if (address + n_bytes < address)
		return -EFAULT;
	n = process_vm_readv(r->pid, &here, 1, &there, 1, 0);
	r->calls++;
	if (n < 0)
		return -errno;
	r->bytes += (uint64_t)n;
	return n;
}

int remote_read(struct remote *r, uint64_t address, void *to, size_t n_bytes)
{
	ssize_t n = remote_read_some(r, address, to, n_bytes);

	if (n < 0)
		return (int)n;
	return (size_t)n == n_bytes ? 0 : -EFAULT;
}

int remote_fill(struct remote *r, uint64_t address, size_t n_bytes, uint64_t end)
{
	uint64_t before = r->window_start + r->window_bytes;
	uint64_t passed = address > before ? address - before : 0;
	size_t want;
	ssize_t n;

	/* it may begin before the end of what was read */
	if (passed < FAR_BYTES)
		r->ahead = r->ahead < REMOTE_WINDOW_BYTES ? r->ahead * 2 : REMOTE_WINDOW_BYTES;
	else
		r->ahead = REMOTE_WINDOW_MIN;
	want = r->ahead;
	r->window_bytes = 0;
	if (address >= end || end - address < n_bytes || n_bytes > want)
		return -EFAULT;
	if (end - address < want)
		want = (size_t)(end - address);
	n = remote_read_some(r, address, r->window, want);
	if (n < 0)
		return (int)n;
	r->window_start = address;
	r->window_bytes = (size_t)n;
	return (size_t)n < n_bytes ? -EFAULT : 0;
}

/* At most REMOTE_PIECES.  A read ends before the first piece that is not mapped. */
static int gather_some(struct remote *r, const uint64_t *addresses, size_t n, uint8_t *to,
		       size_t piece_bytes)
{
	struct iovec there[REMOTE_PIECES];
	size_t done = 0;

	for (size_t i = 0; i < n; i++)
		there[i] = (struct iovec){(void *)(uintptr_t)addresses[i], piece_bytes};
	while (done < n) {
		struct iovec here = {to + done * piece_bytes, (n - done) * piece_bytes};
		ssize_t got;
		int late = check_time(r);

		if (late)
			return late;
		got = process_vm_readv(r->pid, &here, 1, there + done, n - done, 0);
		r->calls++;
		if (got < 0 && errno != EFAULT)
			return -errno;
		if (got < 0)
			got = 0;
		r->bytes += (uint64_t)got;
		done += (size_t)got / piece_bytes;
		if (done < n) {
			memset(to + done * piece_bytes, 0, piece_bytes);
			done++;
		}
	}
	return 0;
}

int remote_gather(struct remote *r, const uint64_t *addresses, size_t n, void *to,
		  size_t piece_bytes)
{
	for (size_t i = 0; i < n; i += REMOTE_PIECES) {
		size_t some = n - i < REMOTE_PIECES ? n - i : REMOTE_PIECES;
		int e = gather_some(r, addresses + i, some, (uint8_t *)to + i * piece_bytes,
				    piece_bytes);

		if (e)
			return e;
	}
	return 0;
}
