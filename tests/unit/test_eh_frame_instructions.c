/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instructions of .eh_frame, in hand-made functions. */
#include "config.h"

#include <string.h>

#include "common/xalloc.h"
#include "image/unwind_rule.h"
#include "tests/unit/eh_frame_fixture.h"
#include "tests/unit/tap.h"

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

int main(void)
{
	test_programs();
	test_depth();
	return done();
}
