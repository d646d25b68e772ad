/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_TRIGGER_COMMANDS_H
#define CLI_TRIGGER_COMMANDS_H

#include <stdbool.h>
#include <sys/types.h>

#include "collector/target.h"
#include "common/err.h"

/*
 * Runs commands for the recorder, which must not wait, is large, and has given up its rights
 * by then: a process does that was forked before, and is the user who is recorded for.
 */
struct trigger_commands {
	pid_t pid; /* 0: there is none */
	int fd;
};

/* -errno with @err. */
int trigger_commands_start(struct trigger_commands *c, const struct target_identity *id,
			   struct err *err);
/*
 * @command goes to sh -c, with the variables @environment ("NAME=value", NULL ends them).
 * Does not wait for it.  False: it could not be run.
 */
bool trigger_commands_run(struct trigger_commands *c, const char *command,
			  char *const *environment);
/* Those that run go on. */
void trigger_commands_stop(struct trigger_commands *c);

#endif
