/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/format.h"
#include "common/xalloc.h"

/*
 * What is kept from one time to the next: the view, and how each is sorted.  Lines of
 * "view NAME" and "sort NAME COLUMN [reverse]"; others are left alone by readers, so that
 * an older heaptrail takes the file of a newer one.
 */

static int view_by_name(const char *name)
{
	for (int i = 0; i < ROOT_VIEWS; i++)
		if (!strcmp(views[i].name, name))
			return i;
	return -1;
}

static void load_line(struct ui *u, const char *line)
{
	char name[32], reverse[16] = "";
	int column, view;

	if (sscanf(line, "view %31s", name) == 1) {
		view = view_by_name(name);
		if (view >= 0)
			u->pages[0] = &u->roots[view];
	} else if (sscanf(line, "sort %31s %d %15s", name, &column, reverse) >= 2) {
		view = view_by_name(name);
		if (view < 0 || column < TABLE_SORT_TEXT || column >= TABLE_COLUMNS_MAX)
			return;
		u->roots[view].state.sort = column;
		u->roots[view].state.reverse = !strcmp(reverse, "reverse");
	}
}

void settings_load(struct ui *u)
{
	char line[256];
	FILE *f;

	if (!u->options.settings_path)
		return;
	f = fopen(u->options.settings_path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		load_line(u, line);
	fclose(f);
}

/* The folder it is in, and the one that is in: ~/.config may be missing, too. */
static void make_folders(const char *path)
{
	char *folder = xstrdup(path), *slash = strrchr(folder, '/'), *outer;

	if (slash && slash != folder) {
		*slash = '\0';
		outer = strrchr(folder, '/');
		if (outer && outer != folder) {
			*outer = '\0';
			mkdir(folder, 0700);
			*outer = '/';
		}
		mkdir(folder, 0700);
	}
	free(folder);
}

/* That it cannot be kept is no reason to bother anybody. */
void settings_save(const struct ui *u)
{
	char *next;
	FILE *f;
	int r;

	if (!u->options.settings_path)
		return;
	make_folders(u->options.settings_path);
	next = xasprintf("%s.%d", u->options.settings_path, (int)getpid());
	f = fopen(next, "wxe");
	if (f) {
		fprintf(f, "view %s\n", views[u->pages[0]->view].name);
		for (int i = 0; i < ROOT_VIEWS; i++)
			fprintf(f, "sort %s %d%s\n", views[i].name, u->roots[i].state.sort,
				u->roots[i].state.reverse ? " reverse" : "");
		r = ferror(f);
		if (fclose(f) || r || rename(next, u->options.settings_path))
			unlink(next);
	}
	free(next);
}
