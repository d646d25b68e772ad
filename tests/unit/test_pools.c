/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "tests/unit/drain_fixture.h"

#include "collector/pools.h"
#include "collector/probe_spec.h"

#define BLOCKS 200
#define ADDRESSES 300

static struct probe_specs specs;
static uint32_t random_state = 12345;

static uint32_t below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

/* ---- which block is of which pool, against a model ---------------------------------- */

static struct model {
	bool is_there;
	uint64_t address, pool; /* pool 0: of none */
} model[BLOCKS];
static unsigned int mistakes, ended;

static void take_ended(void *arg, uint32_t slot, uint64_t address)
{
	(void)arg;
	mistakes += slot >= BLOCKS || !model[slot].is_there || model[slot].address != address;
	model[slot].is_there = false;
	ended++;
}

/* So many blocks are in the pool, and in those in it. */
static unsigned int count_in(uint64_t pool)
{
	bool in[BLOCKS] = {false}, more = true;
	unsigned int n = 0;

	while (more) {
		more = false;
		for (int i = 0; i < BLOCKS; i++) {
			bool is_in = model[i].pool == pool;

			if (in[i] || !model[i].is_there || !model[i].pool)
				continue;
			for (int k = 0; k < BLOCKS && !is_in; k++)
				is_in = in[k] && model[k].address == model[i].pool;
			if (is_in) {
				in[i] = more = true;
				n++;
			}
		}
	}
	return n;
}

static void against_model(void)
{
	struct pools p = {0};
	unsigned int live = 0;

	for (int n = 0; n < 30000; n++) {
		uint32_t slot = below(BLOCKS);
		/* a block's address is its own: pools may be blocks, or be unknown */
		uint64_t address = 0x1000 + slot, pool = below(4) ? 0x1000 + below(ADDRESSES) : 0;
		unsigned int expected;

		if (!below(60)) {
			expected = count_in(pool = 0x1000 + below(ADDRESSES));
			ended = 0;
			pools_end(&p, 1, pool, take_ended, NULL);
			mistakes += ended != expected || pools_has(&p, 1, pool);
		} else if (model[slot].is_there) {
			mistakes += pools_remove(&p, slot) !=
				    (model[slot].pool == address ? 0 : model[slot].pool);
			model[slot].is_there = false;
		} else {
			if (pool == address)
				pool = 0;
			model[slot] = (struct model){true, address, pool};
			pools_add(&p, 1, pool, slot, address);
		}
	}
	for (int i = 0; i < BLOCKS; i++)
		live += model[i].is_there && model[i].pool;
	ok(!mistakes && p.live_members == live, "30,000 random calls: %u mistakes", mistakes);
	ok(!pools_has(&p, 2, 0x1000) && p.n_members <= BLOCKS && p.n_pools <= ADDRESSES,
	   "of one layer; as many places as there were blocks at once");
	for (uint32_t i = 0; i < 100000; i++) {
		pools_add(&p, 3, 0x100000 + i * 16, BLOCKS + i, 0x900000 + i);
		pools_remove(&p, BLOCKS + i);
	}
	ok(p.by_address.n < 5000 && p.by_slot.n < 5000, "what has gone is forgotten");
	pools_release(&p);
}

/* ---- the drain ---------------------------------------------------------------------- */

static uint8_t family_of(const char *name)
{
	for (size_t i = 0; i < n_user_families; i++)
		if (!strcmp(user_families[i].name, name))
			return user_families[i].id;
	bail_out("no family %s", name);
}

static void feed_in(const char *family, uint64_t pool, uint64_t address, uint64_t size)
{
	struct ring_pool_alloc e = {
		.alloc = {.head = head(RING_POOL_ALLOC, 1), .address = address, .size = size,
			  .caller = caller},
		.pool = pool};

	e.alloc.head.family = family_of(family);
	drain_feed(&drain, &e.alloc.head, sizeof(e));
}

static void feed_end_of(const char *family, enum ring_kind kind, uint64_t address)
{
	struct ring_free e = {.head = head(kind, 1), .address = address, .caller = caller};

	e.head.family = family_of(family);
	drain_feed(&drain, &e.head, sizeof(e));
}

static void pools_of_drain(void)
{
	begin();
	feed_in("p pools", 0, 0x1000, 0);
	feed_in("p pools", 0x1000, 0x2000, 0);
	feed_in("p", 0x1000, 0x1100, 10);
	feed_in("p", 0x2000, 0x2100, 20);
	feed_alloc(1, 0x2100, 30); /* the heap's block below */
	feed_end_of("p pools", RING_POOL_RESET, 0x1000);
	feed_end_of("p pools", RING_POOL_DESTROY, 0x2000); /* as the first goes on to it */
	feed_in("p", 0x1000, 0x1100, 40);
	feed_end_of("p", RING_FREE, 0x1100);
	feed_in("p", 0x1000, 0x1100, 50);
	feed_end_of("p pools", RING_POOL_DESTROY, 0x1000);
	feed_end_of("p pools", RING_POOL_DESTROY, 0x7000);
	finish();
	ok(is_live(1, 30) && counts_are(0, 1, 0, 0, 0), "pools in pools");
	ok(kinds_are("AiAAiAAPPPiAFAPFU"),
	   "blocks end with them, the pool that is destroyed by itself");
	ok(got.events[1].address == 0x1000 && got.events[4].address == 0x2000 &&
		   got.events[10].address == 0x1000,
	   "which pool blocks are of is said where it changes");
	begin();
	feed_in("p pools", 0, 0x1000, 0);
	feed_in("p", 0x1000, 0x1100, 10);
	feed_in("p pools", 0, 0x1000, 0);
	finish();
	ok(kinds_are("AiAIIiA") && got.events[5].address == 0 && is_live(1, 0) &&
		   counts_are(2, 0, 0, 0, 0), "an end that was not seen");
	begin();
	feed_in("p pools", 0, 0x1000, 0);
	feed_in("p", 0x1000, 0x1100, 10);
	feed_mark(RING_EXEC);
	feed_end_of("p pools", RING_POOL_RESET, 0x1000);
	feed_alloc(1, 0x1100, 5);
	feed_in("p", 0, 0x1200, 6);
	finish();
	ok(kinds_are("AiAAA") && is_live(2, 11), "an exec forgets them");
}

static void references_of_drain(void)
{
	begin();
	feed_in("p references", 0, 0x1000, 1);
	feed_in("p references", 0, 0x1000, 2);
	feed_in("p references", 0, 0x1000, 3);
	feed_end_of("p references", RING_FREE, 0x1000);
	feed_in("p", 0, 0x1000, 100); /* a block there is something else */
	finish();
	ok(is_live(3, 103) && kinds_are("AAAFA") && got.events[3].slot == 2, "the latest ends first");
	begin();
	feed_in("p references", 0, 0x1000, 1);
	feed_in("p references", 0, 0x1000, 2);
	feed_end_of("p references", RING_FREE, 0x1000);
	feed_end_of("p references", RING_FREE, 0x1000);
	feed_end_of("p references", RING_FREE, 0x1000);
	feed_end_of("p references", RING_FREE, 0x2000);
	finish();
	ok(is_live(0, 0) && kinds_are("AAFFDU") && counts_are(0, 1, 0, 1, 0), "one too many");
}

int main(void)
{
	struct err err;

	set_up("pools");
	against_model();
	probe_specs_add(&specs, "a: alloc pool=arg1 size=arg2 layer=p", &err);
	probe_specs_add(&specs, "b: destroy pool=arg1 layer=p", &err);
	probe_specs_add(&specs, "c: acquire key=arg1 layer=p", &err);
	if (probe_specs_finish(&specs, &err))
		bail_out("%s", err.what);
	families_set_user(specs.families, specs.n_families);
	pools_of_drain();
	references_of_drain();
	families_set_user(NULL, 0);
	probe_specs_release(&specs);
	return tear_down() ? done() : 1;
}
