/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GLIBC_MEMORY_H
#define COLLECTOR_GLIBC_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Another process's memory, read in large pieces.  What comes from there may be anything, also
 * where it looks like a pointer: an address that is not mapped is an error, never more.
 */
#define REMOTE_WINDOW_BYTES ((size_t)256 << 10)
#define REMOTE_WINDOW_MIN ((size_t)16 << 10)

struct remote {
	pid_t pid;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: then reads fail with -ETIME; 0: never */
	uint64_t bytes, calls; /* read so far */
	/* what was read last for remote_at() */
	uint8_t *window;
	uint64_t window_start;
	size_t window_bytes;
	size_t ahead; /* so much is read ahead: more each time, less where most is passed over */
};

void remote_init(struct remote *r, pid_t pid, uint64_t deadline_ns);
void remote_release(struct remote *r);
/* All of it, or a negative errno: -EFAULT where it is not mapped. */
int remote_read(struct remote *r, uint64_t address, void *to, size_t n_bytes);
/* As much of it as there is, from its beginning on; or a negative errno. */
ssize_t remote_read_some(struct remote *r, uint64_t address, void *to, size_t n_bytes);

int remote_fill(struct remote *r, uint64_t address, size_t n_bytes, uint64_t end);

/*
 * @n_bytes (at most REMOTE_WINDOW_MIN) at @address, valid until the next call; reads ahead, but
 * not beyond @end.  NULL where that is not to be had: @ret_error says why.
 */
static inline const void *remote_at(struct remote *r, uint64_t address, size_t n_bytes,
				    uint64_t end, int *ret_error)
{
	uint64_t offset = address - r->window_start;

	if (offset >= r->window_bytes || r->window_bytes - offset < n_bytes) {
		*ret_error = remote_fill(r, address, n_bytes, end);
		if (*ret_error)
			return NULL;
		offset = 0;
	}
	return r->window + offset;
}

/* Small pieces from many places by few calls. */
#define REMOTE_PIECES 512
/*
 * The piece of @piece_bytes at each address, into @to one after the other.  One that is not
 * mapped is zeroes.  A negative errno where nothing can be read at all.
 */
int remote_gather(struct remote *r, const uint64_t *addresses, size_t n, void *to,
		  size_t piece_bytes);

#endif
