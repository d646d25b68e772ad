/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analyzer/source_lines.h"
#include "common/xalloc.h"

enum { SOURCE_LIVE, SOURCE_PEAK, SOURCE_ALLOCATED, SOURCE_CALLS, SOURCE_LINE };

static const struct column columns[] = {
	[SOURCE_LIVE] = {"LIVE", COLUMN_BYTES, 9, 0},
	[SOURCE_PEAK] = {"PEAK", COLUMN_BYTES, 9, 2},
	[SOURCE_ALLOCATED] = {"ALLOCATED", COLUMN_BYTES, 10, 3},
	[SOURCE_CALLS] = {"CALLS", COLUMN_COUNT, 11, 4},
	[SOURCE_LINE] = {"LINE", COLUMN_NUMBER, 6, 1},
};

static void put_line(struct table *t, uint64_t number, char *text, const struct source_line *line)
{
	struct table_row *r = table_add(t, text);

	r->key = number;
	r->values[SOURCE_LINE] = number;
	if (!line)
		return;
	r->values[SOURCE_LIVE] = line->totals->live_bytes;
	r->values[SOURCE_PEAK] = line->totals->peak_bytes;
	r->values[SOURCE_ALLOCATED] = line->totals->allocated_bytes;
	r->values[SOURCE_CALLS] = line->totals->alloc_calls;
	r->style = STYLE_STRONG;
}

/* Tabs as the columns they are for; to be freed. */
static char *expand(const char *text, ssize_t len)
{
	size_t tabs = 0, n = 0;
	char *out;

	for (ssize_t i = 0; i < len; i++)
		tabs += text[i] == '\t';
	out = xmalloc((size_t)len + 8 * tabs + 1);
	for (ssize_t i = 0; i < len && text[i] != '\n' && text[i] != '\r'; i++) {
		if (text[i] != '\t') {
			out[n++] = text[i] ? text[i] : '?';
			continue;
		}
		do
			out[n++] = ' ';
		while (n % 8);
	}
	out[n] = '\0';
	return out;
}

static void put_source(struct table *t, FILE *f, const struct source_line *lines, size_t n)
{
	uint64_t number = 0;
	size_t next = 0, cap = 0;
	char *text = NULL;
	ssize_t len;

	if (n && !lines[0].number)
		put_line(t, 0, xstrdup("[in no line]"), &lines[next++]);
	while ((len = getline(&text, &cap, f)) >= 0) {
		bool is_next = ++number && next < n && lines[next].number == number;

		put_line(t, number, expand(text, len), is_next ? &lines[next] : NULL);
		next += is_next;
	}
	free(text);
	for (; next < n; next++)
		put_line(t, lines[next].number, xstrdup("[the source ends before]"), &lines[next]);
}

void source_make(struct ui *u, struct page *p)
{
	int64_t started_ns =
		catalog_number(history_catalog(u->history), "start_realtime_ns", 0);
	struct table *t = &p->table;
	bool is_new = !p->state.has_key && !p->state.cursor;
	struct source_line *lines;
	struct analysis a;
	struct stat st;
	size_t n;
	FILE *f;

	t->columns = columns;
	t->n_columns = COUNT_OF(columns);
	t->is_ordered = true;
	t->text_title = "SOURCE";
	t->text_columns = 44;
	history_analysis(u->history, GROUP_STACK, false, &a);
	if (page_lacks_bytes(u, &a.totals))
		t->hidden = 1u << SOURCE_LIVE | 1u << SOURCE_PEAK | 1u << SOURCE_ALLOCATED;
	rows_make(&p->rows, history_catalog(u->history), &a, &u->own, ROWS_BY_SOURCE_LINE, false);
	lines = source_lines(&p->rows, p->scope.file, &n);
	f = source_open(p->scope.file);
	if (f) {
		put_source(t, f, lines, n);
		if (started_ns && fstat(fileno(f), &st) == 0 &&
		    st.st_mtime > started_ns / 1000000000)
			p->note = xstrdup("the source has changed since the recording: lines may "
					  "not match");
		fclose(f);
	} else {
		p->note = xasprintf("cannot read the source: %s", strerror(errno));
		for (size_t i = 0; i < n; i++)
			put_line(t, lines[i].number, xstrdup(""), &lines[i]);
	}
	free(lines);
	if (is_new && p->scope.line) { /* with some lines before it */
		p->state.cursor_key = p->scope.line;
		p->state.has_key = true;
		p->state.cursor = p->scope.line - 1;
		p->state.top = p->scope.line > 8 ? p->scope.line - 8 : 0;
	}
}
