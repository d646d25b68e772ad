/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/mappings.h"

#include "tests/unit/tap.h"

enum { PAGES = 200, NOBODY = -1 };

/* Random ranges against an array with a slot for each page. */
static void test_ranges(void)
{
	struct mappings m = {0};
	int owner[PAGES], wrong = 0, n_live = 0;
	uint32_t next = 0;

	for (int i = 0; i < PAGES; i++)
		owner[i] = NOBODY;
	for (int round = 0; round < 20000; round++) {
		uint64_t start = random_below(PAGES), end = start + 1 + random_below(PAGES - start);
		const struct mapping *found;
		int known = 0;

		for (uint64_t i = start; i < end; i++)
			known += owner[i] != NOBODY;
		found = mappings_find(&m, start, end);
		wrong += !found != !known;
		wrong += found && (found->start >= end || found->end <= start ||
				   owner[found->start] != (int)found->slot);
		while ((found = mappings_find(&m, start, end))) {
			struct mapping one = mappings_remove(&m, found);

			n_live--;
			for (uint64_t i = one.start; i < one.end; i++) {
				wrong += owner[i] != (int)one.slot;
				owner[i] = NOBODY;
			}
		}
		if (random_below(3)) {
			for (uint64_t i = start; i < end; i++)
				owner[i] = (int)next;
			mappings_add(&m, start, end, next++);
			n_live++;
		}
	}
	ok(!wrong && n_live > 0, "ranges that come and go (%d wrong)", wrong);
	ok(!mappings_find(&m, 5, 5), "nothing is in an empty range");
	mappings_release(&m);
	ok(!mappings_find(&m, 0, PAGES), "and none when all are forgotten");
}

static void test_debts(void)
{
	struct mappings m = {0};
	struct mapping_debt d;

	mappings_add_debt(&m, (struct mapping_debt){10, 20, 100, 5, 25});
	ok(mappings_owe(&m, 19, 30) && !mappings_owe(&m, 20, 30) && !mappings_owe(&m, 0, 10),
	   "what is owed");
	ok(mappings_owe_of_block(&m, 5, 10, 25) && !mappings_owe_of_block(&m, 5, 11, 25) &&
		   !mappings_owe_of_block(&m, 5, 10, 20) && !mappings_owe_of_block(&m, 10, 10, 20),
	   "and of which block");
	ok(!mappings_take_debt(&m, 20, 30, 0, &d), "nothing of it lies elsewhere");
	ok(mappings_take_debt(&m, 13, 15, 0, &d) && d.start == 13 && d.end == 15,
	   "a part is taken");
	ok(mappings_owe(&m, 10, 13) && mappings_owe(&m, 15, 20) && !mappings_owe(&m, 13, 15),
	   "the rest stays");
	ok(mappings_take_debt(&m, 0, 100, 0, &d) && mappings_take_debt(&m, 0, 100, 0, &d) &&
		   !mappings_take_debt(&m, 0, 100, 0, &d),
	   "one by one");
	mappings_add_debt(&m, (struct mapping_debt){10, 20, 100, 5, 25});
	ok(!mappings_take_debt(&m, 0, 100, 101, &d) && !mappings_owe(&m, 0, 100),
	   "an old one is forgotten");
	for (uint64_t i = 0; i < 5000; i++)
		mappings_add_debt(&m, (struct mapping_debt){i * 10, i * 10 + 5, i, i * 10, i * 10 + 5});
	ok(!mappings_owe(&m, 0, 10) && mappings_owe(&m, 49990, 50000) && m.n_debts < 5000,
	   "and there are not too many (%zu)", m.n_debts);
	mappings_release(&m);
}

int main(void)
{
	test_ranges();
	test_debts();
	return done();
}
