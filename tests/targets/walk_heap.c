/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests: walk_heap PID [--blind | --time], the heap of a process that uses glibc's
 * malloc, held for that, as text:
 *   arena INDEX ADDRESS main|thread SYSTEM_BYTES TOP_BYTES REASON...
 *   part ARENA START END
 *   chunk ADDRESS SIZE ARENA STATE
 *   mmapped BLOCKS BYTES REASON...
 * --blind: without the threads' registers.  --time: no chunks, but how long it took to walk, and
 * to read the same memory once.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/glibc_heap.h"
#include "collector/glibc_threads.h"
#include "collector/hold.h"
#include "collector/memory_window.h"
#include "common/clock.h"
#include "common/xalloc.h"

static const char *const states[] = {"in-use", "free", "cached", "top", "mmapped", "own"};

static void print(const struct glibc_heap *h, bool chunks)
{
	for (size_t i = 0; i < h->n_arenas; i++) {
		const struct glibc_arena *a = &h->arenas[i];

		printf("arena %zu %" PRIx64 " %s %" PRIu64 " %" PRIu64 " %s\n", i, a->address,
		       a->is_main ? "main" : "thread", a->system_bytes, a->top_bytes,
		       a->left_out ? a->left_out : "");
	}
	for (size_t i = 0; i < h->n_parts; i++)
		printf("part %" PRIu32 " %" PRIx64 " %" PRIx64 "\n", h->parts[i].arena,
		       h->parts[i].start, h->parts[i].end);
	for (size_t i = 0; chunks && i < h->n_chunks; i++)
		printf("chunk %" PRIx64 " %" PRIu64 " %d %s\n", h->chunks[i].address,
		       h->chunks[i].size, (int)h->chunks[i].arena, states[h->chunks[i].state]);
	printf("mmapped %" PRIu64 " %" PRIu64 " %s\n", h->mmapped_blocks, h->mmapped_bytes,
	       h->mmapped_left_out ? h->mmapped_left_out : "");
	printf("caches %zu\n", h->n_caches);
}

/* The same memory, once, in as large pieces. */
static uint64_t time_reading(pid_t pid, const struct glibc_heap *h)
{
	static char piece[MEMORY_WINDOW_BYTES];
	uint64_t start = clock_now_ns();
	struct process_memory m;

	process_memory_open(&m, pid, 0);
	for (size_t i = 0; i < h->n_parts; i++)
		for (uint64_t at = h->parts[i].start; at < h->parts[i].end;) {
			uint64_t n = h->parts[i].end - at;

			if (n > sizeof(piece))
				n = sizeof(piece);
			if (process_memory_read_some(&m, at, piece, n) <= 0)
				break;
			at += n;
		}
	process_memory_close(&m);
	return clock_now_ns() - start;
}

int main(int argc, char **argv)
{
	bool blind = argc > 2 && !strcmp(argv[2], "--blind");
	bool timed = argc > 2 && !strcmp(argv[2], "--time");
	struct target target = {0};
	struct glibc_thread *threads = NULL;
	struct glibc_walk *walk = NULL;
	struct glibc_heap heap;
	struct process_maps maps;
	struct hold hold;
	struct err err;
	uint64_t start, read_ns, walk_ns, once_ns = 0;
	size_t n = 0;
	int r;

	if (argc < 2)
		return 2;
	r = target_attach(&target, (pid_t)strtol(argv[1], NULL, 10), &err);
	if (!r)
		r = hold_start(&target, 1000000000, &hold, &err);
	if (r) {
		fprintf(stderr, "walk_heap: %s\n", err.what);
		return 1;
	}
	start = clock_now_ns();
	r = process_maps_read(target.pid, &maps, &err);
	if (!r && !blind)
		threads = glibc_threads(&hold, &n);
	if (!r)
		r = glibc_walk_read(target.pid, &maps, threads, n, 0, &walk, &err);
	read_ns = clock_now_ns() - start;
	hold_end(&hold);
	if (r) {
		fprintf(stderr, "walk_heap: %s\n", err.what);
		return 1;
	}
	start = clock_now_ns();
	glibc_walk_finish(walk, &heap);
	walk_ns = clock_now_ns() - start;
	print(&heap, !timed);
	if (timed) {
		once_ns = time_reading(target.pid, &heap);
		printf("chunks %zu read_ns %" PRIu64 " finish_ns %" PRIu64 " once_ns %" PRIu64
		       " bytes %" PRIu64 " reads %" PRIu64 "\n",
		       heap.n_chunks, read_ns, walk_ns, once_ns, heap.bytes_read, heap.reads);
	}
	glibc_heap_release(&heap);
	process_maps_release(&maps);
	free(threads);
	return 0;
}
