/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/pairing.h"

#include <string.h>

#include "common/xalloc.h"
#include "store/slots.h"
#include "tests/unit/tap.h"

static void test_slots(void)
{
	struct slots s = {0};
	bool same = true;

	ok(slots_take(&s) == 0 && slots_take(&s) == 1 && slots_take(&s) == 2,
	   "slots are taken from 0 on");
	slots_give(&s, 0);
	slots_give(&s, 2);
	ok(slots_take(&s) == 2 && slots_take(&s) == 0, "the slot given back last is taken first");
	ok(slots_take(&s) == 3, "then the next new one");
	for (uint32_t i = 4; i < 1000; i++)
		same = same && slots_take(&s) == i;
	for (uint32_t i = 0; i < 1000; i++)
		slots_give(&s, i);
	for (uint32_t i = 1000; i-- > 0;)
		same = same && slots_take(&s) == i;
	ok(same && s.next == 1000, "a thousand slots there and back");
	slots_give(&s, 5);
	slots_reset(&s);
	ok(slots_take(&s) == 0 && slots_take(&s) == 1, "reset, they begin with 0 again");
	slots_release(&s);
	ok(slots_take(&s) == 0, "released, too");
	slots_release(&s);
}

static size_t count_freed(const struct pairing *p)
{
	size_t n = 0;

	for (int i = 0; i < PAIRING_PARTS; i++)
		n += p->parts[i].freed;
	return n;
}

static size_t count_bytes(const struct pairing *p)
{
	size_t n = 0;

	for (int i = 0; i < PAIRING_PARTS; i++)
		n += p->parts[i].cap * sizeof(*p->parts[i].entries);
	return n;
}

static void test_basics(void)
{
	struct pairing p = {0};
	uint32_t slot = 77;

	ok(pairing_find(&p, 0x1000, &slot) == PAIRING_NEVER_SEEN, "an empty pairing");
	pairing_put(&p, 0x1000, 5);
	ok(pairing_find(&p, 0x1000, NULL) == PAIRING_LIVE, "a live block");
	ok(pairing_find(&p, 0x1008, &slot) == PAIRING_NEVER_SEEN && slot == 77,
	   "an address beside it was never seen, and the output stays");
	ok(pairing_find(&p, 0x1000, &slot) == PAIRING_LIVE && slot == 5,
	   "its slot");
	pairing_remove(&p, 0x1000);
	slot = 77;
	ok(pairing_find(&p, 0x1000, &slot) == PAIRING_FREED && slot == 77,
	   "a freed block is remembered");
	pairing_put(&p, 0x1000, 0);
	ok(pairing_find(&p, 0x1000, &slot) == PAIRING_LIVE && slot == 0,
	   "its address is handed out again");
	ok(p.live == 1 && count_freed(&p) == 0, "the counts follow");
	pairing_put(&p, UINT64_MAX, 999999);
	ok(pairing_find(&p, UINT64_MAX, &slot) == PAIRING_LIVE && slot == 999999,
	   "the largest address");
	ok(pairing_find(&p, 0, &slot) == PAIRING_NEVER_SEEN, "address 0 is no block");
	pairing_put_small(&p, 0x2000, PAIRING_SMALL_MAX - 1);
	pairing_put_small(&p, 0x3000, 0);
	ok(pairing_find(&p, 0x2000, &slot) == PAIRING_SMALL && slot == PAIRING_SMALL_MAX - 1 &&
		   pairing_find(&p, 0x3000, &slot) == PAIRING_SMALL && slot == 0,
	   "small blocks have a size and no slot");
	pairing_remove(&p, 0x2000);
	ok(pairing_find(&p, 0x2000, NULL) == PAIRING_FREED, "and are remembered, too");
	pairing_reset(&p);
	ok(pairing_find(&p, 0x1000, NULL) == PAIRING_NEVER_SEEN && !p.live && !count_freed(&p),
	   "reset, it has forgotten all");
	pairing_put(&p, 0x1000, 1);
	ok(pairing_find(&p, 0x1000, NULL) == PAIRING_LIVE, "and can be used again");
	pairing_release(&p);
	pairing_release(&p);
}

/* ---- against a model ---------------------------------------------------------------- */

/* Few addresses, so that each comes up often; some only 1 byte apart, some far. */
enum { ADDRESSES = 6000 };

static struct model_block {
	uint64_t address;
	uint32_t slot;
	enum pairing_found state;
} model[ADDRESSES];

static struct model_stats {
	int64_t live, wrong, forgotten, freed_seen;
} stats;

static void model_reset(void)
{
	for (int i = 0; i < ADDRESSES; i++)
		model[i].state = PAIRING_NEVER_SEEN;
	stats.live = 0;
}

static void model_init(void)
{
	for (uint64_t i = 0; i < ADDRESSES; i++)
		model[i].address = i < 2000   ? 0x555500000000 + i * 16
				   : i < 4000 ? 0x7fff00000010 + i * 0x100000
				   : i < 5000 ? 0x7fff80000000 + i * 4096
					      : 1 + i;
	model_reset();
}

/* Is what the pairing says of @b right?  A freed block may have been forgotten. */
static void compare(struct pairing *p, struct model_block *b)
{
	uint32_t slot = 0;
	enum pairing_found found = pairing_find(p, b->address, &slot);

	if (b->state == PAIRING_FREED && found == PAIRING_NEVER_SEEN) {
		stats.forgotten++;
		b->state = PAIRING_NEVER_SEEN;
		return;
	}
	stats.freed_seen += found == PAIRING_FREED;
	stats.wrong += found != b->state ||
		       ((found == PAIRING_LIVE || found == PAIRING_SMALL) && slot != b->slot);
}

static void step(struct pairing *p, bool mostly_put)
{
	struct model_block *b = &model[random_below(ADDRESSES)];
	bool is_live;

	compare(p, b);
	is_live = b->state == PAIRING_LIVE || b->state == PAIRING_SMALL;

	if (is_live && (!mostly_put || !random_below(4))) {
		pairing_remove(p, b->address);
		b->state = PAIRING_FREED;
		stats.live--;
	} else if (!is_live && (mostly_put || !random_below(4)) && random_below(3) == 0) {
		b->slot = (uint32_t)random_below(PAIRING_SMALL_MAX);
		pairing_put_small(p, b->address, b->slot);
		b->state = PAIRING_SMALL;
		stats.live++;
	} else if (!is_live && (mostly_put || !random_below(4))) {
		b->slot = (uint32_t)random_below(PAIRING_SMALL_MAX);
		pairing_put(p, b->address, b->slot);
		b->state = PAIRING_LIVE;
		stats.live++;
	}
	compare(p, b);
}

static void test_model(void)
{
	struct pairing p = {0};
	bool counts = true, room = true;

	model_init();
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 10000; i++)
			step(&p, round % 6 < 3);
		for (int i = 0; i < ADDRESSES; i++)
			compare(&p, &model[i]);
		counts = counts && (int64_t)p.live == stats.live;
		for (const struct pairing_part *q = p.parts; q < p.parts + PAIRING_PARTS; q++)
			room = room && q->live + q->freed <= q->cap && !(q->cap & (q->cap - 1));
		if (round % 20 == 19) {
			pairing_reset(&p);
			model_reset();
			for (int i = 0; i < ADDRESSES; i++)
				compare(&p, &model[i]);
		}
	}
	ok(stats.wrong == 0, "600,000 random puts, removes and finds agree with a model");
	ok(counts, "the number of live blocks is the model's");
	ok(room, "the table has room for what is in it");
	ok(stats.freed_seen > 10000, "freed addresses are remembered");
	diag("%" PRId64 " finds of freed addresses, %" PRId64 " were forgotten", stats.freed_seen,
	     stats.forgotten);
	pairing_release(&p);
}

static void test_remembered(void)
{
	enum { N = 200000 };
	struct pairing p = {0};
	uint64_t freed = 0, live = 0, wrong = 0;

	for (uint64_t i = 1; i <= N; i++) {
		pairing_put(&p, i * 32, (uint32_t)i);
		if (i % 2)
			pairing_remove(&p, i * 32);
	}
	for (uint64_t i = 1; i <= N; i++) {
		enum pairing_found found = pairing_find(&p, i * 32, NULL);

		live += found == PAIRING_LIVE && i % 2 == 0;
		wrong += (found == PAIRING_LIVE) != (i % 2 == 0);
		/* of the latest freed one for every eight live */
		freed += found == PAIRING_FREED && i > N - N / 8;
	}
	ok(live == N / 2 && !wrong, "every other block freed: the others are live");
	ok(freed >= N / 16 * 95 / 100, "and the latest %d freed are remembered: %" PRIu64,
	   N / 16, freed);
	pairing_release(&p);
}

static void test_memory(void)
{
	enum { N = 300000 };
	struct pairing p = {0};
	uint64_t address = 0x10000, worst = 0;
	size_t bytes;

	for (uint32_t i = 0; i < N; i++) {
		address += 16 + 16 * random_below(20);
		pairing_put(&p, address, i);
		if (i > 50000 && i % 1000 == 0 && count_bytes(&p) / p.live > worst)
			worst = count_bytes(&p) / p.live;
	}
	ok(p.live == N && worst <= 36, "%d live blocks take %" PRIu64 " bytes each, at most 36", N,
	   worst);
	bytes = count_bytes(&p);
	/* addresses that come only once must not make it grow for ever */
	for (uint32_t i = 0; i < 20 * N; i++) {
		address += 16;
		pairing_put(&p, address, N);
		pairing_remove(&p, address);
	}
	ok(p.live == N && count_bytes(&p) <= bytes * 5 / 2,
	   "six million freed blocks make it grow at most once");
	pairing_release(&p);

	for (uint32_t i = 0; i < N; i++) {
		address += 16;
		pairing_put(&p, address, 0);
		pairing_remove(&p, address);
	}
	ok(p.live == 0 && count_bytes(&p) <= 256 * 1024, "blocks freed at once need little");
	pairing_release(&p);
}

int main(void)
{
	seed_random();
	test_slots();
	test_basics();
	test_model();
	test_remembered();
	test_memory();
	return done();
}
