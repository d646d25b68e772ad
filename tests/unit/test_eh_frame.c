/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hand-made .eh_frame, one construct after the other; then the real ones of our C
 * library and of the vdso, and damaged ones: HEAPTRAIL_CASES of them, the seed is
 * printed.  test_eh_frame_libdw.c compares with another implementation.
 */
#include "config.h"
#include "image/eh_frame.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/unwind_rule.h"
#include "tests/unit/tap.h"
#include "tests/unit/vdso.h"

#define TABLE 0x2000 /* where the table lies */
#define START 0x5000 /* and the code; both fit in 16 bits */
#define LEN 0x40
#define ROWS_MOST 8

#define PLAIN(cfa, offset) UNWIND_RULE(UNWIND_CFA_##cfa, offset, UNWIND_BP_SAME, 0)
#define SAVED(cfa, offset, bp_offset)                                                              \
	UNWIND_RULE(UNWIND_CFA_##cfa, offset, UNWIND_BP_AT_CFA, bp_offset)
#define UNSUPPORTED UNWIND_RULE(UNWIND_UNSUPPORTED, 0, 0, 0)

/* ---- making tables -------------------------------------------------------------- */

struct table {
	uint8_t bytes[8192];
	size_t len;
	size_t cie;	  /* offset of the last one */
	uint8_t encoding; /* of its functions' addresses */
	bool augmented;
	bool long_lengths; /* of 64 bits */
};

static void put_hex(struct table *t, const char *hex)
{
	for (; *hex; hex += 2) {
		char byte[3] = {hex[0], hex[0] == ' ' ? '\0' : hex[1], '\0'};

		if (*hex == ' ') {
			hex--;
			continue;
		}
		t->bytes[t->len++] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

static void put_number(struct table *t, uint64_t value, size_t len)
{
	memcpy(t->bytes + t->len, &value, len);
	t->len += len;
}

static void put_leb(struct table *t, uint64_t value)
{
	for (int i = 0; i < 9; i++, value >>= 7) /* never short, so that both kinds can be it */
		t->bytes[t->len++] = (uint8_t)(value | 0x80);
	t->bytes[t->len++] = 0;
}

static size_t begin(struct table *t)
{
	size_t at = t->len;

	if (t->long_lengths)
		put_number(t, UINT32_MAX, 4);
	put_number(t, 0, t->long_lengths ? 8 : 4);
	return at;
}

static void end(struct table *t, size_t at)
{
	size_t field = t->long_lengths ? 8 : 4, length_at = at + (t->long_lengths ? 4 : 0);
	uint64_t len = t->len - length_at - field;

	memcpy(t->bytes + length_at, &len, field);
}

/* A number of @encoding's format; relative to where it stands, if it is that. */
static void put_encoded(struct table *t, uint64_t value, uint8_t encoding)
{
	static const uint8_t lengths[16] = {8, 0, 2, 4, 8, 0, 0, 0, 8, 0, 2, 4, 8, 0, 0, 0};

	if ((encoding & 0x70) == 0x10)
		value -= TABLE + t->len;
	if (lengths[encoding & 15])
		put_number(t, value, lengths[encoding & 15]);
	else
		put_leb(t, value);
}

/* A CIE as @hex has it behind its id. */
static void put_raw_cie(struct table *t, const char *hex, uint8_t encoding, bool augmented)
{
	size_t at = t->cie = begin(t);

	put_number(t, 0, 4);
	put_hex(t, hex);
	end(t, at);
	t->encoding = encoding;
	t->augmented = augmented;
}

/* "zR", factors 1 and -8; def_cfa rsp 8, offset ra 1 */
static void put_cie(struct table *t, uint8_t encoding)
{
	char hex[80];

	snprintf(hex, sizeof(hex), "01 7a5200 01 78 10 01 %02x 0c0708 9001", encoding);
	put_raw_cie(t, hex, encoding, true);
}

static void put_fde(struct table *t, uint64_t start, uint64_t len, const char *hex)
{
	size_t at = begin(t);

	put_number(t, t->len - t->cie, 4);
	put_encoded(t, start, t->encoding);
	put_encoded(t, len, t->encoding & 0x0f);
	if (t->augmented)
		put_number(t, 0, 1);
	put_hex(t, hex);
	end(t, at);
}

/* ---- checking ------------------------------------------------------------------- */

/* Of a copy that is exactly so large, so that a read beyond is found. */
static int parse(const uint8_t *bytes, size_t len, uint64_t address, struct eh_frame_rows *ret)
{
	uint8_t *copy = xmalloc(len);
	int r;

	memcpy(copy, bytes, len);
	r = eh_frame_parse(copy, len, address, ret);
	free(copy);
	return r;
}

/* What the header promises of any table. */
static bool is_sound(const struct eh_frame_rows *r)
{
	if (!r->n)
		return true;
	for (size_t i = 1; i < r->n; i++)
		if (r->rows[i].address <= r->rows[i - 1].address ||
		    r->rows[i].rule == r->rows[i - 1].rule)
			return false;
	for (size_t i = 0; i < r->n; i++)
		if (UNWIND_RULE_CFA(r->rows[i].rule) > UNWIND_UNSUPPORTED ||
		    (UNWIND_RULE_CFA(r->rows[i].rule) == UNWIND_NO_ROW && r->rows[i].rule))
			return false;
	return r->rows[0].rule && !r->rows[r->n - 1].rule &&
	       eh_frame_rule_at(r, r->rows[r->n / 2].address) == r->rows[r->n / 2].rule;
}

/* @rows: relative to START; they end at the first of no rule. */
static void expect(const char *name, const struct table *t, const struct eh_frame_row *rows,
		   size_t skipped)
{
	struct eh_frame_rows r = {0};
	int status = parse(t->bytes, t->len, TABLE, &r);
	bool same = status == 0 && is_sound(&r) && r.skipped == skipped;
	size_t n = 0;

	while (same && n < r.n) {
		same = n < ROWS_MOST && r.rows[n].address == START + rows[n].address &&
		       r.rows[n].rule == rows[n].rule;
		n++;
	}
	if (!ok(same && (n == ROWS_MOST || (!rows[n].address && !rows[n].rule)), "%s", name)) {
		diag("status %d, %zu skipped", status, r.skipped);
		for (size_t i = 0; i < r.n && i < 20; i++)
			diag("%#" PRIx64 " %#" PRIx64, r.rows[i].address - START, r.rows[i].rule);
	}
	eh_frame_rows_release(&r);
}

#define EXPECT(name, table, skipped, ...)                                                          \
	expect(name, table, (const struct eh_frame_row[ROWS_MOST]){__VA_ARGS__}, skipped)

/* ---- instructions --------------------------------------------------------------- */

/* Of one function; its CFA is rsp + 8 first.  The row at its end is understood. */
static const struct {
	const char *name, *hex;
	struct eh_frame_row rows[ROWS_MOST - 1];
} programs[] = {
	{"nothing", "", {{0, PLAIN(SP, 8)}}},
	{"nops", "00000000", {{0, PLAIN(SP, 8)}}},
	{"push %rbp; mov %rsp,%rbp; leave",
	 "41 0e10 8602 43 0d06 50 0c0708 c6",
	 {{0, PLAIN(SP, 8)}, {1, SAVED(SP, 16, -16)}, {4, SAVED(BP, 16, -16)}, {20, PLAIN(SP, 8)}}},
	{"push of another register", "41 0e10 8302", {{0, PLAIN(SP, 8)}, {1, PLAIN(SP, 16)}}},
	{"advance by nothing", "40 0e10", {{0, PLAIN(SP, 16)}}},
	{"advance by 0x3f", "7f 0e10", {{0, PLAIN(SP, 8)}, {0x3f, PLAIN(SP, 16)}}},
	{"advance by 1 byte", "0204 0e10", {{0, PLAIN(SP, 8)}, {4, PLAIN(SP, 16)}}},
	{"advance by 2 bytes", "030400 0e10", {{0, PLAIN(SP, 8)}, {4, PLAIN(SP, 16)}}},
	{"advance by 4 bytes", "0404000000 0e10", {{0, PLAIN(SP, 8)}, {4, PLAIN(SP, 16)}}},
	{"advance by 8 bytes", "1d0400000000000000 0e10", {{0, PLAIN(SP, 8)}, {4, PLAIN(SP, 16)}}},
	{"advance to the end", "0240 0e10", {{0, PLAIN(SP, 8)}}},
	{"advance beyond the end", "0400000080 0e10", {{0, PLAIN(SP, 8)}}},
	{"advance around", "44 1dffffffffffffffff 0e10", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"set_loc", "01 0850000000000000 0e10", {{0, PLAIN(SP, 8)}, {8, PLAIN(SP, 16)}}},
	{"set_loc back", "44 01 0050000000000000 0e10", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"same again merges", "41 0e10 41 0e10", {{0, PLAIN(SP, 8)}, {1, PLAIN(SP, 16)}}},
	{"def_cfa rbp", "0c0610", {{0, PLAIN(BP, 16)}}},
	{"def_cfa r10: no base of ours", "0c0a00", {{0, UNSUPPORTED}}},
	{"def_cfa of a register far away", "0c878080801008", {{0, UNSUPPORTED}}},
	{"def_cfa_sf", "12077e", {{0, PLAIN(SP, 16)}}},
	{"def_cfa_sf, negative", "120702", {{0, PLAIN(SP, -16)}}},
	{"def_cfa_offset_sf", "137e", {{0, PLAIN(SP, 16)}}},
	{"an offset longer than it need be", "0e90808080808080808080808000", {{0, PLAIN(SP, 16)}}},
	{"the largest CFA offset", "0effffffff07", {{0, PLAIN(SP, 0x7fffffff)}}},
	{"a larger one", "0e8080808008", {{0, UNSUPPORTED}}},
	{"rbp, offset_extended", "050602", {{0, SAVED(SP, 8, -16)}}},
	{"rbp, offset_extended_sf", "110602", {{0, SAVED(SP, 8, -16)}}},
	{"rbp, offset_extended_sf, negative", "11067e", {{0, SAVED(SP, 8, 16)}}},
	{"rbp, GNU_negative_offset_extended", "2f0602", {{0, SAVED(SP, 8, 16)}}},
	{"rbp, the furthest offset", "868020", {{0, SAVED(SP, 8, -32768)}}},
	{"rbp, further", "868120", {{0, UNSUPPORTED}}},
	{"rbp, restore", "8602 44 c6", {{0, SAVED(SP, 8, -16)}, {4, PLAIN(SP, 8)}}},
	{"rbp, restore_extended", "8602 44 0606", {{0, SAVED(SP, 8, -16)}, {4, PLAIN(SP, 8)}}},
	{"rbp, undefined", "0706", {{0, UNWIND_RULE(UNWIND_CFA_SP, 8, UNWIND_BP_UNDEFINED, 0)}}},
	{"rbp, same_value", "8602 44 0806", {{0, SAVED(SP, 8, -16)}, {4, PLAIN(SP, 8)}}},
	{"rbp, in a register", "090600", {{0, UNSUPPORTED}}},
	{"rbp, val_offset", "140602", {{0, UNSUPPORTED}}},
	{"rbp, val_offset_sf", "150602", {{0, UNSUPPORTED}}},
	{"rbp, val_expression", "1606027600", {{0, UNSUPPORTED}}},
	{"rbp, expression: rbp + 0",
	 "1006027600",
	 {{0, UNWIND_RULE(UNWIND_CFA_SP, 8, UNWIND_BP_AT_BP, 0)}}},
	{"rbp, expression: rbp - 16",
	 "1006027670",
	 {{0, UNWIND_RULE(UNWIND_CFA_SP, 8, UNWIND_BP_AT_BP, -16)}}},
	{"rbp, expression: rsp + 8", "1006027708", {{0, UNSUPPORTED}}},
	{"rbp, expression of more", "100603760006", {{0, UNSUPPORTED}}},
	{"rbp, expression of nothing", "100600", {{0, UNSUPPORTED}}},
	{"rbp, expression of half an operand", "10060276ff", {{0, UNSUPPORTED}}},
	{"rsp, val_offset 0: as it is anyway", "140700", {{0, PLAIN(SP, 8)}}},
	{"rsp, elsewhere", "8702", {{0, UNSUPPORTED}}},
	{"another register, of all kinds",
	 "8302 0503 02 1103 7f 0703 0803 090300 1603 027600 140302 1003 027600 c3 0603",
	 {{0, PLAIN(SP, 8)}}},
	{"ra, undefined: the outermost frame", "0710", {{0, UNWIND_RULE(UNWIND_END, 0, 0, 0)}}},
	{"ra, undefined, then restored",
	 "0710 44 d0",
	 {{0, UNWIND_RULE(UNWIND_END, 0, 0, 0)}, {4, PLAIN(SP, 8)}}},
	{"ra, elsewhere", "9002", {{0, UNSUPPORTED}}},
	{"ra, in a register", "091002", {{0, UNSUPPORTED}}},
	{"ra, same_value", "0810", {{0, UNSUPPORTED}}},
	{"remember and restore, the CFA too",
	 "41 0e10 8602 0a 44 0c0708 c6 44 0b",
	 {{0, PLAIN(SP, 8)}, {1, SAVED(SP, 16, -16)}, {5, PLAIN(SP, 8)}, {9, SAVED(SP, 16, -16)}}},
	{"two remembered",
	 "0a 0e10 0a 41 0e18 41 0b 41 0b",
	 {{0, PLAIN(SP, 16)}, {1, PLAIN(SP, 24)}, {2, PLAIN(SP, 16)}, {3, PLAIN(SP, 8)}}},
	{"restore of nothing remembered", "44 0b", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"GNU_args_size", "2e10 44 0e10", {{0, PLAIN(SP, 8)}, {4, PLAIN(SP, 16)}}},
	{"the linkage table",
	 "0e10 46 0e18 4a 0f0b770880003f1a3b2a332422",
	 {{0, PLAIN(SP, 16)}, {6, PLAIN(SP, 24)}, {16, PLAIN(PLT, 11)}}},
	{"the linkage table, of 10", "0f0b770880003f1a3a2a332422", {{0, PLAIN(PLT, 10)}}},
	{"almost a linkage table", "0f0b770880003f1a3b2a332423", {{0, UNSUPPORTED}}},
	{"a linkage table, cut off", "0f0a770880003f1a3b2a3324", {{0, UNSUPPORTED}}},
	{"a linkage table, and more", "0f0c770880003f1a3b2a33242296", {{0, UNSUPPORTED}}},
	{"a realigned frame", "0f03767806", {{0, PLAIN(DEREF, -8)}}},
	{"a realigned frame, offset of 2 bytes", "0f0476f07e06", {{0, PLAIN(DEREF, -144)}}},
	{"a realigned frame, with rbp at rbp",
	 "0f03767806 1006027600",
	 {{0, UNWIND_RULE(UNWIND_CFA_DEREF, -8, UNWIND_BP_AT_BP, 0)}}},
	{"a deref of rsp", "0f03770806", {{0, UNSUPPORTED}}},
	{"a deref, plus 8", "0f0576780623 08", {{0, UNSUPPORTED}}},
	{"an expression, then def_cfa",
	 "0f03770806 44 0c0710",
	 {{0, UNSUPPORTED}, {4, PLAIN(SP, 16)}}},
	{"an expression has no offset",
	 "0f03767806 44 0e10",
	 {{0, PLAIN(DEREF, -8)}, {4, UNSUPPORTED}}},
	{"an expression has no register",
	 "0f03767806 44 0d07",
	 {{0, PLAIN(DEREF, -8)}, {4, UNSUPPORTED}}},
	{"an expression that is not all there",
	 "44 0f05767806",
	 {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"an unknown instruction: the rest is unsupported",
	 "44 2c 44 0c0708",
	 {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"the last of the unknown", "44 3f", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"an operand that is not there", "44 0e", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"half a number", "44 0e80", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
	{"half a delta", "44 040000", {{0, PLAIN(SP, 8)}, {4, UNSUPPORTED}}},
};

static void test_programs(void)
{
	for (size_t i = 0; i < COUNT_OF(programs); i++) {
		struct table t = {.len = 0};
		struct eh_frame_row rows[ROWS_MOST];
		size_t n = 0;

		put_cie(&t, 0x00);
		put_fde(&t, START, LEN, programs[i].hex);
		memset(rows, 0, sizeof(rows));
		for (; n < ROWS_MOST - 1 && programs[i].rows[n].rule; n++)
			rows[n] = programs[i].rows[n];
		rows[n].address = LEN;
		expect(programs[i].name, &t, rows, 0);
	}
}

static void test_depth(void)
{
	for (int n = 64; n <= 65; n++) {
		struct table t = {.len = 0};
		char hex[2 * 65 + 1];

		for (int i = 0; i < n; i++)
			memcpy(hex + 2 * i, "0a", 3);
		put_cie(&t, 0x1b);
		put_fde(&t, START, LEN, hex);
		if (n == 64)
			EXPECT("64 states remembered", &t, 0, {0, PLAIN(SP, 8)}, {LEN, 0});
		else
			EXPECT("one more is too many", &t, 0, {0, UNSUPPORTED}, {LEN, 0});
	}
}

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

/* ---- real ones ------------------------------------------------------------------ */

struct bytes {
	uint8_t *data;
	size_t len;
};

static bool read_whole(const char *path, struct bytes *ret)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool fine = fd >= 0 && !fstat(fd, &st);

	if (fine) {
		ret->len = (size_t)st.st_size;
		ret->data = xmalloc(ret->len);
		fine = read(fd, ret->data, ret->len) == (ssize_t)ret->len;
	}
	if (fd >= 0)
		close(fd);
	return fine;
}

/* The C library that is mapped here. */
static bool find_libc(char *path, size_t size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4352];
	bool found = false;

	while (maps && !found && fgets(line, sizeof(line), maps)) {
		char *name = strchr(line, '/');

		if (!name || !strstr(name, "/libc.so") || strlen(name) > size)
			continue;
		name[strcspn(name, "\n")] = '\0';
		snprintf(path, size, "%s", name);
		found = true;
	}
	if (maps)
		fclose(maps);
	return found;
}

static bool rows_of(struct elf_file *f, struct eh_frame_rows *ret)
{
	uint64_t address;
	uint8_t *data;
	size_t len;
	int r = elf_file_eh_frame(f, &data, &len, &address);

	if (r)
		return false;
	r = parse(data, len, address, ret);
	free(data);
	return r == 0;
}

static size_t count(const struct eh_frame_rows *r, enum unwind_cfa kind)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += UNWIND_RULE_CFA(r->rows[i].rule) == kind;
	return n;
}

static bool same_rows(const struct eh_frame_rows *a, const struct eh_frame_rows *b)
{
	return a->n == b->n && (!a->n || !memcmp(a->rows, b->rows, a->n * sizeof(*a->rows)));
}

/* @f of the C library, and @rows its rows. */
static void test_libc_rows(struct elf_file *f, const struct eh_frame_rows *rows)
{
	static const char *const names[] = {"malloc", "free", "qsort", "printf"};
	uint64_t address, offset, bytes, back;
	struct elf_symbol symbol;

	ok(is_sound(rows) && rows->n > 1000 && !rows->skipped, "the C library has %zu rows",
	   rows->n);
	for (size_t i = 0; i < COUNT_OF(names); i++)
		ok(elf_file_find_function(f, names[i], &symbol) &&
			   eh_frame_rule_at(rows, symbol.address) == PLAIN(SP, 8),
		   "at the entry of %s it is rsp + 8", names[i]);
	ok(count(rows, UNWIND_SIGNAL) == 1, "it has one frame of signals");
	ok(count(rows, UNWIND_END) > 0, "and an outermost one");
	ok(count(rows, UNWIND_CFA_PLT) > 0, "and a linkage table");
	ok(elf_file_code_segment(f, 0, &address, &offset, &bytes) &&
		   elf_file_code_address_of(f, offset, &back) && back == address &&
		   symbol.address >= address && symbol.address - address < bytes,
	   "its functions lie in its first code segment");
	ok(!elf_file_code_segment(f, 100, &address, &offset, &bytes), "which are not a hundred");
}

static void drop_eh_frame_segment(Elf64_Ehdr *header)
{
	Elf64_Phdr *segments = (Elf64_Phdr *)(void *)((uint8_t *)header + header->e_phoff);

	for (size_t i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_GNU_EH_FRAME)
			segments[i].p_type = PT_NULL;
}

static void expect_rows(struct bytes file, const struct eh_frame_rows *rows, const char *name)
{
	struct eh_frame_rows other = {0};
	struct elf_file *f = NULL;

	ok(elf_file_open_memory(file.data, file.len, &f, NULL) == 0 && rows_of(f, &other) &&
		   same_rows(rows, &other) && !other.skipped,
	   "%s", name);
	eh_frame_rows_release(&other);
	elf_file_close(f);
}

/* The same from memory, then without segment, without section headers, without either. */
static void test_copies(struct bytes file, const struct eh_frame_rows *rows)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)file.data;
	struct bytes copy = {xmalloc(file.len), file.len};
	struct elf_file *f = NULL;
	uint64_t address;
	uint8_t *data;
	size_t len;

	memcpy(copy.data, file.data, file.len);
	expect_rows(copy, rows, "a copy in memory has the same rows");
	ok(elf_file_open_memory(copy.data, copy.len, &f, NULL) == 0 && elf_file_build_id(f) &&
		   elf_file_interpreter(f),
	   "and says what else it says");
	elf_file_close(f);
	drop_eh_frame_segment((Elf64_Ehdr *)(void *)copy.data);
	expect_rows(copy, rows, "without the segment of the table, too");
	header->e_shoff = header->e_shnum = header->e_shstrndx = 0;
	expect_rows(file, rows, "and without section headers");
	drop_eh_frame_segment(header);
	f = NULL;
	ok(elf_file_open_memory(file.data, file.len, &f, NULL) == 0 &&
		   elf_file_eh_frame(f, &data, &len, &address) == -ENOENT,
	   "without either it has none");
	elf_file_close(f);
	ok(elf_file_open_memory((const uint8_t *)"no", 2, &f, NULL) == -ENOEXEC,
	   "2 bytes of memory are no ELF file");
	free(copy.data);
}

static void test_vdso(void)
{
	struct eh_frame_rows rows = {0};
	struct elf_symbol symbol = {0};
	struct elf_file *f = NULL;
	size_t len;
	const uint8_t *image = vdso_image(&len);
	bool read;

	if (!image) {
		diag("no vdso");
		return;
	}
	read = elf_file_open_memory(image, len, &f, NULL) == 0 && rows_of(f, &rows);
	ok(read && is_sound(&rows) && rows.n > 2, "the vdso of %zu bytes has %zu rows", len,
	   rows.n);
	ok(f && elf_file_find_function(f, "__vdso_clock_gettime", &symbol) &&
		   eh_frame_rule_at(&rows, symbol.address) == PLAIN(SP, 8),
	   "at the entry of its clock it is rsp + 8");
	eh_frame_rows_release(&rows);
	elf_file_close(f);
}

/* ---- damaged ones --------------------------------------------------------------- */

#define PART_BYTES 8192 /* most cases take so much of the table: time is for more of them */

static void damage(uint8_t *bytes, size_t len)
{
	size_t n = 1 + random_below(16);

	for (size_t i = 0; i < n; i++) {
		size_t at = random_below(4) ? random_below(len) : random_below(len < 64 ? len : 64);

		bytes[at] = random_below(3)   ? (uint8_t)random_u64()
			    : random_below(2) ? 0xff
					      : (uint8_t)(bytes[at] ^ 1u << random_below(8));
	}
}

static void test_damaged(const uint8_t *data, size_t len, uint64_t address)
{
	const char *text = getenv("HEAPTRAIL_CASES");
	size_t cases = text ? strtoul(text, NULL, 0) : 10000, tables = 0, skipped = 0;
	uint8_t *copy = xmalloc(len);
	uint64_t start = clock_now_ns();
	bool fine = true;

	for (size_t i = 0; i < cases && fine; i++) {
		size_t part = i % 100 && len > PART_BYTES ? 1 + random_below(PART_BYTES) : len;
		struct eh_frame_rows r = {0}, again = {0};
		int status;

		memcpy(copy, data, part);
		damage(copy, part);
		status = parse(copy, part, address, &r);
		fine = is_sound(&r) && (status == 0 || (status == -EINVAL && !r.n));
		if (i % 10 == 0)
			fine = fine && parse(copy, part, address, &again) == status &&
			       same_rows(&r, &again);
		tables += status == 0;
		skipped += r.skipped;
		if (!fine)
			diag("case %zu", i);
		eh_frame_rows_release(&r);
		eh_frame_rows_release(&again);
	}
	ok(fine && (tables || !cases),
	   "%zu damaged tables do no harm: %zu were read, but for %zu records; %.1f s", cases,
	   tables, skipped, (double)(clock_now_ns() - start) / 1e9);
	free(copy);
}

static void test_real(void)
{
	struct eh_frame_rows rows = {0};
	struct elf_file *f = NULL;
	struct bytes file = {0};
	char path[4096] = "";
	uint64_t address;
	uint8_t *data;
	size_t len;

	if (!ok(find_libc(path, sizeof(path)) && read_whole(path, &file) &&
			elf_file_open(path, &f, NULL) == 0 && rows_of(f, &rows) &&
			elf_file_eh_frame(f, &data, &len, &address) == 0,
		"the unwind table of our C library, '%s'", path))
		goto out;
	test_libc_rows(f, &rows);
	test_copies(file, &rows);
	test_damaged(data, len, address);
	free(data);
out:
	eh_frame_rows_release(&rows);
	elf_file_close(f);
	free(file.data);
}

int main(void)
{
	seed_random();
	test_programs();
	test_depth();
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
	test_real();
	test_vdso();
	return done();
}
