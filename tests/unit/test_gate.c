/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditions of --fail-if: how they are read, and what is said where numbers are not exact. */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "analyzer/gate.h"
#include "common/xalloc.h"
#include "tests/unit/tap.h"

static struct err err;

static void test_parsing(void)
{
	static const struct {
		const char *text;
		enum gate_metric metric;
		enum gate_unit unit;
		bool or_equal;
		long double limit;
	} cases[] = {
		{"leaked", GATE_LEAKED, GATE_COUNT, false, 0},
		{" leaked>0 ", GATE_LEAKED, GATE_COUNT, false, 0},
		{"live >= 12", GATE_LIVE, GATE_COUNT, true, 12},
		{"leaked > 10KiB", GATE_LEAKED, GATE_BYTES, false, 10240},
		{"leaked > 10 K", GATE_LEAKED, GATE_BYTES, false, 10240},
		{"peak > 1.5MiB", GATE_PEAK, GATE_BYTES, false, 1572864},
		{"peak > 17B", GATE_PEAK, GATE_BYTES, false, 17},
		{"allocs > 18446744073709551615", GATE_ALLOCS, GATE_COUNT, false, 0x1p64L - 1},
		{"live > 5 %", GATE_LIVE, GATE_PERCENT, false, 5},
		{"growth", GATE_GROWTH, GATE_BYTES_PER_HOUR, false, 0},
		{"growth > 2GiB/h", GATE_GROWTH, GATE_BYTES_PER_HOUR, false, 2147483648.0L},
		{"growth > 100/h", GATE_GROWTH, GATE_COUNT_PER_HOUR, false, 100},
		{"temporary > 50%", GATE_TEMPORARY, GATE_PERCENT, false, 50},
		{"mismatched", GATE_MISMATCHED, GATE_COUNT, false, 0},
		{"double_frees >= 1", GATE_DOUBLE_FREES, GATE_COUNT, true, 1},
		{"lost > 0.1%", GATE_LOST, GATE_PERCENT, false, 0.1L},
	};
	static const struct {
		const char *text, *what;
	} wrong[] = {
		{"", "expected one of leaked, definite, indirect, possible, reachable, live, "},
		{"leeked > 0", "lost at 'leeked > 0'"},
		{"leaked < 5", "expected '>' or '>=' at '< 5'"},
		{"leaked = 5", "expected '>' or '>=' at '= 5'"},
		{"leaked >", "expected a number at its end"},
		{"leaked > x", "expected a number at 'x'"},
		{"leaked > -1", "expected a number at '-1'"},
		{"leaked > 0x10", "expected a number at '0x10'"},
		{"leaked > 1e3", "expected a number at '1e3'"},
		{"leaked > 10KB", "or nothing at 'KB'"},
		{"leaked > 10 10", "or nothing at '10'"},
		{"leaked > 0 and live > 0", "or nothing at 'and live > 0'"},
		{"leaked > 1MiB/h", "'leaked' is compared with a count or bytes such as 10KiB or"},
		{"growth > 1MiB", "'growth' is compared with a count such as 10/h or bytes such"},
		{"temporary > 1KiB", "'temporary' is compared with a count or a percentage"},
		{"growth > 1%/h", "at '/h'"},
		{"lost > 111111111111111111111", "expected a number"},
	};
	struct gate g;

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		ok(!gate_parse(cases[i].text, &g, &err) && g.metric == cases[i].metric &&
			   g.unit == cases[i].unit && g.or_equal == cases[i].or_equal &&
			   fabsl(g.limit - cases[i].limit) < 1e-9L,
		   "'%s'", cases[i].text);
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		ok(gate_parse(wrong[i].text, &g, &err) == -EINVAL && strstr(err.what, wrong[i].what),
		   "%s", err.what);
}

static enum gate_verdict judge(const char *text, const struct gate_values *v)
{
	struct gate g;
	struct gate_range r;

	if (gate_parse(text, &g, &err))
		bail_out("%s", err.what);
	r = gate_range(&g, v);
	return gate_judge(&g, &r);
}

static void test_exact(void)
{
	const struct gate_values v = {.count = {10, 10, 10}, .bytes = {2048, 2048, 2048},
				      .whole = {40, 40, 40}, .hours = 0.5L};
	const struct gate_values none = {.hours = 1};

	ok(judge("live > 9", &v) == GATE_VIOLATED && judge("live > 10", &v) == GATE_HOLDS &&
		   judge("live >= 10", &v) == GATE_VIOLATED, "> and >=");
	ok(judge("live > 2047B", &v) == GATE_VIOLATED && judge("live > 2KiB", &v) == GATE_HOLDS,
	   "bytes");
	ok(judge("live > 24.9%", &v) == GATE_VIOLATED && judge("live > 25%", &v) == GATE_HOLDS,
	   "a percentage");
	ok(judge("growth > 4095B/h", &v) == GATE_VIOLATED &&
		   judge("growth > 4KiB/h", &v) == GATE_HOLDS &&
		   judge("growth > 19/h", &v) == GATE_VIOLATED, "an hour");
	ok(judge("leaked", &none) == GATE_HOLDS && judge("temporary > 0%", &none) == GATE_HOLDS &&
		   judge("growth", &none) == GATE_HOLDS, "nothing");
}

static void test_inexact(void)
{
	const struct gate_values v = {.count = {5, 10, 12}, .bytes = {0, 100, INFINITY},
				      .whole = {20, 20, 40}, .hours = 1};
	const struct gate_values open = {.count = {3, 3, INFINITY}, .whole = {10, 10, INFINITY},
					 .hours = 1};

	ok(judge("live > 4", &v) == GATE_VIOLATED, "met by the least it can be");
	ok(judge("live > 5", &v) == GATE_UNDECIDED && judge("live > 11", &v) == GATE_UNDECIDED,
	   "it depends");
	ok(judge("live > 12", &v) == GATE_HOLDS, "not met by the most");
	ok(judge("live > 99B", &v) == GATE_UNDECIDED && judge("live > 9TiB", &v) == GATE_UNDECIDED,
	   "any number of bytes may be missing");
	ok(judge("temporary > 12%", &v) == GATE_VIOLATED &&
		   judge("temporary > 13%", &v) == GATE_UNDECIDED &&
		   judge("temporary > 60%", &v) == GATE_HOLDS,
	   "a percentage: from 5 of 40 to 12 of 20");
	ok(judge("lost > 2", &open) == GATE_VIOLATED && judge("lost > 3", &open) == GATE_UNDECIDED &&
		   judge("lost > 1%", &open) == GATE_UNDECIDED, "without an upper bound");
}

static void test_crossing(void)
{
	static const struct {
		const char *text;
		long double values[9];
		const char *crosses; /* at these */
	} cases[] = {
		{"live > 100", {0, 100, 101, 200, 91, 150, 90, 101, 102}, "..x....x."},
		{"live >= 100", {100, 99, 100, 91, 90, 100, 0, 99, 100}, "x....x..x"},
		{"lost", {0, 0, 1, 2, 0, 1, 0, 0, 7}, "..x..x..x"},
		{"allocs >= 0", {0, 0, 1, 2, 0, 1, 0, 0, 7}, "x........"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char crosses[10] = "";
		bool is_beyond = false;
		struct gate g;

		gate_parse(cases[i].text, &g, NULL);
		for (size_t k = 0; k < 9; k++)
			crosses[k] = gate_crosses(&g, cases[i].values[k], &is_beyond) ? 'x' : '.';
		ok(!strcmp(crosses, cases[i].crosses), cases[i].text);
	}
}

int main(void)
{
	test_parsing();
	test_exact();
	test_inexact();
	test_crossing();
	return done();
}
