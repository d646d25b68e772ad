/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hand-made .eh_frame, one construct after the other: how records are written and
 * where functions lie.  test_eh_frame_instructions.c has what is in them,
 * test_eh_frame_real.c the tables of real programs.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/unwind_rule.h"
#include "tests/unit/eh_frame_fixture.h"
#include "tests/unit/eh_frame_rows.h"
#include "tests/unit/tap.h"

/* ---- what functions have in common ---------------------------------------------- */

static void test_encodings(void)
{
	static const uint8_t good[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x08, 0x09, 0x0a,
				       0x0b, 0x0c, 0x10, 0x13, 0x14, 0x1a, 0x1b, 0x1c};
	static const uint8_t bad[] = {0x3b, 0x2b, 0x4b, 0x50, 0x9b, 0x05, 0x0f, 0xff};
	char name[64];

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct table t = {.len = 0};

		put_cie(&t, good[i]);
		put_fde(&t, START, LEN, "41 0e10");
		snprintf(name, sizeof(name), "addresses of encoding %#x", good[i]);
		EXPECT(name, &t, 0, {0, PLAIN(SP, 8)}, {1, PLAIN(SP, 16)}, {LEN, 0});
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct table t = {.len = 0};

		put_cie(&t, bad[i]);
		put_fde(&t, START, LEN, "41 0e10");
		snprintf(name, sizeof(name), "not of encoding %#x", bad[i]);
		EXPECT(name, &t, bad[i] == 0xff ? 2 : 1, {0, 0});
	}
}

static const struct {
	const char *name, *hex;
	uint8_t encoding;
	bool augmented, good;
} cies[] = {
	{"no augmentation", "01 00 01 78 10 0c0708 9001", 0x00, false, true},
	{"zR", "01 7a5200 01 78 10 01 1b 0c0708 9001", 0x1b, true, true},
	{"z only", "01 7a00 01 78 10 00 0c0708 9001", 0x00, true, true},
	{"zPLR", "01 7a504c5200 01 78 10 07 9b 01020304 1b 1b 0c0708 9001", 0x1b, true, true},
	{"zPR, personality of 8 bytes",
	 "01 7a505200 01 78 10 0a 00 0102030405060708 1b 0c0708 9001", 0x1b, true, true},
	{"zPR, personality omitted", "01 7a505200 01 78 10 02 ff 1b 0c0708 9001", 0x1b, true, true},
	{"zRB", "01 7a524200 01 78 10 01 1b 0c0708 9001", 0x1b, true, true},
	{"more augmentation data than letters", "01 7a5200 01 78 10 04 1b 020304 0c0708 9001", 0x1b,
	 true, true},
	{"version 3", "03 7a5200 01 78 10 01 1b 0c0708 9001", 0x1b, true, true},
	{"version 3, return register of 2 bytes", "03 7a5200 01 78 9000 01 1b 0c0708 9001", 0x1b,
	 true, true},
	{"version 4", "04 7a5200 08 00 01 78 10 01 1b 0c0708 9001", 0x1b, true, true},
	{"factors of 2 and 4", "01 7a5200 02 04 10 01 1b 0c0708 11107e", 0x1b, true, false},
	{"version 4, addresses of 4 bytes", "04 7a5200 04 00 01 78 10 01 1b 0c0708 9001", 0x1b,
	 true, false},
	{"version 2", "02 7a5200 01 78 10 01 1b 0c0708 9001", 0x1b, true, false},
	{"augmentation eh", "01 656800 0000000000000000 01 78 10 0c0708 9001", 0x00, false, false},
	{"an unknown letter", "01 7a525800 01 78 10 01 1b 0c0708 9001", 0x1b, true, false},
	{"augmentation data that is not there", "01 7a5200 01 78 10 7f 1b 0c0708 9001", 0x1b, true,
	 false},
	{"augmentation data too short for its letters", "01 7a4c5200 01 78 10 01 1b 0c0708 9001",
	 0x1b, true, false},
	{"augmentation without an end", "01 7a52", 0x1b, true, false},
	{"nothing", "", 0x1b, true, false},
	{"another return register", "01 7a5200 01 78 0f 01 1b 0c0708 9001", 0x1b, true, false},
	{"an instruction unknown", "01 7a5200 01 78 10 01 1b 0c0708 9001 3f", 0x1b, true, false},
	{"an instruction that moves on", "01 7a5200 01 78 10 01 1b 0c0708 9001 41", 0x1b, true,
	 false},
	{"half an instruction", "01 7a5200 01 78 10 01 1b 0c07", 0x1b, true, false},
};

static void test_cies(void)
{
	for (size_t i = 0; i < COUNT_OF(cies); i++) {
		struct table t = {.len = 0};
		char name[80];

		put_raw_cie(&t, cies[i].hex, cies[i].encoding, cies[i].augmented);
		put_fde(&t, START, LEN, "41 0e10");
		snprintf(name, sizeof(name), "CIE: %s", cies[i].name);
		if (cies[i].good)
			EXPECT(name, &t, 0, {0, PLAIN(SP, 8)}, {1, PLAIN(SP, 16)}, {LEN, 0});
		else if (!strncmp(cies[i].name, "factors", 7))
			EXPECT(name, &t, 0, {0, PLAIN(SP, 8)}, {2, PLAIN(SP, 16)}, {LEN, 0});
		else
			EXPECT(name, &t, 2, {0, 0});
	}
}

/* What depends on the factors, and what a function can go back to. */
static void test_common(void)
{
	struct table t = {.len = 0};

	put_raw_cie(&t, "01 7a5200 04 04 10 01 1b 0c0708 11107e", 0x1b, true);
	put_fde(&t, START, LEN, "41 0e10 0201 0e18 030100 0e20 0401000000 11067c");
	EXPECT("factors of 4 and 4", &t, 0, {0, PLAIN(SP, 8)}, {4, PLAIN(SP, 16)},
	       {8, PLAIN(SP, 24)}, {12, PLAIN(SP, 32)}, {16, SAVED(SP, 32, -16)}, {LEN, 0});
	t.len = t.cie = 0;
	put_raw_cie(&t, "01 7a5200 01 78 10 01 1b 0c0710 9001 8602", 0x1b, true);
	put_fde(&t, START, LEN, "44 8603 44 c6 44 0706 44 0606");
	EXPECT("restore goes back to what the CIE says", &t, 0, {0, SAVED(SP, 16, -16)},
	       {4, SAVED(SP, 16, -24)}, {8, SAVED(SP, 16, -16)},
	       {12, UNWIND_RULE(UNWIND_CFA_SP, 16, UNWIND_BP_UNDEFINED, 0)},
	       {16, SAVED(SP, 16, -16)}, {LEN, 0});
}

static void test_signal(void)
{
	static const char layout[] = "0f0477a00106 1006 0377f800 1007 0377a001 1010 0377a801";
	struct table t = {.len = 0};

	put_raw_cie(&t, "01 7a525300 01 78 10 01 1b", 0x1b, true);
	put_fde(&t, START, LEN, layout);
	EXPECT("a signal's frame", &t, 0, {0, UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0)}, {LEN, 0});
	t.len = t.cie = 0;
	put_raw_cie(&t, "01 7a525300 01 78 10 01 1b 0c0708 9001", 0x1b, true);
	put_fde(&t, START, LEN, "");
	EXPECT("a signal's frame that looks like any other", &t, 0, {0, UNSUPPORTED}, {LEN, 0});
	t.len = t.cie = 0;
	put_raw_cie(&t, "01 7a525300 01 78 10 01 1b", 0x1b, true);
	put_fde(&t, START, LEN, "0f0477a00106 1006 0377f000 1007 0377a001 1010 0377a801");
	EXPECT("a signal's frame with rbp elsewhere", &t, 0, {0, UNSUPPORTED}, {LEN, 0});
	t.len = t.cie = 0;
	put_raw_cie(&t, "01 7a5200 01 78 10 01 1b", 0x1b, true);
	put_fde(&t, START, LEN, layout);
	EXPECT("the same of a function", &t, 0, {0, UNSUPPORTED}, {LEN, 0});
	t.len = t.cie = 0;
	put_raw_cie(&t, "01 7a5200 01 78 10 01 1b", 0x1b, true);
	put_fde(&t, START, LEN, "0c0708");
	EXPECT("nothing said of ra", &t, 0, {0, UNSUPPORTED}, {LEN, 0});
}

/* ---- records -------------------------------------------------------------------- */

static void test_records(void)
{
	struct table t = {.long_lengths = true};
	size_t second, third;

	put_cie(&t, 0x1b);
	put_fde(&t, START, LEN, "41 0e10");
	EXPECT("lengths of 64 bits", &t, 0, {0, PLAIN(SP, 8)}, {1, PLAIN(SP, 16)}, {LEN, 0});
	t.long_lengths = false;
	put_fde(&t, START + LEN, LEN, "");
	EXPECT("and then one of 32", &t, 0, {0, PLAIN(SP, 8)}, {1, PLAIN(SP, 16)},
	       {LEN, PLAIN(SP, 8)}, {2 * LEN, 0});
	put_number(&t, 0, 4);
	put_fde(&t, START + 2 * LEN, LEN, "0e20");
	EXPECT("behind the terminator there is nothing", &t, 0, {0, PLAIN(SP, 8)},
	       {1, PLAIN(SP, 16)}, {LEN, PLAIN(SP, 8)}, {2 * LEN, 0});

	t = (struct table){.len = 0};
	put_cie(&t, 0x1b);
	put_fde(&t, START, LEN, "");
	second = t.len;
	put_fde(&t, START + LEN, LEN, "0e10");
	third = t.len;
	put_fde(&t, START + 2 * LEN, LEN, "0e18");
	t.bytes[second + 4]--;
	EXPECT("an FDE of no CIE is left out", &t, 1, {0, PLAIN(SP, 8)}, {LEN, 0},
	       {2 * LEN, PLAIN(SP, 24)}, {3 * LEN, 0});
	t.bytes[second + 4] += 1 + 4;
	EXPECT("so is one whose CIE would begin in another record", &t, 1, {0, PLAIN(SP, 8)},
	       {LEN, 0}, {2 * LEN, PLAIN(SP, 24)}, {3 * LEN, 0});
	t.bytes[second + 7] = 0xff;
	EXPECT("and one whose CIE would begin before the table", &t, 1, {0, PLAIN(SP, 8)}, {LEN, 0},
	       {2 * LEN, PLAIN(SP, 24)}, {3 * LEN, 0});
	t.bytes[third + 1] = 1;
	EXPECT("a record longer than the table ends it", &t, 2, {0, PLAIN(SP, 8)}, {LEN, 0});
}

static void test_no_table(void)
{
	struct eh_frame_rows r = {0};
	struct table t = {.len = 0};
	uint8_t zeros[64] = {0};

	ok(parse(zeros, 0, TABLE, &r) == 0 && !r.n, "no bytes are an empty table");
	ok(parse(zeros, 4, TABLE, &r) == 0 && !r.n, "a terminator is one, too");
	ok(eh_frame_rule_at(&r, 0) == 0, "where nothing is known");
	eh_frame_rows_release(&r);
	eh_frame_rows_release(NULL);
	ok(parse(zeros, 3, TABLE, &r) == -EINVAL, "3 bytes are none");
	memcpy(zeros, "\177ELF\2\1\1", 7);
	ok(parse(zeros, sizeof(zeros), TABLE, &r) == -EINVAL, "nor are those of a program");
	put_cie(&t, 0x1b);
	t.bytes[4] = 1;
	ok(parse(t.bytes, t.len, TABLE, &r) == -EINVAL, "nor a function's before any CIE");
}

static void test_places(void)
{
	struct table t = {.len = 0};
	struct eh_frame_rows r;

	put_cie(&t, 0x00);
	put_fde(&t, START, 0x10, "");
	put_fde(&t, START + 0x1f, 0x11, "0e10");
	put_fde(&t, START + 0x40, 0x10, "0e10");
	EXPECT("a gap of 15 bytes is padding, one of 16 is none; neighbours merge", &t, 0,
	       {0, PLAIN(SP, 8)}, {0x1f, PLAIN(SP, 16)}, {0x30, 0}, {0x40, PLAIN(SP, 16)},
	       {0x50, 0});
	ok(parse(t.bytes, t.len, TABLE, &r) == 0, "it is a table");
	ok(!eh_frame_rule_at(&r, 0) && !eh_frame_rule_at(&r, START - 1) &&
		   eh_frame_rule_at(&r, START) == PLAIN(SP, 8) &&
		   eh_frame_rule_at(&r, START + 0x1e) == PLAIN(SP, 8) &&
		   eh_frame_rule_at(&r, START + 0x1f) == PLAIN(SP, 16) &&
		   !eh_frame_rule_at(&r, START + 0x30) &&
		   eh_frame_rule_at(&r, START + 0x4f) == PLAIN(SP, 16) &&
		   !eh_frame_rule_at(&r, START + 0x50) && !eh_frame_rule_at(&r, UINT64_MAX),
	   "the rule at an address");
	eh_frame_rows_release(&r);

	t.len = 0;
	put_cie(&t, 0x00);
	put_fde(&t, START + LEN, LEN, "0e10");
	put_fde(&t, START, LEN, "");
	EXPECT("not in order", &t, 0, {0, PLAIN(SP, 8)}, {LEN, PLAIN(SP, 16)}, {2 * LEN, 0});
	put_fde(&t, START + 8, 8, "0e18 44 0e20 44 0e28");
	EXPECT("one within another: the later start, and no way back", &t, 0, {0, PLAIN(SP, 8)},
	       {8, PLAIN(SP, 24)}, {12, PLAIN(SP, 32)}, {16, 0}, {LEN, PLAIN(SP, 16)},
	       {2 * LEN, 0});
	put_fde(&t, START, LEN, "0e30");
	EXPECT("two at one start: the last of them", &t, 0, {0, PLAIN(SP, 48)}, {8, PLAIN(SP, 24)},
	       {12, PLAIN(SP, 32)}, {16, 0}, {LEN, PLAIN(SP, 16)}, {2 * LEN, 0});
}

static void test_odd_functions(void)
{
	struct table t = {.len = 0};

	put_cie(&t, 0x00);
	put_fde(&t, START, LEN, "");
	put_fde(&t, 0, LEN, "0e10");
	put_fde(&t, START + 8, 0, "0e10");
	EXPECT("a function removed, one of no bytes", &t, 0, {0, PLAIN(SP, 8)}, {LEN, 0});
	put_fde(&t, UINT64_MAX - 8, 16, "0e10");
	put_fde(&t, START + 8, UINT64_MAX, "0e10");
	EXPECT("functions that wrap around are left out", &t, 2, {0, PLAIN(SP, 8)}, {LEN, 0});
	put_fde(&t, UINT64_MAX - 32, 16, "0e10");
	EXPECT("one that ends just before that is not", &t, 2, {0, PLAIN(SP, 8)}, {LEN, 0},
	       {UINT64_MAX - 32 - START, PLAIN(SP, 16)}, {UINT64_MAX - 16 - START, 0});
}

/* A linker that drops a function leaves a 0 in place of its address, relative or not. */
static void test_removed(void)
{
	struct table t = {.len = 0};
	size_t at;

	put_cie(&t, 0x1b);
	put_fde(&t, START, LEN, "");
	at = t.len;
	put_fde(&t, START + LEN, LEN, "0e10");
	memset(t.bytes + at + 8, 0, 4);
	EXPECT("a function removed, relative", &t, 0, {0, PLAIN(SP, 8)}, {LEN, 0});
}

/* Each cut off earlier than the one before. */
static void test_cut(void)
{
	struct table t = {.len = 0};
	bool fine = true;

	put_cie(&t, 0x1b);
	put_fde(&t, START, LEN, "41 0e10 8602 43 0d06");
	put_raw_cie(&t, "01 7a504c5200 01 78 10 07 9b 01020304 1b 1b 0c0708 9001", 0x1b, true);
	put_fde(&t, START + LEN, LEN, "0f0b770880003f1a3b2a332422 44 0f03767806 1006027600");
	for (size_t len = 0; len <= t.len; len++) {
		struct eh_frame_rows r = {0};
		int status = parse(t.bytes, len, TABLE, &r);

		fine = fine && is_sound(&r) && (status == 0 || (status == -EINVAL && !r.n));
		eh_frame_rows_release(&r);
	}
	ok(fine, "a table cut off at each of its %zu bytes", t.len);
}

/* Many functions in the worst order, each as long as all code. */
static void test_reverse(void)
{
	enum { N = 100000, BYTES = 24 };
	uint8_t *bytes = xcalloc(N + 1, BYTES);
	struct table t = {.len = 0};
	struct eh_frame_rows r = {0};
	size_t at;
	int status;

	put_cie(&t, 0x03);
	memcpy(bytes, t.bytes, at = t.len);
	for (uint32_t i = 0; i < N; i++) {
		struct table one = {.encoding = 0x03, .augmented = true, .cie = 0};

		put_fde(&one, START + (N - i), UINT32_MAX - START - N, i % 2 ? "0e10" : "0e18");
		*(uint32_t *)(void *)(one.bytes + 4) = (uint32_t)at + 4;
		memcpy(bytes + at, one.bytes, one.len);
		at += one.len;
	}
	status = parse(bytes, at, TABLE, &r);
	ok(status == 0 && is_sound(&r) && r.n == N + 1,
	   "%d functions, the last one first, each within all others: %zu rows", N, r.n);
	eh_frame_rows_release(&r);
	free(bytes);
}

int main(void)
{
	test_encodings();
	test_cies();
	test_common();
	test_signal();
	test_records();
	test_no_table();
	test_places();
	test_odd_functions();
	test_removed();
	test_cut();
	test_reverse();
	return done();
}
