/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_TABLE_H
#define UI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ui/canvas.h"

/*
 * A table of columns: numbers at the left, a name at the right, which has what is left
 * of the width.  What is in it (struct table) is apart from how it is looked at (struct
 * table_state), so that new numbers come under a cursor that stays.
 */
enum column_kind {
	COLUMN_BYTES,
	COLUMN_COUNT,
	COLUMN_SHARE,	/* of the column that is sorted by in its total: in percent, with a bar */
	COLUMN_TIME,	/* ns */
	COLUMN_NUMBER,	/* without separators: a line, a thread */
	COLUMN_ADDRESS,
	COLUMN_WORD,	/* the value is the number of one of column.words */
};

#define TABLE_COLUMNS_MAX 10
#define TABLE_NO_VALUE UINT64_MAX /* the cell stays empty */

struct column {
	const char *title;
	enum column_kind kind;
	int width;
	int rank; /* where there is no room the highest goes first; 0 stays */
	const char *const *words; /* of COLUMN_WORD, as long as the table */
};

struct table_row {
	uint64_t values[TABLE_COLUMNS_MAX];
	char *text;	    /* the name; owned; NULL: the table's @make_text has not been asked */
	char *detail;	    /* behind it, less important; owned; may be NULL */
	uint64_t key;	    /* what the row is: the cursor stays on it */
	uint32_t item;	    /* the view's own */
	uint16_t depth;	    /* in a tree */
	bool has_children, is_open;
	uint8_t style;	    /* enum style, of the name */
};

struct table {
	const struct column *columns;
	size_t n_columns;
	const char *text_title;
	struct table_row *rows;
	size_t n, cap;
	unsigned int hidden; /* columns, by bits, that have nothing to say here */
	uint64_t totals[TABLE_COLUMNS_MAX]; /* what 100 % is; 0: a share in it means nothing */
	bool is_ordered; /* the order of the rows means something: it is not sorted */
	bool keeps_order; /* it is sorted already, by the column that the state says */
	int text_columns; /* for names before numbers give way; 0: the usual number */
	const char *empty; /* what to say where there are no rows */
	/*
	 * Where names take long to make: of rows that are added without one, when it is needed.
	 * What has equal values then comes in the order of the rows' keys.
	 */
	char *(*make_text)(void *arg, const struct table_row *r);
	void *text_arg;
};

#define TABLE_TEXT_MAX 128

struct table_state {
	size_t cursor, top;   /* places in @shown */
	uint64_t cursor_key;
	bool has_key;
	int sort; /* a column; TABLE_SORT_TEXT: the name */
	bool reverse;
	char filter[TABLE_TEXT_MAX]; /* only rows with it are shown */
	char search[TABLE_TEXT_MAX]; /* marked, and gone to */
	uint32_t *shown; /* [place] the row there */
	size_t n_shown, cap_shown;
};

#define TABLE_SORT_TEXT (-1)

void table_release(struct table *t);
/* There will be so many rows: room for them at once. */
void table_expect(struct table *t, size_t n);
/* A row at the end, all its values TABLE_NO_VALUE; it takes @text, NULL: see make_text. */
struct table_row *table_add(struct table *t, char *text);

void table_state_release(struct table_state *s);
/* Sorts and filters, and finds the row of the cursor again. */
void table_arrange(struct table *t, struct table_state *s);
/* NULL where nothing is shown. */
const struct table_row *table_at_cursor(const struct table *t, const struct table_state *s);
void table_move(const struct table *t, struct table_state *s, long by);
void table_move_to(const struct table *t, struct table_state *s, size_t place);
/* To the next row with what is searched for, from the cursor (@here: at it) on; false: none. */
bool table_search(const struct table *t, struct table_state *s, bool backwards, bool here);
/* Is the column there to be seen, where there is room? */
bool table_has_column(const struct table *t, int column);
/* Is @what in @text, whatever the case? */
bool text_has(const char *text, const char *what);

struct box {
	int row, col, rows, cols;
};

/* Draws heads and rows; moves s->top so that the cursor is seen. */
void table_draw(const struct table *t, struct table_state *s, struct canvas *c, struct box box);
/* Which row is at that line of the box, as table_draw() drew it?  False: none. */
bool table_place_at(const struct table_state *s, struct box box, int row, size_t *ret_place);
/* The column whose head is there, TABLE_SORT_TEXT for the name's; false: none. */
bool table_column_at(const struct table *t, struct box box, int col, int *ret_column);

/* All shown rows as CSV (RFC 4180), with exact numbers; to be freed. */
char *table_csv(const struct table *t, const struct table_state *s);

#endif
