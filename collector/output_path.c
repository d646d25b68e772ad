/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/output_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/xalloc.h"

#define DEFAULT_PATTERN "heaptrail.%c.%p.trail"

static char *program_name(char *const *argv, pid_t pid)
{
	char path[64], comm[32] = "";
	const char *slash;
	FILE *f;

	if (argv) {
		slash = strrchr(argv[0], '/');
		return xstrdup(slash && slash[1] ? slash + 1 : argv[0]);
	}
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (f) {
		if (fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		fclose(f);
	}
	for (char *c = comm; *c; c++)
		if (*c == '/')
			*c = '_';
	return xstrdup(comm[0] ? comm : "unknown");
}

char *output_path(const char *pattern, char *const *argv, pid_t pid)
{
	char *name = program_name(argv, pid), number[16];
	struct buffer b = {0};

	snprintf(number, sizeof(number), "%d", (int)pid);
	for (const char *p = pattern ? pattern : DEFAULT_PATTERN; *p; p++) {
		if (p[0] == '%' && p[1] == 'p')
			buffer_append(&b, number, strlen(number));
		else if (p[0] == '%' && p[1] == 'c')
			buffer_append(&b, name, strlen(name));
		else if (p[0] == '%' && p[1] == '%')
			buffer_append(&b, "%", 1);
		else {
			buffer_append(&b, p, 1);
			continue;
		}
		p++;
	}
	buffer_append(&b, "", 1);
	free(name);
	return (char *)b.data;
}
