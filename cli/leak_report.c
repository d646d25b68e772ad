/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/leak_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/layer_report.h"
#include "cli/stack_view.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/hash.h"
#include "common/xalloc.h"

uint64_t leak_report_end_ns(const struct view *v)
{
	return view_is_past(v) ? v->window.until_ns : view_start_ns(v) + view_duration_ns(v);
}

/* How old what was allocated then is. */
static uint64_t age_ns(const struct leak_report *r, uint64_t t_ns)
{
	uint64_t end = leak_report_end_ns(r->view);

	return end > t_ns ? end - t_ns : 0;
}

/* ---- text --------------------------------------------------------------------------- */

/* "12 frames, by load_file", in so many columns; 0: as it is. */
static void print_whose(const struct view *v, const struct row *r, int columns)
{
	int used = stack_view_print_depth(v, r->stack) + 5;

	if (!r->function && !r->module.v)
		return; /* of no frame */
	fputs(", by ", stdout);
	print_cut(r->name, !columns ? 0 : columns - used < 12 ? 12 : columns - used);
}

static bool has_frames(const struct leak_report *r)
{
	return r->options->by == ROWS_BY_STACK && stacks_have_frames(&r->view->stacks);
}

/* "21 x 456 B", "16 B to 4.00 KiB each": sizes and ages. */
static void print_details(const struct leak_report *r, const struct leak *l)
{
	uint64_t n = l->row->totals.live_blocks;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX];
	bool exact = r->options->bytes;

	fputs("    ", stdout);
	if (l->kind)
		printf("%s: ", block_kind_text(l->kind));
	if (l->min_size == l->max_size)
		printf("%s x %s%s", format_count(a, n), view_bytes(b, l->min_size, exact),
		       exact ? " bytes" : "");
	else
		printf("%s to %s%s each", view_bytes(a, l->min_size, exact),
		       view_bytes(b, l->max_size, exact), exact ? " bytes" : "");
	if (n == 1)
		printf(", %s old\n", format_duration(a, age_ns(r, l->row->oldest_ns)));
	else
		printf(", %s to %s old, median %s\n",
		       format_duration(a, age_ns(r, l->row->newest_ns)),
		       format_duration(b, age_ns(r, l->row->oldest_ns)),
		       format_duration(c, age_ns(r, l->median_ns)));
}

static void print_leak(const struct leak_report *r, const struct leak *l)
{
	const struct row *row = l->row;
	char bytes[FORMAT_MAX], blocks[FORMAT_MAX];
	int width = output_width() - 27;

	printf("%15s %9s  ", view_bytes(bytes, row->totals.live_bytes, r->options->bytes),
	       format_count(blocks, row->totals.live_blocks));
	if (!has_frames(r))
		print_cut(row->name, r->options->wide ? 0 : width < 12 ? 12 : width);
	else
		print_whose(r->view, row, r->options->wide ? 0 : width);
	putchar('\n');
	print_details(r, l);
}

/* Returns whether frames were left out. */
static bool print_leaks(const struct leak_report *r)
{
	const struct leaks *l = r->leaks;
	struct stack_view_options frames = {r->options->frames, r->options->wide};
	size_t n = r->options->rows && r->options->rows < l->n_shown ? r->options->rows
								     : l->n_shown;
	bool left_out = false;
	char count[FORMAT_MAX];

	for (size_t i = 0; i < n; i++) {
		if (i && has_frames(r))
			putchar('\n');
		print_leak(r, &l->items[i]);
		if (has_frames(r))
			left_out |= stack_view_print(r->view, l->items[i].row->stack, &frames);
	}
	if (n < l->n_shown)
		printf("%s  and %s more (--rows 0 shows all)\n", has_frames(r) ? "\n" : "",
		       format_count(count, l->n_shown - n));
	return left_out;
}

static void print_filter_kinds(unsigned int kinds)
{
	const char *between = "";

	printf("  Only        blocks that are ");
	for (int i = 0; i < BLOCK_KINDS; i++) {
		if (!(kinds >> i & 1))
			continue;
		printf("%s%s", between, block_kind_text((enum block_kind)i));
		between = ", ";
	}
	putchar('\n');
}

/* Which blocks are shown, where it is not all. */
static void print_filter(const struct leak_report *r)
{
	const struct leak_options *o = r->options;
	const struct view *v = r->view;
	char a[FORMAT_MAX];

	if (o->min_size)
		printf("  Only        blocks of %s or more\n",
		       view_bytes(a, o->min_size, o->bytes));
	if (o->kinds)
		print_filter_kinds(o->kinds);
	if (o->older_ns)
		printf("  Only        blocks that were %s old or older\n",
		       format_duration(a, o->older_ns));
	if (v->window.since_ns)
		printf("  Only        blocks allocated from %s on\n",
		       format_duration(a, view_since_start(v, v->window.since_ns)));
	if (o->when.later_is_in)
		printf("  Only        blocks allocated until %s\n",
		       format_duration(a, o->when.until_ns));
}

static uint64_t doubtful(const struct leak_report *r, const char *key)
{
	int64_t n = catalog_number(&r->view->catalog, key, 0);

	return n > 0 ? (uint64_t)n : 0;
}

/* How much of each kind there is, and what that is worth. */
static void print_kinds(const struct leak_report *r)
{
	const struct reachability_record *k = &r->kinds->record;
	const char *failed = catalog_text(&r->view->catalog, REACHABILITY_FAILED_KEY);
	char safe[400];
	char a[FORMAT_MAX], b[FORMAT_MAX];

	if (failed)
		printf("  NOTE: nobody knows what points to them: %s\n",
		       format_safe(safe, sizeof(safe), failed));
	if (!r->kinds->is_there)
		return;
	for (int i = BLOCK_DEFINITE; i <= BLOCK_KINDS; i++) {
		int kind = i % BLOCK_KINDS; /* those that were not looked at last */

		if (r->leaks->kinds[kind].blocks || kind == BLOCK_DEFINITE)
			printf("  %-16s %s in %s blocks\n", block_kind_text((enum block_kind)kind),
			       view_bytes(a, r->leaks->kinds[kind].bytes, r->options->bytes),
			       format_count(b, r->leaks->kinds[kind].blocks));
	}
	printf("  Looked at   %s after the start, for %s\n",
	       format_duration(a, view_since_start(r->view, k->t_ns)),
	       format_duration(b, k->held_ns));
	if (k->flags & REACHABILITY_DOUBTFUL)
		printf("  NOTE: to %s in %s blocks of what is possibly lost only memory points of "
		       "which it is not known whether it is the program's or the allocator's: "
		       "record --mmap tells, but for glibc's malloc\n",
		       view_bytes(a, doubtful(r, REACHABILITY_DOUBTFUL_BYTES_KEY),
				  r->options->bytes),
		       format_count(b, doubtful(r, REACHABILITY_DOUBTFUL_BLOCKS_KEY)));
	if (k->flags & REACHABILITY_CAUTIOUS)
		printf("  NOTE: blocks that were not seen may point to these: what is reachable "
		       "here may be lost\n");
}

/* What was suppressed, and by what. */
static void print_suppressed(const struct leak_report *r)
{
	const struct suppressions *s = r->suppressions;
	bool exact = r->options->bytes;
	char bytes[FORMAT_MAX], blocks[FORMAT_MAX];

	if (!r->leaks->suppressed_blocks)
		return;
	printf("\n%15s %9s  SUPPRESSED BY\n", "BYTES", "BLOCKS");
	for (size_t i = 0; i < s->n; i++) {
		const struct suppression *x = &s->items[i];

		if (!x->blocks)
			continue;
		printf("%15s %9s  ", view_bytes(bytes, x->bytes, exact),
		       format_count(blocks, x->blocks));
		print_cut(x->name, r->options->wide ? 0 : output_width() - 27);
		putchar('\n');
	}
}

static void print_head(const struct leak_report *r)
{
	const struct view *v = r->view;
	const struct leaks *l = r->leaks;
	uint64_t blocks = l->blocks - l->suppressed_blocks;
	bool exact = r->options->bytes;
	char a[FORMAT_MAX], b[FORMAT_MAX];

	printf("%s %s in %s blocks%s\n",
	       view_is_past(v) ? "Live then:" : view_exited(v) ? "Leaked" : "Unfreed so far",
	       view_bytes(a, l->bytes - l->suppressed_bytes, exact), format_count(b, blocks),
	       view_lost_events(v) ? "; events were lost: the numbers are incomplete" : "");
	if (l->suppressed_blocks)
		printf("  Suppressed  %s in %s blocks besides\n",
		       view_bytes(a, l->suppressed_bytes, exact),
		       format_count(b, l->suppressed_blocks));
	print_kinds(r);
	print_filter(r);
	stack_view_print_health(v);
	view_print_small(v, "");
	view_print_dropped(v, "");
	view_print_state_warnings(v);
	view_print_no_allocator(v, "WARNING: ");
}

int leak_report_print(const struct leak_report *r, struct err *err)
{
	const struct leak_options *o = r->options;
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";

	if (layer_report_is_counted(r->view))
		return layer_report_print_references(
			r->view, o->rows, &(struct stack_view_options){o->frames, o->wide}, err);
	print_head(r);
	if (r->leaks->n_shown) {
		printf("\n%s%15s %9s  %s%s\n", on, "BYTES", "BLOCKS", "ALLOCATED BY", off);
		if (print_leaks(r))
			stack_view_print_hint();
	}
	print_suppressed(r);
	return 0;
}

/* ---- JSON --------------------------------------------------------------------------- */

static void json_filter(const struct leak_report *r, struct json *j)
{
	const struct leak_options *o = r->options;
	bool is_any = o->min_size || o->older_ns || o->when.later_is_in || o->kinds;

	if (!is_any) {
		json_string(j, "filter", NULL);
		return;
	}
	json_begin_object(j, "filter");
	json_u64(j, "min_size", o->min_size);
	json_u64(j, "older_ns", o->older_ns);
	if (o->when.later_is_in)
		json_u64(j, "until_ns", o->when.until_ns);
	else
		json_string(j, "until_ns", NULL);
	json_begin_array(j, "kinds");
	for (int i = BLOCK_DEFINITE; i < BLOCK_KINDS; i++)
		if (!o->kinds || o->kinds >> i & 1)
			json_string(j, NULL, block_kind_name((enum block_kind)i));
	json_end_array(j);
	json_end_object(j);
}

/* Null where nobody looked. */
static void json_reachability(const struct leak_report *r, struct json *j)
{
	const struct reachability_record *k = &r->kinds->record;

	json_string(j, "reachability_failed",
		    catalog_text(&r->view->catalog, REACHABILITY_FAILED_KEY));
	if (!r->kinds->is_there) {
		json_string(j, "reachability", NULL);
		return;
	}
	json_begin_object(j, "reachability");
	json_u64(j, "time_ns", view_since_start(r->view, k->t_ns));
	json_u64(j, "held_ns", k->held_ns);
	json_u64(j, "read_bytes", k->read_bytes);
	json_bool(j, "at_exit", k->flags & REACHABILITY_AT_EXIT);
	json_bool(j, "cautious", k->flags & REACHABILITY_CAUTIOUS);
	json_begin_object(j, "doubtful");
	json_u64(j, "bytes", doubtful(r, REACHABILITY_DOUBTFUL_BYTES_KEY));
	json_u64(j, "blocks", doubtful(r, REACHABILITY_DOUBTFUL_BLOCKS_KEY));
	json_end_object(j);
	for (int i = 0; i < BLOCK_KINDS; i++) {
		const char *name = block_kind_name((enum block_kind)i);

		json_begin_object(j, name ? name : "not_looked_at");
		json_u64(j, "bytes", r->leaks->kinds[i].bytes);
		json_u64(j, "blocks", r->leaks->kinds[i].blocks);
		json_end_object(j);
	}
	json_end_object(j);
}

static void json_leak(const struct leak_report *r, const struct leak *l, struct json *j)
{
	const struct view *v = r->view;
	const struct row *row = l->row;

	json_begin_object(j, NULL);
	json_u64(j, "bytes", row->totals.live_bytes);
	json_u64(j, "blocks", row->totals.live_blocks);
	json_string(j, "kind", block_kind_name(l->kind));
	json_u64(j, "min_size", l->min_size);
	json_u64(j, "max_size", l->max_size);
	json_u64(j, "oldest_ns", view_since_start(v, row->oldest_ns));
	json_u64(j, "newest_ns", view_since_start(v, row->newest_ns));
	json_u64(j, "oldest_age_ns", age_ns(r, row->oldest_ns));
	json_u64(j, "median_age_ns", age_ns(r, l->median_ns));
	json_u64(j, "newest_age_ns", age_ns(r, row->newest_ns));
	json_string(j, "suppressed_by", l->suppressed_by ? l->suppressed_by->name : NULL);
	if (r->options->by == ROWS_BY_STACK)
		json_u64(j, "stack", row->stack.v);
	json_string(j, "function", row->function);
	json_string(j, "file", row->file);
	json_u64(j, "line", row->line);
	if (r->options->by == ROWS_BY_STACK) {
		stack_view_json_truncated(v, row->stack, j);
		stack_view_json_frames(v, row->stack, j);
	} else {
		json_string(j, "module", catalog_module_path(&v->catalog, row->module));
	}
	json_end_object(j);
}

static void json_suppressions(const struct leak_report *r, struct json *j)
{
	const struct suppressions *s = r->suppressions;

	json_begin_array(j, "suppressions");
	for (size_t i = 0; i < s->n; i++) {
		const struct suppression *x = &s->items[i];

		if (!x->blocks && x->origin == SUPPRESSION_BUILT_IN)
			continue;
		json_begin_object(j, NULL);
		json_string(j, "name", x->name);
		json_string(j, "file", x->origin == SUPPRESSION_BUILT_IN ? NULL : x->file);
		json_u64(j, "line", x->line);
		json_u64(j, "bytes", x->bytes);
		json_u64(j, "blocks", x->blocks);
		json_end_object(j);
	}
	json_end_array(j);
}

int leak_report_json(const struct leak_report *r, FILE *out, struct err *err)
{
	const struct view *v = r->view;
	const struct leaks *l = r->leaks;
	struct json j = {.out = out};
	int status = 0;

	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-leaks/1");
	view_json_recording(v, &j);
	json_string(&j, "word", view_leak_word(v));
	json_string(&j, "layer", v->layer);
	json_string(&j, "by", rows_by_text(r->options->by));
	json_filter(r, &j);
	json_reachability(r, &j);
	json_u64(&j, "total_bytes", l->bytes);
	json_u64(&j, "total_blocks", l->blocks);
	json_u64(&j, "suppressed_bytes", l->suppressed_bytes);
	json_u64(&j, "suppressed_blocks", l->suppressed_blocks);
	json_u64(&j, "lost_events", view_lost_events(v));
	json_begin_array(&j, "leaks");
	for (size_t i = 0; i < l->n; i++)
		json_leak(r, &l->items[i], &j);
	json_end_array(&j);
	json_suppressions(r, &j);
	if (layer_report_is_counted(v))
		status = layer_report_json_references(v, &j, err);
	json_end_object(&j);
	return status;
}

/* ---- suppressions for what is shown ------------------------------------------------- */

#define SUPPRESSION_LINES_MAX 24 /* valgrind takes no more */

/* valgrind wants names as the linker knows them: of these it is known. */
static const char *linkage_name(const char *function)
{
	static const char *const names[][2] = {
		{"operator new(unsigned long)", "_Znwm"},
		{"operator new[](unsigned long)", "_Znam"},
		{"operator new(unsigned long, std::nothrow_t const&)", "_ZnwmRKSt9nothrow_t"},
		{"operator new[](unsigned long, std::nothrow_t const&)", "_ZnamRKSt9nothrow_t"},
	};

	for (size_t i = 0; function && i < COUNT_OF(names); i++)
		if (!strcmp(function, names[i][0]))
			return names[i][1];
	return NULL;
}

static void append_line(struct buffer *b, const char *key, const char *name)
{
	size_t size = strlen(key) + strlen(name) + 5;
	char *line = xmalloc(size);
	int n = snprintf(line, size, "   %s", key);

	format_safe(line + n, size - (size_t)n, name);
	buffer_append(b, line, strlen(line));
	buffer_append(b, "\n", 1);
	free(line);
}

/* The lines of its frames. */
static void append_frames(struct buffer *b, const struct catalog *c, const struct stack_walk *w)
{
	size_t n = 0;

	/* our stacks begin with who called malloc, valgrind's with malloc or operator new */
	if (!w->n || !linkage_name(catalog_frame(c, w->frames[0])->function)) {
		append_line(b, "fun:", "*");
		n++;
	}
	for (size_t i = 0; i < w->n && n < SUPPRESSION_LINES_MAX; i++, n++) {
		const struct catalog_frame *f = catalog_frame(c, w->frames[i]);
		const char *module = catalog_module_path(c, f->module);
		const char *linkage = linkage_name(f->function);

		if (f->function)
			append_line(b, "fun:", linkage ? linkage : f->function);
		else
			append_line(b, "obj:", module ? module : "???");
	}
	buffer_append(b, "", 1);
}

void leak_report_suppressions(const struct leak_report *r)
{
	const struct catalog *c = &r->view->catalog;
	struct hashmap seen = {0}; /* stacks may differ in lines only */
	struct buffer b = {0};
	struct stack_walk w;

	for (size_t i = 0; i < r->leaks->n_shown; i++) {
		const struct row *row = r->leaks->items[i].row;
		const char *kind = block_kind_name(r->leaks->items[i].kind);
		uint32_t *place;

		stacks_walk(c, row->stack, &w);
		buffer_reset(&b);
		append_line(&b, "match-leak-kinds: ", kind ? kind : "all");
		append_frames(&b, c, &w);
		place = hashmap_put(&seen, hash_bytes(b.data, b.len));
		if (*place != HASHMAP_NONE)
			continue;
		*place = 0;
		printf("{\n   leak of ");
		print_cut(row->name, 0);
		printf("\n   Memcheck:Leak\n%s}\n", (char *)b.data);
	}
	hashmap_release(&seen);
	buffer_release(&b);
}
