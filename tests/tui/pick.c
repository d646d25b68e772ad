/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The screen to choose a process on, with processes that are always the same. */
#include "config.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "ui/picker.h"

static const struct picker_row rows[] = {
	{1, 11 << 20, "root", "no permission", "/sbin/init", false},
	{4242, 612ull << 20, "ada", "glibc", "./server --port 8080 --name gl\xc3\xbc""ck", false},
	{4243, 3 << 20, "ada", "jemalloc", "redis-server *:6379", true},
	{50, 900 << 10, "daemon", "static glibc", "/usr/bin/tiny", false},
	{77777, 2ull << 30, "grace", "none found", "/opt/go/bin/thing -v", true},
	{900, 1 << 20, "grace", "musl", "evil\x1b[2Jname\nof two lines", true},
};

static void list(void *arg, struct picker *p)
{
	(void)arg;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		picker_add(p, &rows[i]);
}

/* pick ROWS COLS KEYS [styles|ascii]; the pid that was chosen comes last. */
int main(int argc, char **argv)
{
	struct picker_options o = {.title = "attach to a process", .list = list};
	bool styles = argc > 4 && !strcmp(argv[4], "styles");
	struct picker *p;
	struct err err;
	int pid;

	setlocale(LC_CTYPE, "");
	if (argc < 4)
		return 2;
	o.ascii = argc > 4 && !strcmp(argv[4], "ascii");
	o.error = argc > 5 ? argv[5] : NULL;
	p = picker_new(&o);
	if (picker_run_script(p, argv[3], (int)strtol(argv[1], NULL, 10),
			      (int)strtol(argv[2], NULL, 10), styles, &err)) {
		fprintf(stderr, "%s\n", err.what);
		return 2;
	}
	if (picker_is_over(p, &pid))
		printf("chosen: %d\n", pid);
	picker_free(p);
	return 0;
}
