/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Long streams of random events: of a process that loses none, and of none that could be. */
#include "config.h"
#include "collector/drain.h"

#include <string.h>

#include "tests/unit/drain_fixture.h"
#include "tests/unit/tap.h"

enum { ADDRESSES = 300, OLD_BLOCKS = 40, THREADS = 6 };

/* What the allocator of a made-up process does: it never loses anything. */
static struct {
	enum { UNUSED, OURS, OLD, RESERVED } state[ADDRESSES]; /* OLD: from before the recording */
	uint64_t size[ADDRESSES];
	struct {
		bool under_way, was_old;
		int from, to;	/* to -1: it fails; -2: it frees */
		uint64_t old_size, new_size;
	} calls[THREADS];
	uint64_t allocs, frees, unknown;
} world;

static uint64_t address_of(int i)
{
	return 0x7f0000000000 + (uint64_t)i * 48;
}

static int pick(int state)
{
	int start = (int)random_below(ADDRESSES);

	for (int i = 0; i < ADDRESSES; i++)
		if ((int)world.state[(start + i) % ADDRESSES] == state)
			return (start + i) % ADDRESSES;
	return -1;
}

static void world_begin_realloc(int t)
{
	int from = pick(random_below(20) ? OURS : OLD);

	if (from < 0)
		return;
	world.calls[t].under_way = true;
	world.calls[t].was_old = world.state[from] == OLD;
	world.calls[t].from = from;
	world.calls[t].old_size = world.size[from];
	world.calls[t].new_size = 1 + random_below(5000);
	world.state[from] = RESERVED;
	feed_begin((uint32_t)t + 1, address_of(from));
	switch (random_below(4)) {
	case 0: /* in place */
		world.calls[t].to = from;
		break;
	case 1:
		world.calls[t].to = -1;
		break;
	case 2: /* from now on others may get the address */
		world.calls[t].to = -2;
		world.calls[t].new_size = 0;
		world.state[from] = UNUSED;
		break;
	case 3:
		world.calls[t].to = pick(UNUSED);
		if (world.calls[t].to >= 0) {
			world.state[world.calls[t].to] = RESERVED;
			world.state[from] = UNUSED;
		}
		break;
	}
}

static void world_end_realloc(int t)
{
	int from = world.calls[t].from, to = world.calls[t].to;

	world.calls[t].under_way = false;
	feed_end((uint32_t)t + 1, address_of(from), to < 0 ? 0 : address_of(to),
		 world.calls[t].new_size);
	if (to == -1) {
		world.state[from] = world.calls[t].was_old ? OLD : OURS;
		return;
	}
	if (world.calls[t].was_old)
		world.unknown++;
	else
		world.frees++;
	if (to >= 0) {
		world.state[to] = OURS;
		world.size[to] = world.calls[t].new_size;
		world.allocs++;
	}
}

static void world_step(void)
{
	int t = (int)random_below(THREADS), i;

	if (world.calls[t].under_way) {
		world_end_realloc(t);
		return;
	}
	switch (random_below(3)) {
	case 0:
		i = pick(UNUSED);
		if (i < 0)
			return;
		world.state[i] = OURS;
		world.size[i] = random_below(3000);
		world.allocs++;
		feed_alloc((uint32_t)t + 1, address_of(i), world.size[i]);
		break;
	case 1:
		i = pick(random_below(20) ? OURS : OLD);
		if (i < 0)
			return;
		if (world.state[i] == OLD)
			world.unknown++;
		else
			world.frees++;
		world.state[i] = UNUSED;
		feed_free((uint32_t)t + 1, address_of(i));
		break;
	case 2:
		world_begin_realloc(t);
		break;
	}
}

static void test_world(void)
{
	uint64_t blocks = 0, bytes = 0;
	bool same = true;

	memset(&world, 0, sizeof(world));
	for (int i = 0; i < OLD_BLOCKS; i++)
		world.state[i * 7] = OLD;
	begin();
	for (int i = 0; i < 150000; i++)
		world_step();
	for (int t = 0; t < THREADS; t++)
		if (world.calls[t].under_way)
			world_end_realloc(t);
	finish();
	for (int i = 0; i < ADDRESSES; i++) {
		const struct replay_block *b = live(address_of(i));

		if (world.state[i] == OURS) {
			blocks++;
			bytes += world.size[i];
			same = same && b && b->size == world.size[i];
		} else {
			same = same && !b;
		}
	}
	ok(counts_are(0, world.unknown, 0, 0, 0), "a world without losses: nothing is set right");
	ok(drain.counts.alloc_calls == world.allocs && drain.counts.free_calls == world.frees,
	   "all its calls are counted");
	ok(is_live(blocks, bytes) && same, "what is live is live in the recording");
}

/* Whatever comes, what is written does not contradict itself. */
static void test_chaos(void)
{
	uint64_t under_way = 0, pairing_live, live_bytes;

	begin();
	for (int i = 0; i < 150000; i++) {
		uint32_t t = (uint32_t)random_below(THREADS);
		uint64_t a = address_of((int)random_below(60));
		uint64_t b = address_of((int)random_below(60));

		switch (random_below(9)) {
		case 0:
		case 1:
			feed_alloc(t, a, random_below(3000));
			break;
		case 2:
		case 3:
			feed_free(t, a);
			break;
		case 4:
		case 5:
			feed_begin(t, a);
			break;
		case 6:
		case 7:
			feed_end(t, t < drain.n_threads && drain.threads[t] && random_below(3)
					    ? drain.threads[t]->reallocs[LAYER_HEAP].old_address : a,
				 random_below(4) ? b : 0, random_below(4) ? random_below(3000) : 0);
			break;
		case 8:
			if (random_below(20))
				feed_thread(RING_THREAD_EXIT, t, "x", 1);
			else if (!random_below(200))
				feed_mark(RING_EXEC);
			else
				now_ns -= random_below(5000);
			break;
		}
	}
	for (size_t i = 0; i < drain.n_threads; i++)
		under_way += drain.threads[i] &&
			     drain.threads[i]->reallocs[LAYER_HEAP].is_under_way &&
			     drain.threads[i]->reallocs[LAYER_HEAP].found == PAIRING_LIVE;
	pairing_live = drain.pairing.live;
	live_bytes = drain.heap.live_bytes;
	finish();
	ok(got.contradictions == 0, "random raw events: the recording does not contradict itself");
	ok(is_live(pairing_live + under_way, live_bytes), "and has the drain's own totals");
	ok(drain.counts.events == got.n && drain.counts.malformed == 0, "and all events");
}

int main(void)
{
	set_up("drain_random");
	seed_random();
	test_world();
	test_chaos();
	return tear_down() ? done() : 1;
}
