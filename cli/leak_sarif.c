/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/leak_sarif.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/format.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/xalloc.h"

#define RESULTS_MAX 500 /* services take some megabytes, and show less */
#define RULE "heaptrail/leak"
#define ROOT_ID "SRCROOT"

struct writing {
	const struct leak_report *report;
	const struct catalog *catalog;
	struct json j;
	char *root; /* an absolute path without a slash at its end */
	struct hashmap fingerprints; /* how often each came */
};

/* ---- source files --------------------------------------------------------------------- */

/* What of @file is behind the source root; NULL where it is not below it. */
static const char *below_root(const struct writing *w, const char *file)
{
	size_t n = strlen(w->root);

	if (!file || !*file)
		return NULL;
	if (*file != '/') { /* relative to where it was compiled, which may be there */
		char *path = xasprintf("%s/%s", w->root, file);
		bool is_there = strncmp(file, "../", 3) && !access(path, F_OK);

		free(path);
		return is_there ? file : NULL;
	}
	return !strncmp(file, w->root, n) && file[n] == '/' && file[n + 1] ? file + n + 1 : NULL;
}

/* As a URI reference, with @before in front of it; to be freed. */
static char *uri_of(const char *before, const char *path)
{
	static const char digits[] = "0123456789ABCDEF";
	struct buffer b = {0};

	buffer_append(&b, before, strlen(before));
	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;
		char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};

		if (isalnum(c) || strchr("/-._~+", c))
			buffer_append(&b, path, 1);
		else
			buffer_append(&b, escaped, sizeof(escaped));
	}
	buffer_append(&b, "", 1);
	return (char *)b.data;
}

static void write_artifact(struct writing *w, const char *file)
{
	const char *relative = below_root(w, file);
	char *uri = relative ? uri_of("", relative) : uri_of(*file == '/' ? "file://" : "", file);

	json_begin_object(&w->j, "artifactLocation");
	json_string(&w->j, "uri", uri);
	if (relative)
		json_string(&w->j, "uriBaseId", ROOT_ID);
	json_end_object(&w->j);
	free(uri);
}

static void write_text(struct writing *w, const char *key, const char *text)
{
	json_begin_object(&w->j, key);
	json_string(&w->j, "text", text);
	json_end_object(&w->j);
}

/* A location; the members of a frame's, or those of a result's. */
static void write_location(struct writing *w, const char *key, const struct catalog_frame *f)
{
	const char *module = catalog_module_path(w->catalog, f->module);
	char *name = place_name(w->catalog, f);

	json_begin_object(&w->j, key);
	if (f->file || module) {
		json_begin_object(&w->j, "physicalLocation");
		write_artifact(w, f->file ? f->file : module);
		if (f->file && f->line) {
			json_begin_object(&w->j, "region");
			json_u64(&w->j, "startLine", f->line);
			json_end_object(&w->j);
		}
		json_end_object(&w->j);
	}
	json_begin_array(&w->j, "logicalLocations");
	json_begin_object(&w->j, NULL);
	json_string(&w->j, "fullyQualifiedName", name);
	json_string(&w->j, "kind", "function");
	json_end_object(&w->j);
	json_end_array(&w->j);
	write_text(w, "message", name);
	json_end_object(&w->j);
	free(name);
}

/* ---- results -------------------------------------------------------------------------- */

/*
 * The same in another run, and after changes elsewhere in the files: of functions and of files
 * below the root, without lines and addresses.
 */
static uint64_t fingerprint(struct writing *w, const struct stack_walk *stack)
{
	uint64_t h = 0;

	for (size_t i = 0; i < stack->n; i++) {
		const struct catalog_frame *f = catalog_frame(w->catalog, stack->frames[i]);
		const char *file = below_root(w, f->file);
		const char *module = catalog_module_path(w->catalog, f->module);
		const char *text = f->function ? f->function : module ? path_base(module) : "";

		h = hash_u64(h * 31 + hash_bytes(text, strlen(text)));
		if (file)
			h = hash_u64(h * 31 + hash_bytes(file, strlen(file)));
	}
	return h;
}

static void write_fingerprint(struct writing *w, const struct stack_walk *stack)
{
	uint64_t h = fingerprint(w, stack);
	uint32_t *times = hashmap_put(&w->fingerprints, h);
	char text[40];

	/* stacks that differ in lines only are told apart by their order */
	*times = *times == HASHMAP_NONE ? 1 : *times + 1;
	snprintf(text, sizeof(text), "%016" PRIx64 ":%" PRIu32, h, *times);
	json_begin_object(&w->j, "partialFingerprints");
	json_string(&w->j, "heaptrailStack/v1", text);
	json_end_object(&w->j);
}

static void write_stack(struct writing *w, const struct stack_walk *stack)
{
	json_begin_array(&w->j, "stacks");
	json_begin_object(&w->j, NULL);
	write_text(w, "message", "allocated by");
	json_begin_array(&w->j, "frames");
	for (size_t i = 0; i < stack->n; i++) {
		const struct catalog_frame *f = catalog_frame(w->catalog, stack->frames[i]);
		const char *module = catalog_module_path(w->catalog, f->module);

		json_begin_object(&w->j, NULL);
		write_location(w, "location", f);
		if (module)
			json_string(&w->j, "module", module);
		json_end_object(&w->j);
	}
	json_end_array(&w->j);
	json_end_object(&w->j);
	json_end_array(&w->j);
}

/* From main() to the allocation. */
static void write_flow(struct writing *w, const struct stack_walk *stack)
{
	json_begin_array(&w->j, "codeFlows");
	json_begin_object(&w->j, NULL);
	json_begin_array(&w->j, "threadFlows");
	json_begin_object(&w->j, NULL);
	json_begin_array(&w->j, "locations");
	for (size_t i = stack->n; i-- > 0;) {
		json_begin_object(&w->j, NULL);
		write_location(w, "location", catalog_frame(w->catalog, stack->frames[i]));
		json_end_object(&w->j);
	}
	json_end_array(&w->j);
	json_end_object(&w->j);
	json_end_array(&w->j);
	json_end_object(&w->j);
	json_end_array(&w->j);
}

/* Its own frame, or the next one outwards whose source file is below the root. */
static const struct catalog_frame *place_of(struct writing *w, const struct leak *l,
					    const struct stack_walk *stack)
{
	const struct row *row = l->row;
	size_t own = 0;

	for (size_t i = 0; i < stack->n; i++) {
		const struct catalog_frame *f = catalog_frame(w->catalog, stack->frames[i]);

		if (f->function == row->function && f->line == row->line &&
		    f->offset == row->offset) {
			own = i;
			break;
		}
	}
	for (size_t i = own; i < stack->n; i++) {
		const struct catalog_frame *f = catalog_frame(w->catalog, stack->frames[i]);

		if (below_root(w, f->file))
			return f;
	}
	return catalog_frame(w->catalog, stack->n ? stack->frames[own] : (struct frame_id){0});
}

/* What is certainly lost is worse than what may be in use yet. */
static const char *level_of(const struct view *v, const struct leak *l)
{
	if (l->kind == BLOCK_DEFINITE)
		return "error";
	if (l->kind == BLOCK_REACHABLE)
		return "note";
	if (l->kind)
		return "warning";
	return view_exited(v) && !view_is_past(v) ? "warning" : "note";
}

static void write_result(struct writing *w, const struct leak *l)
{
	const struct view *v = w->report->view;
	const struct heap_totals *t = &l->row->totals;
	char bytes[FORMAT_MAX], blocks[FORMAT_MAX], *text;
	struct stack_walk stack;

	stacks_walk(w->catalog, l->row->stack, &stack);
	text = xasprintf("%s in %s block%s %s, allocated by %s",
			 format_bytes(bytes, t->live_bytes), format_count(blocks, t->live_blocks),
			 t->live_blocks == 1 ? "" : "s",
			 l->kind ? block_kind_text(l->kind) : view_leak_word(v), l->row->name);
	json_begin_object(&w->j, NULL);
	json_string(&w->j, "ruleId", RULE);
	json_u64(&w->j, "ruleIndex", 0);
	json_string(&w->j, "level", level_of(v, l));
	write_text(w, "message", text);
	free(text);
	json_begin_array(&w->j, "locations");
	if (stack.n)
		write_location(w, NULL, place_of(w, l, &stack));
	json_end_array(&w->j);
	write_fingerprint(w, &stack);
	if (stack.n) {
		write_stack(w, &stack);
		write_flow(w, &stack);
	}
	json_begin_object(&w->j, "properties");
	json_u64(&w->j, "bytes", t->live_bytes);
	json_u64(&w->j, "blocks", t->live_blocks);
	if (l->kind)
		json_string(&w->j, "kind", block_kind_name(l->kind));
	json_end_object(&w->j);
	json_end_object(&w->j);
}

/* ---- the log -------------------------------------------------------------------------- */

static void write_tool(struct writing *w)
{
	struct json *j = &w->j;

	json_begin_object(j, "tool");
	json_begin_object(j, "driver");
	json_string(j, "name", "heaptrail");
	json_string(j, "version", PACKAGE_VERSION);
	json_begin_array(j, "rules");
	json_begin_object(j, NULL);
	json_string(j, "id", RULE);
	json_string(j, "name", "MemoryLeak");
	write_text(w, "shortDescription", "Memory that was never freed");
	write_text(w, "fullDescription", "Blocks that were allocated with this call stack and not "
		   "freed when the process exited, or until the recording ended.");
	write_text(w, "help", "Free them, or name them in a file of suppressions: heaptrail(1).");
	json_begin_object(j, "defaultConfiguration");
	json_string(j, "level", "warning");
	json_end_object(j);
	json_begin_object(j, "properties");
	json_begin_array(j, "tags");
	json_string(j, NULL, "memory");
	json_string(j, NULL, "external/cwe/cwe-401");
	json_end_array(j);
	json_end_object(j);
	json_end_object(j);
	json_end_array(j);
	json_end_object(j);
	json_end_object(j);
}

static void write_root(struct writing *w)
{
	char *uri = uri_of("file://", w->root), *folder = xasprintf("%s/", uri);

	json_begin_object(&w->j, "originalUriBaseIds");
	json_begin_object(&w->j, ROOT_ID);
	json_string(&w->j, "uri", folder);
	json_end_object(&w->j);
	json_end_object(&w->j);
	free(folder);
	free(uri);
}

/* The folder that was given, or where we are. */
static char *find_root(const char *given)
{
	char *root = given ? realpath(given, NULL) : getcwd(NULL, 0);
	size_t n;

	root = root ? root : xstrdup(given ? given : "");
	n = strlen(root);
	while (n && root[n - 1] == '/')
		root[--n] = '\0';
	return root;
}

void leak_report_sarif(const struct leak_report *r, FILE *out)
{
	struct writing w = {.report = r, .catalog = &r->view->catalog, .j = {.out = out},
			    .root = find_root(r->options->source_root)};
	struct json *j = &w.j;
	char n[FORMAT_MAX];

	json_begin_object(j, NULL);
	json_string(j, "$schema", "https://json.schemastore.org/sarif-2.1.0.json");
	json_string(j, "version", "2.1.0");
	json_begin_array(j, "runs");
	json_begin_object(j, NULL);
	write_tool(&w);
	json_string(j, "columnKind", "unicodeCodePoints");
	write_root(&w);
	json_begin_array(j, "results");
	for (size_t i = 0; i < r->leaks->n_shown && i < RESULTS_MAX; i++)
		write_result(&w, &r->leaks->items[i]);
	json_end_array(j);
	json_end_object(j);
	json_end_array(j);
	json_end_object(j);
	if (r->leaks->n_shown > RESULTS_MAX)
		say("note: the %d largest of %s records are in SARIF; --json has all", RESULTS_MAX,
		    format_count(n, r->leaks->n_shown));
	hashmap_release(&w.fingerprints);
	free(w.root);
}
