/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/frame_names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/demangle.h"

struct naming {
	symbolized_each *each;
	void *arg;
	bool *is_named;
};

/* Does the part at @p, up to the next slash, read so? */
static bool is_part(const char *p, size_t len, const char *text)
{
	return len == strlen(text) && !memcmp(p, text, len);
}

char *source_path(const char *path)
{
	char *out = xcalloc(1, strlen(path) + 2), *to = out, *first;

	if (*path == '/')
		*to++ = '/';
	first = to; /* what no ".." goes back beyond */
	for (size_t len; *path; path += len) {
		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (!len || is_part(path, len, "."))
			continue;
		if (is_part(path, len, "..") && to > first) {
			for (to--; to > first && to[-1] != '/'; to--)
				;
			continue;
		}
		if (is_part(path, len, "..") && *out == '/')
			continue;
		memcpy(to, path, len);
		to += len;
		*to++ = '/';
		if (is_part(path, len, ".."))
			first = to;
	}
	if (to > out + 1)
		to--;
	*to = '\0';
	return out;
}

static void pass_on(void *arg, const struct symbolized *s)
{
	char *file = s->file ? source_path(s->file) : NULL;
	struct symbolized clean = *s;
	struct naming *n = arg;

	clean.file = file;
	n->is_named[s->place] |= s->depth == 0 && (s->function || s->file);
	n->each(n->arg, &clean);
	free(file);
}

enum debug_info frame_names(struct elf_file *elf, const char *path,
			    const uint64_t *return_addresses, size_t n,
			    const struct symbolizer_options *options, symbolized_each *each,
			    void *arg)
{
	struct naming naming = {each, arg, xcalloc(n + 1, sizeof(bool))};
	uint64_t *calls = xcalloc(n + 1, sizeof(*calls));
	enum debug_info found = DEBUG_NONE;

	for (size_t i = 0; i < n; i++) /* the next function may begin at a return address */
		calls[i] = return_addresses[i] - 1;
	if (symbolize_file(elf_file_fd(elf), path, calls, n, options, pass_on, &naming, &found))
		found = DEBUG_NONE;
	for (size_t i = 0; i < n; i++) {
		const char *symbol;
		char *name;

		if (naming.is_named[i] || !(symbol = elf_file_function_at(elf, calls[i])))
			continue;
		name = demangle_unless(options->linkage_names, symbol);
		each(arg, &(struct symbolized){.place = i, .function = name});
		free(name);
		if (found == DEBUG_NONE)
			found = DEBUG_SYMBOLS;
	}
	free(calls);
	free(naming.is_named);
	return found;
}
