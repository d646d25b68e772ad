/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/suppression_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "image/demangle.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)
#define UNUSED_SHOWN 20

/* 0, or the errno; the text is to be freed. */
static int read_text(const char *path, char **ret)
{
	FILE *f = fopen(path, "re");
	struct buffer b = {0};
	char part[4096];
	size_t n;
	int error;

	if (!f)
		return errno;
	errno = 0;
	while (b.len < FILE_BYTES_MAX && (n = fread(part, 1, sizeof(part), f)) > 0)
		buffer_append(&b, part, n);
	error = ferror(f) ? errno : b.len >= FILE_BYTES_MAX ? EFBIG : 0;
	fclose(f);
	buffer_append(&b, "", 1);
	*ret = (char *)b.data;
	if (error)
		buffer_release(&b);
	return error;
}

static int read_file(struct suppressions *s, const char *path, enum suppression_origin origin,
		     struct err *err)
{
	char *text;
	int r = read_text(path, &text);

	if (r == ENOENT && origin == SUPPRESSION_OF_USER)
		return 0;
	if (r)
		return err_set(err, ERR_USAGE, r, "cannot read the suppressions '%s'", path);
	r = suppressions_parse(s, path, text, origin, demangle, err);
	free(text);
	return r;
}

static int read_users(struct suppressions *s, struct err *err)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *path;
	int r;

	if (config && *config == '/')
		path = xasprintf("%s/heaptrail/suppressions", config);
	else if (home && *home)
		path = xasprintf("%s/.config/heaptrail/suppressions", home);
	else
		return 0;
	r = read_file(s, path, SUPPRESSION_OF_USER, err);
	free(path);
	return r;
}

void suppression_files_add(struct suppression_files *f, int option, const char *text)
{
	if (option == OPTION_NO_DEFAULT_SUPPRESSIONS) {
		f->no_defaults = true;
		return;
	}
	ARRAY_GROW(f->paths, f->cap, f->n);
	f->paths[f->n++] = text;
}

void suppression_files_release(struct suppression_files *f)
{
	free(f->paths);
	memset(f, 0, sizeof(*f));
}

int suppression_files_read(struct suppressions *s, const struct suppression_files *f,
			   struct err *err)
{
	int r = f->no_defaults ? 0 : read_users(s, err);

	for (size_t i = 0; !r && i < f->n; i++)
		r = read_file(s, f->paths[i], SUPPRESSION_GIVEN, err);
	if (!r && !f->no_defaults)
		r = suppressions_parse(s, "built in", suppressions_built_in,
				       SUPPRESSION_BUILT_IN, NULL, err);
	return r;
}

void suppression_files_say_unused(const struct suppressions *s)
{
	size_t unused = 0;
	char safe[512];

	for (size_t i = 0; i < s->n; i++) {
		const struct suppression *x = &s->items[i];

		if (x->blocks || x->origin != SUPPRESSION_GIVEN || unused++ >= UNUSED_SHOWN)
			continue;
		say("note: unused suppression '%s' (%s:%u)",
		    format_safe(safe, sizeof(safe), x->name), x->file, x->line);
	}
	if (unused > UNUSED_SHOWN)
		say("note: and %zu more unused suppressions", unused - UNUSED_SHOWN);
}
