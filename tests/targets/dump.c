/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests: the events of a recording as text, a line each, after a replay
 * that checks them: KIND CLASS THREAD SIZE OLD_SIZE T ADDRESS USABLE STACK.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "analyzer/replay.h"
#include "store/reader.h"

int main(int argc, char **argv)
{
	static const char *const kinds[] = {"alloc", "free", "realloc"};
	static struct event events[CHUNK_EVENTS_MAX];
	struct store_reader *reader;
	struct chunk_info info = {0};
	struct replay replay = {0};
	struct replay_step step;
	struct err err;
	int r;

	if (argc != 2 || store_reader_open(argv[1], &reader, &err)) {
		fprintf(stderr, "dump: %s\n", argc == 2 ? err.what : "which recording?");
		return 1;
	}
	while ((r = store_reader_next_chunk(reader, info.id, &info, events, &err)) == 1) {
		if (info.space.v != replay.space.v)
			replay_begin_space(&replay, info.space);
		for (uint32_t i = 0; i < info.events; i++) {
			const struct event *e = &events[i];

			if (replay_feed(&replay, e, &step, &err)) {
				fprintf(stderr, "dump: %s\n", err.what);
				return 1;
			}
			printf("%s %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIx64 " %" PRId64
			       " %u\n",
			       e->kind < 3 ? kinds[e->kind] : "?", e->free_class, e->thread.v,
			       step.made ? e->size : 0, step.ended ? step.old.size : 0, e->t_ns,
			       step.made ? e->address : step.ended ? step.old.address : e->address,
			       (int64_t)e->usable, e->stack.v);
		}
	}
	if (r < 0)
		fprintf(stderr, "dump: %s\n", err.what);
	replay_release(&replay);
	store_reader_close(reader);
	return r < 0;
}
