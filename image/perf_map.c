/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/perf_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"

/* It is the target's to write: it must not cost us our memory. */
#define BYTES_MAX (64 << 20)
#define FUNCTIONS_MAX (1 << 20)
/* So many functions that begin later may lie within one that is found. */
#define OVERLAPS_MAX 64

struct function {
	uint64_t start, size;
	const char *name;
	size_t line;
};

struct perf_map {
	char *text;
	struct function *functions; /* by address, then by line */
	size_t n, cap;
	uint64_t largest; /* size of a function */
};

static char *read_text(const char *path, uid_t owner)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (st.st_uid == owner || st.st_uid == 0) && st.st_size > 0 && st.st_size <= BYTES_MAX) {
		size_t len = 0, size = (size_t)st.st_size;

		text = xmalloc(size + 1);
		while (len < size && (n = read(fd, text + len, size - len)) > 0)
			len += (size_t)n;
		text[len] = '\0';
	}
	close(fd);
	return text;
}

static bool parse_hex(char **p, uint64_t *ret)
{
	char *end;

	if (strspn(*p, "0123456789abcdefABCDEFx") == 0)
		return false;
	errno = 0;
	*ret = strtoull(*p, &end, 16);
	if (end == *p || errno || *end != ' ')
		return false;
	*p = end + 1;
	return true;
}

static void parse_line(struct perf_map *m, char *line, size_t number)
{
	struct function f = {.line = number};

	if (m->n >= FUNCTIONS_MAX || !parse_hex(&line, &f.start) || !parse_hex(&line, &f.size) ||
	    !*line || !f.size || f.start + f.size < f.start)
		return; /* half written, or none */
	f.name = line;
	ARRAY_GROW(m->functions, m->cap, m->n);
	m->functions[m->n++] = f;
	if (f.size > m->largest)
		m->largest = f.size;
}

static int by_address(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->line < y->line ? -1 : 1;
}

struct perf_map *perf_map_read(const char *path, uid_t owner)
{
	char *text = read_text(path, owner), *rest = text, *line;
	struct perf_map *m;
	size_t number = 0;

	if (!text)
		return NULL;
	m = xcalloc(1, sizeof(*m));
	m->text = text;
	while ((line = strsep(&rest, "\n")))
		parse_line(m, line, number++);
	if (m->n)
		qsort(m->functions, m->n, sizeof(*m->functions), by_address);
	return m;
}

/* Its number in the innermost of its PID namespaces: what it calls itself. */
static pid_t own_pid(pid_t pid)
{
	char path[64], line[256];
	pid_t own = pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "NSpid:", 6) && strrchr(line, '\t'))
			own = (pid_t)strtol(strrchr(line, '\t'), NULL, 10);
	if (f)
		fclose(f);
	return own > 0 ? own : pid;
}

struct perf_map *perf_map_open(pid_t pid, uid_t owner)
{
	struct perf_map *m;
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/root/tmp/perf-%d.map", (int)pid, (int)own_pid(pid));
	m = perf_map_read(path, owner);
	if (m)
		return m;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)pid);
	return perf_map_read(path, owner);
}

void perf_map_close(struct perf_map *m)
{
	if (!m)
		return;
	free(m->functions);
	free(m->text);
	free(m);
}

const char *perf_map_function_at(const struct perf_map *m, uint64_t address)
{
	const struct function *found = NULL;
	size_t lo = 0, hi = m->n;

	while (lo < hi) { /* the first that begins behind it */
		size_t mid = lo + (hi - lo) / 2;

		if (m->functions[mid].start <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (size_t i = lo; i-- > 0 && lo - i <= OVERLAPS_MAX &&
			    address - m->functions[i].start < m->largest;) {
		const struct function *f = &m->functions[i];

		if (address - f->start < f->size && (!found || f->line > found->line))
			found = f;
	}
	return found ? found->name : NULL;
}
