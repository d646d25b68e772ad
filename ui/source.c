/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/rows.h"
#include "common/xalloc.h"

#define SOURCE_BYTES_MAX (64 << 20)

enum { SOURCE_LIVE, SOURCE_PEAK, SOURCE_ALLOCATED, SOURCE_CALLS, SOURCE_LINE };

static const struct column columns[] = {
	[SOURCE_LIVE] = {"LIVE", COLUMN_BYTES, 9, 0},
	[SOURCE_PEAK] = {"PEAK", COLUMN_BYTES, 9, 2},
	[SOURCE_ALLOCATED] = {"ALLOCATED", COLUMN_BYTES, 10, 3},
	[SOURCE_CALLS] = {"CALLS", COLUMN_COUNT, 11, 4},
	[SOURCE_LINE] = {"LINE", COLUMN_NUMBER, 6, 1},
};

struct line {
	uint32_t number;
	struct heap_totals totals;
};

static int by_number(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* What the lines of the file allocated, in their order; to be freed. */
static struct line *lines_of(struct ui *u, const char *file, size_t *ret_n)
{
	struct line *lines = NULL;
	size_t n = 0, cap = 0;
	struct analysis a;
	struct rows rows;

	history_analysis(u->history, GROUP_STACK, false, &a);
	rows_make(&rows, history_catalog(u->history), &a, &u->own, ROWS_BY_SOURCE_LINE, false);
	for (size_t i = 0; i < rows.n; i++) {
		const struct row *r = &rows.rows[i];

		if (!r->file || strcmp(r->file, file))
			continue;
		ARRAY_GROW(lines, cap, n);
		lines[n++] = (struct line){r->line, r->totals};
	}
	rows_release(&rows);
	if (n)
		qsort(lines, n, sizeof(*lines), by_number);
	*ret_n = n;
	return lines;
}

/* A regular file, and not a huge one: the path is the recording's, and may say anything. */
static FILE *open_source(const char *path, struct stat *ret_st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *f = NULL;

	if (fd >= 0 && fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode) &&
	    ret_st->st_size < SOURCE_BYTES_MAX)
		f = fdopen(fd, "r");
	else if (fd >= 0)
		errno = EFBIG;
	if (!f && fd >= 0)
		close(fd);
	return f;
}

static void put_line(struct table *t, uint64_t number, char *text, const struct line *line)
{
	struct table_row *r = table_add(t, text);

	r->key = number;
	r->values[SOURCE_LINE] = number;
	if (!line)
		return;
	r->values[SOURCE_LIVE] = line->totals.live_bytes;
	r->values[SOURCE_PEAK] = line->totals.peak_bytes;
	r->values[SOURCE_ALLOCATED] = line->totals.allocated_bytes;
	r->values[SOURCE_CALLS] = line->totals.alloc_calls;
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

static void put_source(struct table *t, FILE *f, const struct line *lines, size_t n)
{
	uint64_t number = 0;
	size_t next = 0, cap = 0;
	char *text = NULL;
	ssize_t len;

	while ((len = getline(&text, &cap, f)) >= 0) {
		const struct line *line = NULL;

		number++;
		for (; next < n && lines[next].number <= number; next++)
			if (lines[next].number == number)
				line = &lines[next];
		put_line(t, number, expand(text, len), line);
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
	struct line *lines;
	struct stat st;
	size_t n;
	FILE *f;

	t->columns = columns;
	t->n_columns = COUNT_OF(columns);
	t->is_ordered = true;
	t->text_title = "SOURCE";
	t->text_columns = 44;
	lines = lines_of(u, p->scope.file, &n);
	f = open_source(p->scope.file, &st);
	if (f) {
		put_source(t, f, lines, n);
		if (started_ns && st.st_mtime > started_ns / 1000000000)
			p->note = xstrdup("the source has changed since the recording: lines may "
					  "not match");
		fclose(f);
	} else {
		p->note = xasprintf("cannot read the source: %s", strerror(errno));
		for (size_t i = 0; i < n; i++)
			put_line(t, lines[i].number, xstrdup(""), &lines[i]);
	}
	free(lines);
	if (is_new && p->scope.line) {
		p->state.cursor_key = p->scope.line;
		p->state.has_key = true;
		p->state.cursor = 0;
		p->state.top = p->scope.line > 8 ? p->scope.line - 8 : 0;
		p->state.cursor = p->scope.line ? p->scope.line - 1 : 0;
	}
}
