/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/replay.h"

#include <errno.h>
#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"

static struct replay replay;
static struct replay_step last;

/* Feeds one event; the step is in @last. */
static int feed(struct event e)
{
	struct err err = {.what = ""};
	int r;

	memset(&last, 0x5a, sizeof(last));
	e.t_ns = replay.ordinal + 1000;
	if (e.kind != EVENT_PIECE)
		e.usable = USABLE_UNKNOWN;
	r = replay_feed(&replay, &e, &last, &err);
	if (r && !err.what[0])
		diag("a failure without a message");
	return r;
}

static int make(uint32_t thread, uint64_t size)
{
	return feed((struct event){.kind = EVENT_ALLOC, .thread = {thread}, .size = size,
				   .address = 0x1000 + size * 16, .stack = {7}, .family = 1});
}

static int end(uint32_t thread, uint32_t slot)
{
	return feed((struct event){.kind = EVENT_FREE, .thread = {thread}, .slot = slot});
}

static int end_as(uint32_t thread, uint32_t slot, enum free_class class)
{
	return feed((struct event){.kind = EVENT_FREE, .free_class = (uint8_t)class,
				   .thread = {thread}, .slot = slot});
}

static int change(uint32_t thread, uint32_t slot, uint64_t size)
{
	return feed((struct event){.kind = EVENT_REALLOC, .thread = {thread}, .slot = slot,
				   .size = size, .address = 0x9000});
}

static void begin(void)
{
	replay_release(&replay);
	replay_begin_space(&replay, (struct space_id){1});
}

static size_t count_live(uint64_t *ret_bytes)
{
	struct replay_block b;
	size_t at = 0, n = 0;

	*ret_bytes = 0;
	while (replay_next_live(&replay, &at, &b)) {
		n++;
		*ret_bytes += b.size;
	}
	return n;
}

static void test_totals(void)
{
	uint64_t bytes;

	begin();
	ok(count_live(&bytes) == 0, "nothing is live at first");
	ok(make(1, 100) == 0 && last.made && last.made->size == 100 &&
		   last.made->t_ns == 1000 && last.made->address == 0x1000 + 1600 &&
		   last.made->stack.v == 7 && last.made->thread.v == 1 && last.made->family == 1 &&
		   last.made->usable == USABLE_UNKNOWN && !last.ended && !last.was_temporary,
	   "an alloc makes a block as it says");
	ok(make(1, 0) == 0 && make(2, 30) == 0 && replay.live_blocks == 3 &&
		   replay.live_bytes == 130,
	   "three are live, one of no bytes");
	ok(end(1, 0) == 0 && !last.made && last.ended && last.old.size == 100 &&
		   last.slot == 0 && last.old.stack.v == 7,
	   "a free ends a block, and says which");
	ok(replay.live_blocks == 2 && replay.live_bytes == 30, "two are live");
	ok(count_live(&bytes) == 2 && bytes == 30, "and they can be walked");
	ok(make(1, 5) == 0 && last.made && last.slot == 0, "an alloc takes the slot freed last");
	ok(make(1, 5) == 0 && last.made && last.slot == 3, "then the next new one");
	ok(end_as(1, 3, FREE_IMPLIED) == 0 && last.ended && replay.live_blocks == 3,
	   "an implied free ends a block");
	for (int class = FREE_UNKNOWN; class <= FREE_DOUBLE; class++)
		ok(end_as(1, 0, class) == 0 && !last.ended && !last.made && !last.was_temporary &&
			   replay.live_blocks == 3,
		   "a free of class %d ends none", class);
	ok(feed((struct event){.kind = EVENT_MARK, .thread = {1}, .size = 9}) == 0 && !last.made &&
		   !last.ended && replay.live_blocks == 3 && replay.live_bytes == 35,
	   "a mark changes nothing");
	ok(replay.ordinal == 11, "all events are counted");
}

static void test_realloc(void)
{
	begin();
	make(1, 100);
	make(1, 10);
	ok(change(1, 0, 300) == 0 && last.ended && last.old.size == 100 && last.made &&
		   last.made && last.slot == 0 && last.made->size == 300 &&
		   last.made->address == 0x9000,
	   "a realloc ends a block and makes another in its slot");
	ok(replay.live_blocks == 2 && replay.live_bytes == 310, "the totals follow");
	ok(make(1, 1) == 0 && last.made && last.slot == 2, "its slot was never free");
	ok(change(2, 0, 0) == 0 && last.made && last.made->size == 0 && last.made->thread.v == 2 &&
		   replay.live_blocks == 3,
	   "a realloc to no bytes that is stored as one leaves a block");
	ok(end(1, 0) == 0 && last.old.size == 0, "and it can be freed");
}

static void test_temporary(void)
{
	begin();
	make(1, 1);
	ok(end(1, 0) == 0 && last.was_temporary, "freed by the very next event: temporary");
	make(1, 1);
	make(1, 2);
	ok(end(1, 0) == 0 && !last.was_temporary, "another alloc between: not");
	ok(end(1, 1) == 0 && !last.was_temporary, "another free between: not");

	make(1, 1); /* slot 1 */
	make(2, 2);
	end(2, 0);
	ok(last.was_temporary, "other threads' events between do not matter: theirs is");
	ok(end(1, 1) == 0 && last.was_temporary, "and so is ours");

	make(1, 1); /* slot 1 */
	ok(end(2, 1) == 0 && !last.was_temporary, "freed by another thread: not");
	make(2, 3);
	make(1, 1); /* slot 0 */
	ok(end(2, 0) == 0 && !last.was_temporary,
	   "freed by another thread that has just made one itself: not");
	ok(end(2, 1) == 0 && !last.was_temporary, "and that one then is not either");

	make(1, 1); /* slot 1 */
	ok(change(1, 1, 2) == 0 && last.was_temporary, "a realloc's free counts");
	ok(change(1, 1, 3) == 0 && last.was_temporary, "and a realloc's alloc");
	ok(end(1, 1) == 0 && last.was_temporary, "the last of them freed, too");

	make(1, 1); /* slot 1 */
	end_as(1, 0, FREE_UNKNOWN);
	ok(end(1, 1) == 0 && !last.was_temporary, "an unknown free between: not");
	make(1, 1);
	end_as(1, 0, FREE_DOUBLE);
	ok(end(1, 1) == 0 && !last.was_temporary, "a double free between: not");
	make(1, 1);
	end_as(1, 0, FREE_INTERNAL);
	ok(end(1, 1) == 0 && last.was_temporary,
	   "the allocator's own free between does not matter");
	make(3, 1); /* slot 1 */
	make(1, 1); /* slot 0 */
	end_as(1, 1, FREE_IMPLIED);
	ok(end(1, 0) == 0 && last.was_temporary, "nor does an implied free");
	make(1, 1);
	feed((struct event){.kind = EVENT_MARK, .thread = {1}});
	ok(end(1, 0) == 0 && !last.was_temporary, "a mark between: not");
}

static void test_contradictions(void)
{
	uint64_t ordinal;

	begin();
	ok(end(1, 0) == -EBADMSG, "a free before any alloc");
	ok(change(1, 0, 5) == -EBADMSG, "a realloc before any alloc");
	make(1, 10);
	make(1, 20);
	ok(end(1, 2) == -EBADMSG, "a free of the slot behind the last");
	ok(end(1, UINT32_MAX) == -EBADMSG, "a free of the largest slot");
	ok(change(1, 2, 5) == -EBADMSG, "a realloc of the slot behind the last");
	ok(end(1, 1) == 0 && end(1, 1) == -EBADMSG, "a free of a dead slot");
	ok(change(1, 1, 5) == -EBADMSG, "a realloc of a dead slot");
	ok(end_as(1, 1, FREE_IMPLIED) == -EBADMSG, "an implied free of a dead slot");
	ok(replay.live_blocks == 1 && replay.live_bytes == 10, "what was live before still is");
	ok(make(UINT32_MAX, 1) == -EBADMSG, "a thread that cannot be");
	ok(make(60000, 1) == 0, "a thread that can");
	ordinal = replay.ordinal;
	ok(make(UINT32_MAX, UINT64_MAX) == -EBADMSG && replay.ordinal == ordinal + 1,
	   "the failed ones are counted");
	ok(replay_feed(&replay, &(struct event){.kind = EVENT_FREE, .slot = 9}, &last, NULL) ==
		   -EBADMSG,
	   "without anybody to read the message");
}

static void test_spaces(void)
{
	uint64_t bytes;

	begin();
	for (int i = 0; i < 100; i++)
		make(1, 10);
	end(1, 50);
	replay_begin_space(&replay, (struct space_id){2});
	ok(replay.space.v == 2 && replay.live_blocks == 0 && replay.live_bytes == 0 &&
		   count_live(&bytes) == 0,
	   "in another space nothing is live");
	ok(end(1, 3) == -EBADMSG, "a free of the old space's block is a contradiction");
	ok(make(1, 7) == 0 && last.made && last.slot == 0, "slots begin anew");
	ok(end(1, 1) == -EBADMSG, "also behind the first new block");
	ok(make(1, 8) == 0 && last.made && last.slot == 1 && count_live(&bytes) == 2 &&
		   bytes == 15,
	   "and the walk finds the new ones only");
	/* the last event of the old space must not be mistaken for this one's */
	begin();
	make(1, 10);
	replay_begin_space(&replay, (struct space_id){2});
	make(2, 10);
	ok(end(1, 0) == 0 && !last.was_temporary, "what a thread did before does not count");
}

/* Random events against a plain list of what is live. */
static void test_random(void)
{
	enum { N = 200000, BLOCKS_MAX = 3000 };
	static uint64_t sizes[BLOCKS_MAX]; /* [slot]; 0: free */
	struct slots slots = {0};
	uint64_t bytes = 0, blocks = 0, walked_bytes;
	bool good = true;

	begin();
	for (int i = 0; i < N && good; i++) {
		uint32_t slot = (uint32_t)random_below(BLOCKS_MAX);
		uint64_t size = 1 + random_below(1000);

		if (slot < slots.next && sizes[slot] && random_below(3)) {
			good = end(1, slot) == 0 && last.old.size == sizes[slot];
			bytes -= sizes[slot];
			sizes[slot] = 0;
			slots_give(&slots, slot);
			blocks--;
		} else if (slot < slots.next && sizes[slot]) {
			good = change(1, slot, size) == 0 && last.old.size == sizes[slot];
			bytes += size - sizes[slot];
			sizes[slot] = size;
		} else if (blocks < BLOCKS_MAX) {
			slot = slots_take(&slots);
			good = make(1, size) == 0 && last.made && last.slot == slot;
			sizes[slot] = size;
			bytes += size;
			blocks++;
		}
		good = good && replay.live_bytes == bytes && replay.live_blocks == blocks;
	}
	ok(good, "random events: every step and total as expected");
	ok(count_live(&walked_bytes) == blocks && walked_bytes == bytes, "and the walk");
	slots_release(&slots);
}

/* Numbers that have no room in a slot, and the largest that have. */
static uint64_t unusual(uint64_t usual)
{
	static const uint64_t numbers[] = {0, UINT32_MAX - 1, UINT32_MAX, UINT32_MAX + 1ull,
					   1ull << 63, UINT64_MAX - 1};

	return random_below(3) ? random_below(usual) : numbers[random_below(COUNT_OF(numbers))];
}

static struct replay_block random_block(void)
{
	struct replay_block b = {.t_ns = random_u64(), .address = random_u64(),
				 .size = unusual(5000), .usable = unusual(6000),
				 .stack = {(uint32_t)random_u64()},
				 .thread = {(uint32_t)random_below(100)},
				 .family = (uint8_t)random_u64()};

	if (!random_below(4))
		b.usable = USABLE_UNKNOWN;
	if (!random_below(4))
		b.thread.v = (1u << REPLAY_THREAD_BITS) - 1 + (uint32_t)random_below(2);
	return b;
}

static bool are_same(const struct replay_block *a, const struct replay_block *b)
{
	return a->t_ns == b->t_ns && a->address == b->address && a->size == b->size &&
	       a->usable == b->usable && a->stack.v == b->stack.v && a->thread.v == b->thread.v &&
	       a->family == b->family;
}

static int feed_block(enum event_kind kind, uint32_t slot, const struct replay_block *b)
{
	memset(&last, 0x5a, sizeof(last));
	return replay_feed(&replay, &(struct event){.kind = kind, .slot = slot, .t_ns = b->t_ns,
						    .address = b->address, .size = b->size,
						    .usable = b->usable, .stack = b->stack,
						    .thread = b->thread, .family = b->family},
			   &last, NULL);
}

/* Whatever a block has, it comes back: at a look, at the walk and at its end. */
static void test_every_number(void)
{
	enum { SLOTS = 500, N = 100000 };
	static struct replay_block blocks[SLOTS];
	size_t wide = 0, most, at = 0, walked = 0;
	struct replay_block b;
	bool good = true;

	begin();
	for (uint32_t i = 0; i < SLOTS && good; i++) { /* as at a checkpoint: no event is needed */
		blocks[i] = random_block();
		good = replay_put(&replay, i, &blocks[i]) && !replay_put(&replay, i, &blocks[i]);
	}
	ok(good && replay_restored(&replay, NULL, 0), "blocks of any numbers are put");
	most = replay.n_wide;
	replay.ordinal = 1u << REPLAY_THREAD_BITS; /* so many threads there may be */
	for (int i = 0; i < N && good; i++) {
		uint32_t slot = (uint32_t)random_below(SLOTS);
		struct replay_block old = blocks[slot];

		b = replay_block_in(&replay, slot);
		good = good && are_same(&b, &old);
		blocks[slot] = random_block();
		if (random_below(2)) {
			good = good && !feed_block(EVENT_REALLOC, slot, &blocks[slot]) &&
			       are_same(&last.old, &old);
		} else {
			good = good && !feed_block(EVENT_FREE, slot, &blocks[slot]) && !last.made &&
			       are_same(&last.old, &old) &&
			       !feed_block(EVENT_ALLOC, 0, &blocks[slot]) && last.slot == slot;
		}
		good = good && are_same(last.made, &blocks[slot]);
		most = replay.n_wide > most ? replay.n_wide : most;
	}
	ok(good, "random blocks of any numbers: each is at its end as it was made");
	while (replay_next_live(&replay, &at, &b) && are_same(&b, &blocks[at - 1])) {
		walked++;
		wide += b.size > UINT32_MAX;
	}
	ok(walked == SLOTS && wide > 10, "and the walk finds them so");
	ok(most <= SLOTS, "what has no room in a slot is kept once: %zu of %d", most, SLOTS);
}

/* Is what the replay says of itself true? */
static bool is_sound(void)
{
	uint64_t bytes;
	size_t blocks = count_live(&bytes);

	return blocks == replay.live_blocks && bytes == replay.live_bytes &&
	       blocks + replay.slots.n_freed == replay.slots.next;
}

static int piece(uint32_t thread, uint64_t size, uint64_t since_ns)
{
	return feed((struct event){.kind = EVENT_PIECE, .thread = {thread}, .size = size,
				   .address = 0x7000, .stack = {5}, .usable = since_ns});
}

/* What stays of a mapping of which a part went. */
static void test_pieces(void)
{
	uint64_t since;

	begin();
	make(1, 100);
	since = last.made->t_ns;
	make(1, 10);
	ok(end_as(2, 0, FREE_PARTED) == 0 && last.ended && last.old.size == 100 &&
		   !last.was_temporary && replay.live_bytes == 10,
	   "a part goes: the block ends");
	ok(piece(1, 40, since) == 0 && last.made && last.slot == 0 && !last.ended &&
		   last.made->t_ns == since && last.made->size == 40 && last.made->stack.v == 5 &&
		   last.made->usable == USABLE_UNKNOWN,
	   "a piece is as old as the whole, and takes a slot");
	ok(piece(1, 20, since) == 0 && last.slot == 2 && replay.live_blocks == 3 &&
		   replay.live_bytes == 70 && replay_block_in(&replay, 2).t_ns == since,
	   "so is a second one");
	ok(piece(1, 5, UINT64_MAX) == 0 && last.made->t_ns == replay.ordinal - 1 + 1000,
	   "none is of the future");
	ok(end(1, 3) == 0 && last.was_temporary, "a piece may be the last that a thread made");
	ok(end_as(1, 0, FREE_PARTED) == 0 && end_as(1, 0, FREE_PARTED) == -EBADMSG,
	   "what has ended cannot lose a part");
}

/* Random events, most of which contradict others: only errors, and the heap stays sound. */
static void test_forged(void)
{
	enum { STREAMS = 200, EVENTS = 1000 };
	size_t refused = 0, taken = 0, other = 0, unsound = 0;

	for (int i = 0; i < STREAMS; i++) {
		uint64_t slots = 1 + (random_u64() >> random_below(64));
		uint64_t threads = 1 + random_below(i % 10 ? 10 : UINT32_MAX);

		begin();
		for (int j = 0; j < EVENTS; j++) {
			struct event e = {
				.kind = (uint8_t)random_below(random_below(8) ? 3 : EVENT_KINDS),
				.family = (uint8_t)random_u64(),
				.thread = {(uint32_t)random_below(threads)},
				.stack = {(uint32_t)random_u64()},
				.slot = (uint32_t)random_below(slots),
				.address = random_u64(),
				.size = random_u64() >> random_below(64),
			};
			int r;

			if (e.kind == EVENT_FREE)
				e.free_class = (uint8_t)random_below(FREE_CLASSES);
			if (!random_below(500))
				replay_begin_space(&replay, (struct space_id){(uint32_t)j + 2});
			r = feed(e);
			taken += !r;
			refused += r == -EBADMSG;
			other += r && r != -EBADMSG;
			unsound += j % 50 == 0 && !is_sound();
		}
	}
	ok(taken && refused && !other && !unsound,
	   "random events: %zu taken, %zu contradictions, %zu other errors, %zu times unsound", taken,
	   refused, other, unsound);
}

int main(void)
{
	seed_random();
	test_totals();
	test_realloc();
	test_temporary();
	test_contradictions();
	test_spaces();
	test_random();
	test_every_number();
	test_pieces();
	test_forged();
	replay_release(&replay);
	replay_release(&replay);
	return done();
}
