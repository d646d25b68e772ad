/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/hints.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"

#define SKIPPED_SHOWN 5
#define NAMELESS_SHARE 0.01 /* a module that holds less is not worth a hint */
#define HINTS_MAX 8
#define PASTED_MAX 200

/* Programs that get pages from malloc and hand out blocks of their own. */
static const char python[] = "Python's blocks below 512 bytes are not malloc's: "
			     "PYTHONMALLOC=malloc shows them";
static const struct {
	const char *module, *hint;
} hiding[] = {
	{"python[0-9]*", python},
	{"libpython[0-9]*.so*", python},
	{"libglib-2.0.so*",
	 "GLib before 2.76 has slices of its own: G_SLICE=always-malloc shows them"},
	{"libapr-1.so*", "APR's pools take whole pages: blocks within them are not seen"},
};

struct hints {
	char *texts[HINTS_MAX];
	size_t n;
};

static void add_hint(struct hints *h, char *text)
{
	for (size_t i = 0; i < h->n; i++)
		if (!strcmp(h->texts[i], text)) {
			free(text);
			return;
		}
	if (h->n < HINTS_MAX)
		h->texts[h->n++] = text;
	else
		free(text);
}

static void hint_at_hiding(struct hints *h, const struct view *v)
{
	for (uint32_t m = 1; m < v->catalog.n_modules; m++) {
		const char *path = v->catalog.modules[m].path;

		for (size_t i = 0; path && i < COUNT_OF(hiding); i++)
			if (!fnmatch(hiding[i].module, path_base(path), 0))
				add_hint(h, xstrdup(hiding[i].hint));
	}
}

static void hint_at_suspect(struct hints *h, const struct view *v, const struct own *own)
{
	double share;
	const char *function = own_suspect(own, &v->analysis, &share);

	if (!function)
		return;
	/* ready to be pasted into a shell: of plain letters only */
	if (strlen(function) <= PASTED_MAX &&
	    function[strspn(function, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_:")] == '\0')
		add_hint(h, xasprintf("%.0f %% of all bytes come through %s: --skip '%s' shows its "
				      "callers", share * 100, function, function));
	else
		add_hint(h, xasprintf("%.0f %% of all bytes come through %s: --skip shows its "
				      "callers", share * 100, function));
}

static void hint_at_nameless(struct hints *h, const struct view *v, const struct own *own)
{
	struct nameless_list nameless;

	own_list_nameless(own, &v->analysis, &nameless);
	for (size_t i = 0; i < nameless.n; i++) {
		const char *path = catalog_module_path(&v->catalog, nameless.items[i].module);
		double share = (double)nameless.items[i].allocated_bytes /
			       (double)v->analysis.totals.allocated_bytes;

		if (!path || share < NAMELESS_SHARE)
			continue;
		add_hint(h, xasprintf("%s has no debug information: files and lines in it are not "
				      "known; 'heaptrail info' lists such files", path_base(path)));
		break;
	}
	own_nameless_release(&nameless);
}

static void find_hints(struct hints *h, const struct view *v, const struct own *own)
{
	h->n = 0;
	hint_at_suspect(h, v, own);
	hint_at_hiding(h, v);
	if (!v->lacks_names) /* else it is not known which have debug information */
		hint_at_nameless(h, v, own);
}

static void release_hints(struct hints *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->texts[i]);
}

static void print_skipped(const struct view *v, const struct own *own)
{
	struct skipped_list skipped;
	struct buffer text = {0};
	char safe[512], share[FORMAT_MAX];

	own_list_skipped(own, &v->analysis, &skipped);
	for (size_t i = 0; i < skipped.n && i < SKIPPED_SHOWN; i++) {
		char *item = xasprintf("%s%s (%s)", i ? ", " : "",
				       format_safe(safe, sizeof(safe), skipped.items[i].function),
				       format_percent(share, skipped.items[i].allocated_bytes,
						      v->analysis.totals.allocated_bytes));

		buffer_append(&text, item, strlen(item));
		free(item);
	}
	if (skipped.n) {
		char *rest = skipped.n > SKIPPED_SHOWN
				     ? xasprintf(" and %zu more", skipped.n - SKIPPED_SHOWN)
				     : xstrdup("");

		buffer_append(&text, rest, strlen(rest) + 1);
		free(rest);
		fputs("\nskipped: ", stdout);
		print_wrapped((const char *)text.data, 9);
	}
	buffer_release(&text);
	own_list_release(&skipped);
}

void hints_print(const struct view *v, const struct own *own)
{
	struct hints h;
	char safe[1024];

	print_skipped(v, own);
	find_hints(&h, v, own);
	for (size_t i = 0; i < h.n; i++) {
		fputs(i ? "hint: " : "\nhint: ", stdout);
		print_wrapped(format_safe(safe, sizeof(safe), h.texts[i]), 6);
	}
	release_hints(&h);
}

void hints_json(const struct view *v, const struct own *own, struct json *j)
{
	struct skipped_list skipped;
	struct hints h;

	own_list_skipped(own, &v->analysis, &skipped);
	json_begin_array(j, "skipped");
	for (size_t i = 0; i < skipped.n; i++) {
		json_begin_object(j, NULL);
		json_string(j, "function", skipped.items[i].function);
		json_bool(j, "by_user", skipped.items[i].reason == SKIP_USER);
		json_u64(j, "allocated_bytes", skipped.items[i].allocated_bytes);
		json_end_object(j);
	}
	json_end_array(j);
	own_list_release(&skipped);
	find_hints(&h, v, own);
	json_begin_array(j, "hints");
	for (size_t i = 0; i < h.n; i++)
		json_string(j, NULL, h.texts[i]);
	json_end_array(j);
	release_hints(&h);
}
