/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/source_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"

#define SOURCE_BYTES_MAX (64 << 20)

static int by_number(const void *a, const void *b)
{
	const struct source_line *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

struct source_line *source_lines(const struct rows *rows, const char *file, size_t *ret_n)
{
	struct source_line *lines = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->rows[i];

		if (!r->file || strcmp(r->file, file))
			continue;
		ARRAY_GROW(lines, cap, n);
		lines[n++] = (struct source_line){r->line, &r->totals};
	}
	if (n)
		qsort(lines, n, sizeof(*lines), by_number);
	*ret_n = n;
	return lines;
}

FILE *source_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), e = 0;
	struct stat st;
	FILE *f = NULL;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0)
		e = errno;
	else if (!S_ISREG(st.st_mode))
		e = EISDIR;
	else if (st.st_size > SOURCE_BYTES_MAX)
		e = EFBIG;
	else
		f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		errno = e ? e : ENOMEM;
	}
	return f;
}
