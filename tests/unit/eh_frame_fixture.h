/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_EH_FRAME_FIXTURE_H
#define TESTS_UNIT_EH_FRAME_FIXTURE_H

#include <string.h>

#include "common/xalloc.h"
#include "image/unwind_rule.h"
#include "tests/unit/eh_frame_rows.h"
#include "tests/unit/tap.h"

/* Makes tables by hand, and looks at what the parser makes of them. */

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

static inline void put_hex(struct table *t, const char *hex)
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

static inline void put_number(struct table *t, uint64_t value, size_t len)
{
	memcpy(t->bytes + t->len, &value, len);
	t->len += len;
}

static inline void put_leb(struct table *t, uint64_t value)
{
	for (int i = 0; i < 9; i++, value >>= 7) /* never short, so that both kinds can be it */
		t->bytes[t->len++] = (uint8_t)(value | 0x80);
	t->bytes[t->len++] = 0;
}

static inline size_t begin(struct table *t)
{
	size_t at = t->len;

	if (t->long_lengths)
		put_number(t, UINT32_MAX, 4);
	put_number(t, 0, t->long_lengths ? 8 : 4);
	return at;
}

static inline void end(struct table *t, size_t at)
{
	size_t field = t->long_lengths ? 8 : 4, length_at = at + (t->long_lengths ? 4 : 0);
	uint64_t len = t->len - length_at - field;

	memcpy(t->bytes + length_at, &len, field);
}

/* A number of @encoding's format; relative to where it stands, if it is that. */
static inline void put_encoded(struct table *t, uint64_t value, uint8_t encoding)
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
static inline void put_raw_cie(struct table *t, const char *hex, uint8_t encoding, bool augmented)
{
	size_t at = t->cie = begin(t);

	put_number(t, 0, 4);
	put_hex(t, hex);
	end(t, at);
	t->encoding = encoding;
	t->augmented = augmented;
}

/* "zR", factors 1 and -8; def_cfa rsp 8, offset ra 1 */
static inline void put_cie(struct table *t, uint8_t encoding)
{
	char hex[80];

	snprintf(hex, sizeof(hex), "01 7a5200 01 78 10 01 %02x 0c0708 9001", encoding);
	put_raw_cie(t, hex, encoding, true);
}

static inline void put_fde(struct table *t, uint64_t start, uint64_t len, const char *hex)
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
static inline int parse(const uint8_t *bytes, size_t len, uint64_t address,
			struct eh_frame_rows *ret)
{
	uint8_t *copy = xmalloc(len);
	int r;

	memcpy(copy, bytes, len);
	r = eh_frame_parse(copy, len, address, ret);
	free(copy);
	return r;
}

/* What the header promises of any table. */
static inline bool is_sound(const struct eh_frame_rows *r)
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
static inline void expect(const char *name, const struct table *t, const struct eh_frame_row *rows,
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

#endif
