/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROCESS_LIST_H
#define COLLECTOR_PROCESS_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The processes there are, for a user who wants to choose one; without kernel threads. */
struct process_entry {
	pid_t pid;
	uid_t uid; /* effective */
	uint64_t start_ticks;
	uint64_t rss_bytes;
	char *name;    /* as the kernel has it; owned */
	char *command; /* with its arguments, of anybody's making; "": it has none; owned */
	/*
	 * By the libraries that are mapped: "glibc", "jemalloc", "static glibc", …; "none found",
	 * or "no permission" to look.  A static string.
	 */
	const char *allocator;
};

struct process_list {
	struct process_entry *entries; /* by pid */
	size_t n, cap;
};

/*
 * @before: an earlier list, or NULL: what was found of a process then is not looked for
 * again, also if rights were given up since.
 */
void process_list_make(struct process_list *ret, const struct process_list *before);
void process_list_release(struct process_list *l);

/* Is an allocator, as the list names it, one that can be recorded? */
bool process_list_is_recorded(const char *allocator);
/* Of the file of a mapping, by its name: the allocator in it, or NULL. */
const char *process_list_allocator_of(const char *path);

#endif
