/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <errno.h>
#include <stdio.h>

#include "cli/growth_report.h"
#include "cli/leak_options.h"
#include "cli/leak_report.h"
#include "cli/leak_sarif.h"
#include "cli/one_shot.h"
#include "cli/rotated.h"
#include "cli/suppression_files.h"

/* ---- the report ----------------------------------------------------------------------- */

static int write_sarif(const struct leak_report *r, FILE *out, struct err *err)
{
	(void)err;
	leak_report_sarif(r, out);
	return 0;
}

/* To @path, or to standard output. */
static int write_to(const char *path, const struct leak_report *r,
		    int (*write)(const struct leak_report *, FILE *, struct err *),
		    struct err *err)
{
	FILE *out = path ? fopen(path, "we") : stdout;
	int status;

	if (!out)
		return err_set(err, ERR_FAILED, errno, "cannot write '%s'", path);
	status = write(r, out, err);
	if (path && fclose(out) && !status)
		status = err_set(err, ERR_FAILED, errno, "cannot write '%s'", path);
	return status;
}

/* Each way that was asked for; text where nothing else goes to standard output. */
static int show(const struct leak_report *r, struct err *err)
{
	const struct leak_options *o = r->options;
	bool is_taken = (o->json && !o->json_path) || (o->sarif && !o->sarif_path);
	int status = 0;

	if (o->json)
		status = write_to(o->json_path, r,
				  r->growth ? growth_report_json : leak_report_json, err);
	if (!status && o->sarif)
		status = write_to(o->sarif_path, r, write_sarif, err);
	if (status)
		return status;
	if (is_taken)
		view_warn_if_incomplete(r->view);
	else if (o->generate)
		leak_report_suppressions(r);
	else if (r->growth)
		growth_report_print(r);
	else
		status = leak_report_print(r, err);
	return status;
}

static struct leak_filter filter_of(const struct leak_options *o, const struct view *v)
{
	uint64_t end = leak_report_end_ns(v), start = view_start_ns(v);
	struct leak_filter f = {.until_ns = UINT64_MAX, .min_size = o->min_size,
				.kinds = o->kinds};

	if (o->when.later_is_in)
		f.until_ns = start + o->when.until_ns;
	if (o->older_ns) {
		uint64_t until = end > o->older_ns ? end - o->older_ns : 0;

		f.until_ns = until < f.until_ns ? until : f.until_ns;
	}
	return f;
}

struct verdict {
	bool has_leaks; /* that are shown */
	bool is_failed; /* a condition of --fail-if is met */
};

/* What the report needs of the recording @path; @windows: NULL, or for what grows. */
static int open_view(const struct leak_options *o, const char *path, struct leak_blocks *blocks,
		     struct growth_windows *windows, struct view *v)
{
	struct err err;

	if (view_open_growth(v, path, &o->when, blocks, windows, &err) < 0)
		return print_error(&err);
	if (o->kinds && !blocks->kinds.is_there) {
		err_set(&err, ERR_FAILED, 0, "cannot tell kinds: nobody looked at what points to "
			"these blocks");
		err_hint(&err, "heaptrail record --reachable looks, at the end of a recording");
		view_close(v);
		return print_error(&err);
	}
	if (!o->no_symbolize)
		view_complete_names(v);
	return 0;
}

/* The report itself, and what it says of the conditions; 0, or the exit status. */
static int report_on(struct leak_report *r, struct leaks *leaks, struct leak_blocks *blocks,
		     struct growth_windows *windows, struct suppressions *suppressions,
		     struct verdict *ret)
{
	const struct leak_options *o = r->options;
	struct leak_filter filter = filter_of(o, r->view);
	struct growth_found growth = {.from_ns = 0};
	struct err err;
	int status;

	if (windows)
		growth_find(&growth, r->view, r->own, windows, blocks, suppressions, o->warmup_ns,
			    o->by, o->json ? GROWTH_OTHERS_MAX : GROWTH_OTHERS_SHOWN);
	r->growth = o->growth ? &growth : NULL;
	if (!o->growth || o->gates.n)
		leaks_make(leaks, &r->view->catalog, r->own, blocks, &filter, suppressions, o->by);
	ret->has_leaks = o->growth ? growth.sites.n_growing > growth.n_suppressed
				   : leaks->n_shown > 0;
	status = show(r, &err);
	fflush(stdout);
	ret->is_failed = gates_judge(&o->gates, r->view, r->own, leaks, blocks,
				     windows ? &growth : NULL);
	growth_found_release(&growth);
	return status ? print_error(&err) : 0;
}

/* Of the recording @path.  Returns the exit status, without regard to *@ret. */
static int report(const struct leak_options *o, const char *path,
		  struct suppressions *suppressions, struct verdict *ret)
{
	struct growth_windows *windows = NULL;
	struct leak_blocks blocks = {0};
	struct leaks leaks = {0};
	struct view v;
	struct own own;
	struct leak_report r = {.options = o, .suppressions = suppressions, .view = &v,
				.own = &own, .leaks = &leaks, .kinds = &blocks.kinds};
	int status;

	if (o->growth || gates_need_growth(&o->gates))
		windows = growth_windows_new(GROWTH_BYTES);
	status = open_view(o, path, &blocks, windows, &v);
	if (!status) {
		own_init(&own, &v.catalog, o->skip, o->n_skip);
		status = report_on(&r, &leaks, &blocks, windows, suppressions, ret);
		own_release(&own);
		suppression_files_say_unused(suppressions);
		leaks_release(&leaks);
		view_close(&v);
	}
	leak_blocks_release(&blocks);
	growth_windows_free(windows);
	return status;
}

/* ---- a recording of our own ----------------------------------------------------------- */

struct one_shot {
	const struct leak_options *options;
	struct suppressions *suppressions;
	struct verdict *verdict;
};

static int report_once(void *arg, const char *path)
{
	const struct one_shot *s = arg;

	return report(s->options, path, s->suppressions, s->verdict);
}

/* `leaks -- COMMAND` and `leaks -p PID`. */
static int record(struct leak_options *o, struct suppressions *suppressions, struct verdict *ret)
{
	struct one_shot s = {.options = o, .suppressions = suppressions, .verdict = ret};

	return one_shot_record(&o->session, o->as_root, report_once, &s);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct suppressions suppressions = {0};
	struct leak_options o;
	struct verdict verdict = {0};
	const char *path;
	struct err err;
	int status;

	status = leak_options_parse(c, argc, argv, &o);
	if (!status && !o.done) {
		/* what is wrong with them is said before anything runs */
		if (suppression_files_read(&suppressions, &o.suppressions, &err) < 0)
			status = print_error(&err);
		else if (!o.n_paths)
			status = record(&o, &suppressions, &verdict);
		else if (rotated_find(o.paths, o.n_paths, &o.when, &path, &err) < 0)
			status = print_error(&err);
		else
			status = report(&o, path, &suppressions, &verdict);
		if (verdict.is_failed && !status)
			status = GATES_FAILED;
		if (verdict.has_leaks && o.error_exit && status != ERR_FAILED)
			status = o.error_exit;
	}
	suppressions_release(&suppressions);
	leak_options_release(&o);
	return status;
}

const struct command command_leaks = {
	.name = "leaks",
	.summary = "blocks that were never freed",
	.help = leak_options_help,
	.run = run,
};
