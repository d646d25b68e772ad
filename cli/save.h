/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SAVE_H
#define CLI_SAVE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A copy of a recording, made complete in a child process, so that whoever shows it
 * meanwhile stays responsive.
 */
struct save {
	pid_t pid; /* 0: none is being made */
	int fd;
};

struct save_result {
	bool failed;
	char text[1100]; /* for the user */
};

/* @in_child is called there first, with @arg.  False: it could not be started (errno). */
bool save_start(struct save *s, const char *from, const char *to, void (*in_child)(void *arg),
		void *arg);
bool save_is_running(const struct save *s);
/* Has it ended?  @wait: until it has. */
bool save_has_ended(struct save *s, bool wait, struct save_result *ret);

#endif
