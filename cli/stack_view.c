/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/stack_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"

#define INDENT 4
#define PLACE_COLUMNS 24 /* for the module, at the right edge */
#define NAME_COLUMNS_MIN 20
#define NAME_COLUMNS_USUAL 74 /* on wide terminals the module shall not be far off */

bool stack_view_parse_frames(const char *text, uint64_t *ret)
{
	if (strcmp(text, "all"))
		return parse_u64(text, STACK_FRAMES_MAX, ret);
	*ret = 0;
	return true;
}

/* ---- text --------------------------------------------------------------------------- */

/* Where no frames are wanted, no stack is worth a mark. */
static bool is_marked(const struct view *v, const struct stack_walk *w)
{
	return w->end != STACK_COMPLETE && stacks_have_frames(&v->stacks);
}

int stack_view_print_depth(const struct view *v, struct stack_id id)
{
	struct stack_walk w;

	stacks_walk(&v->catalog, id, &w);
	return printf("%zu frame%s", w.n, w.n == 1 ? "" : "s");
}

/* The function, or where it would be; marked where it has no frame of its own. */
static char *frame_text(const struct view *v, const struct catalog_frame *f)
{
	char *name = place_name(&v->catalog, f), *text;

	if (!f->is_inlined)
		return name;
	text = xasprintf("%s (inlined)", name);
	free(name);
	return text;
}

/* *@last is the place of the frame before: what is the same is not said again. */
static void print_frame(const struct view *v, struct frame_id id, bool wide, char **last)
{
	const struct catalog_frame *f = catalog_frame(&v->catalog, id);
	char *name = frame_text(v, f), *place = place_where(&v->catalog, f);
	bool is_new = place && (!*last || strcmp(place, *last));
	int room = output_width() - INDENT - (is_new ? PLACE_COLUMNS + 2 : 0), used;

	printf("%*s", INDENT, "");
	used = print_cut(name, wide ? 0 : room < NAME_COLUMNS_MIN ? NAME_COLUMNS_MIN : room);
	if (is_new) {
		room = room < NAME_COLUMNS_USUAL ? room : NAME_COLUMNS_USUAL;
		printf("%*s", used < room ? room - used + 2 : 2, "");
		print_cut(place, wide ? 0 : PLACE_COLUMNS);
	}
	putchar('\n');
	free(name);
	free(*last);
	*last = place;
}

static void print_repeated(const struct stack_line *line)
{
	char n[FORMAT_MAX];

	printf("%*s... ", INDENT + 2, "");
	if (line->cycle == 1)
		printf("%s more like this\n", format_count(n, line->n));
	else
		printf("these %zu again, %s times\n", line->cycle, format_count(n, line->n));
}

bool stack_view_print(const struct view *v, struct stack_id id,
		      const struct stack_view_options *o)
{
	struct stack_line lines[STACK_FRAMES_MAX];
	char *last = NULL, count[FORMAT_MAX];
	struct stack_walk w;
	bool left_out = false;
	size_t n;

	stacks_walk(&v->catalog, id, &w);
	n = stacks_lines(&v->catalog, &w, o->frames, lines);
	for (size_t i = 0; i < n; i++) {
		switch (lines[i].kind) {
		case STACK_LINE_FRAME:
			print_frame(v, w.frames[lines[i].n], o->wide, &last);
			break;
		case STACK_LINE_REPEATED:
			print_repeated(&lines[i]);
			break;
		case STACK_LINE_LEFT_OUT:
			printf("%*s... %s frames not shown\n", INDENT + 2, "",
			       format_count(count, lines[i].n));
			left_out = true;
			free(last);
			last = NULL;
			break;
		}
	}
	free(last);
	if (is_marked(v, &w))
		printf("%*s[truncated: %s]\n", INDENT, "", stacks_end_text(w.end));
	return left_out;
}

void stack_view_print_hint(void)
{
	puts("\nLong stacks are shortened (--frames all shows them whole).");
}

/* ---- for machines ------------------------------------------------------------------- */

void stack_view_json_truncated(const struct view *v, struct stack_id id, struct json *j)
{
	struct stack_walk w;

	stacks_walk(&v->catalog, id, &w);
	json_string(j, "truncated", stacks_end_name(w.end));
}

void stack_view_json_frames(const struct view *v, struct stack_id id, struct json *j)
{
	struct stack_walk w;

	stacks_walk(&v->catalog, id, &w);
	json_begin_array(j, "frames");
	for (size_t i = 0; i < w.n; i++) {
		const struct catalog_frame *f = catalog_frame(&v->catalog, w.frames[i]);

		if (!json_begin_once(j, w.frames[i].v))
			continue;
		json_string(j, "function", f->function);
		json_string(j, "file", f->file);
		json_u64(j, "line", f->line);
		json_string(j, "module", catalog_module_path(&v->catalog, f->module));
		json_u64(j, "offset", f->offset);
		json_bool(j, "inlined", f->is_inlined);
		json_end_once(j);
	}
	json_end_array(j);
}

/* Within quotes; a semicolon would look like another frame. */
static void print_csv_frame(const char *name)
{
	for (; *name; name++) {
		if (*name == '"')
			putchar('"');
		putchar(*name == ';' ? ':' : *name);
	}
}

void stack_view_print_csv(const struct view *v, struct stack_id id)
{
	struct stack_walk w;

	stacks_walk(&v->catalog, id, &w);
	putchar('"');
	if (is_marked(v, &w))
		printf("[truncated: %s]%s", stacks_end_text(w.end), w.n ? ";" : "");
	for (size_t i = w.n; i-- > 0;) {
		char *name = place_name(&v->catalog, catalog_frame(&v->catalog, w.frames[i]));

		print_csv_frame(name);
		if (i)
			putchar(';');
		free(name);
	}
	putchar('"');
}

/* ---- how complete they are ---------------------------------------------------------- */

/* "99.98 %": never 100 where it is not all. */
static void append_share(struct buffer *b, uint64_t part, uint64_t whole)
{
	uint64_t hundredths = (uint64_t)((double)part / (double)whole * 10000);
	char text[FORMAT_MAX];

	if (hundredths > 9999)
		hundredths = 9999;
	snprintf(text, sizeof(text), "%" PRIu64 ".%02" PRIu64 " %%", hundredths / 100,
		 hundredths % 100);
	buffer_append(b, text, strlen(text));
}

static void append_text(struct buffer *b, const char *text)
{
	buffer_append(b, text, strlen(text));
}

/* "99.98 % complete; 213 truncated (200 too deep, 13 without unwind information)" */
static char *describe_health(const struct stack_counts *s)
{
	uint64_t complete = s->ends[STACK_COMPLETE].alloc_calls;
	const char *between = " truncated (";
	struct buffer b = {0};
	char n[FORMAT_MAX];

	append_share(&b, complete, s->all.alloc_calls);
	append_text(&b, " complete; ");
	append_text(&b, format_count(n, s->all.alloc_calls - complete));
	for (unsigned int end = STACK_COMPLETE + 1; end < STACK_WALK_ENDS; end++) {
		if (!s->ends[end].alloc_calls)
			continue;
		append_text(&b, between);
		append_text(&b, format_count(n, s->ends[end].alloc_calls));
		append_text(&b, " ");
		append_text(&b, stacks_end_text(end));
		between = ", ";
	}
	buffer_append(&b, ")", 2);
	return (char *)b.data;
}

void stack_view_print_health(const struct view *v)
{
	const struct stack_counts *s = &v->stacks;
	char *text;

	if (s->ends[STACK_COMPLETE].alloc_calls == s->all.alloc_calls)
		return;
	if (!stacks_have_frames(s)) {
		puts(s->ends[STACK_CALLER].stacks ? "  Stacks      callers only"
						  : "  Stacks      not recorded");
		return;
	}
	text = describe_health(s);
	fputs("  Stacks      ", stdout);
	print_wrapped(text, 14);
	free(text);
}

void stack_view_json_health(const struct view *v, struct json *j)
{
	uint64_t complete = v->stacks.ends[STACK_COMPLETE].alloc_calls;

	json_u64(j, "stacks_complete", complete);
	json_u64(j, "stacks_truncated", v->stacks.all.alloc_calls - complete);
}
