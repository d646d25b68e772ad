/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests: the events of a recording as text, a line each, after a replay
 * that checks them: KIND CLASS THREAD SIZE OLD_SIZE T ADDRESS USABLE STACK.
 * With --long also OLD_ADDRESS FAMILY SLOT, the latter -1 where there is no block.
 * With --sizes, how many blocks of each size were allocated from each stack:
 * SIZE STACK BLOCKS (sizes below 4 GiB).
 * With --live the blocks that are live at the end: ADDRESS SIZE FAMILY STACK THREAD T.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/checkpoint.h"
#include "common/hash.h"
#include "common/xalloc.h"
#include "store/layers.h"
#include "store/reader.h"
#include "store/replay.h"

static struct count {
	uint64_t size;
	uint32_t stack;
	uint64_t blocks;
} *counts;
static size_t n_counts, cap_counts;
static struct hashmap by_stack_and_size;

static void count(const struct event *e)
{
	uint32_t *at;

	if (!event_allocates(e))
		return;
	at = hashmap_put(&by_stack_and_size, (uint64_t)e->stack.v << 32 | (uint32_t)e->size);
	if (*at == HASHMAP_NONE) {
		*at = (uint32_t)n_counts;
		ARRAY_GROW(counts, cap_counts, n_counts);
		counts[n_counts++] = (struct count){.size = e->size, .stack = e->stack.v};
	}
	counts[*at].blocks++;
}

static void print(const struct event *e, const struct replay_step *step, bool is_long)
{
	static const char *const kinds[] = {"alloc", "free", "realloc", "in-pool", "?",
					   "?", "piece"};

	printf("%s %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIx64 " %" PRId64 " %u",
	       e->kind <= EVENT_PIECE ? kinds[e->kind] : "?", e->free_class, e->thread.v,
	       step->made ? e->size : 0, step->ended ? step->old.size : 0, e->t_ns,
	       step->made ? e->address : step->ended ? step->old.address : e->address,
	       (int64_t)e->usable, e->stack.v);
	if (is_long)
		printf(" %" PRIx64 " %u %" PRId64, step->ended ? step->old.address : 0, e->family,
		       step->made || step->ended ? (int64_t)step->slot : -1);
	putchar('\n');
}

static void print_live(const struct replay *r)
{
	struct replay_block b;

	for (size_t at = 0; replay_next_live(r, &at, &b);)
		printf("%" PRIx64 " %" PRIu64 " %u %u %u %" PRIu64 "\n", b.address, b.size, b.family,
		       b.stack.v, b.thread.v, b.t_ns);
}

/* Where the oldest events were dropped: from the checkpoint on that is left of them. */
static void begin(struct store_reader *reader, struct replay *replay, struct chunk_info *info)
{
	struct dropped_events dropped = store_reader_dropped(reader);
	struct buffer b = {0};
	struct err err;

	if (dropped.events &&
	    (store_reader_checkpoint(reader, CHECKPOINT_HEAP, dropped.chunks, &b, &err) != 1 ||
	     !checkpoint_restore_heap(replay, UINT64_MAX, b.data, b.len))) {
		fprintf(stderr, "dump: the state behind what was dropped is missing\n");
		exit(1);
	}
	info->id = dropped.chunks;
	buffer_release(&b);
}

int main(int argc, char **argv)
{
	bool sizes = argc == 3 && !strcmp(argv[1], "--sizes");
	bool is_long = argc == 3 && !strcmp(argv[1], "--long");
	bool is_live = argc == 3 && !strcmp(argv[1], "--live"), has_option = sizes || is_long || is_live;
	static struct event events[CHUNK_EVENTS_MAX];
	struct store_reader *reader;
	struct chunk_info info = {0};
	struct replay replay = {0};
	struct layers layers;
	struct replay_step step;
	struct err err;
	int r;

	if (argc != 2 + has_option || store_reader_open(argv[argc - 1], &reader, &err)) {
		fprintf(stderr, "dump: %s\n", argc == 2 + has_option ? err.what : "which recording?");
		return 1;
	}
	layers_read(&layers, reader);
	replay.layers = layers.replay;
	begin(reader, &replay, &info);
	while ((r = store_reader_next_chunk(reader, info.id, &info, events, &err)) == 1) {
		if (info.space.v != replay.space.v)
			replay_begin_space(&replay, info.space);
		for (uint32_t i = 0; i < info.events; i++) {
			if (replay_feed(&replay, &events[i], &step, &err)) {
				fprintf(stderr, "dump: %s\n", err.what);
				return 1;
			}
			if (sizes)
				count(&events[i]);
			else if (!is_live)
				print(&events[i], &step, is_long);
		}
	}
	if (r < 0)
		fprintf(stderr, "dump: %s\n", err.what);
	if (is_live)
		print_live(&replay);
	for (size_t i = 0; i < n_counts; i++)
		printf("%" PRIu64 " %u %" PRIu64 "\n", counts[i].size, counts[i].stack,
		       counts[i].blocks);
	replay_release(&replay);
	store_reader_close(reader);
	return r < 0;
}
