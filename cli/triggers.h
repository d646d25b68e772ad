/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_TRIGGERS_H
#define CLI_TRIGGERS_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/gate.h"
#include "analyzer/totals.h"
#include "cli/command.h"
#include "cli/trigger_commands.h"
#include "collector/session.h"

/* record --when: what is done when a condition comes to be met, while it is recorded. */
enum trigger_action {
	TRIGGER_MARK, /* the others mark the moment, too */
	TRIGGER_STOP,
	TRIGGER_EXEC,
};

struct trigger {
	struct gate gate;
	enum trigger_action action;
	const char *command; /* of TRIGGER_EXEC */
	bool is_beyond;
};

struct triggers {
	struct trigger *items;
	size_t n, cap;
	struct trigger_commands commands;
	const struct totals *totals; /* of what is recorded; to be set before it begins */
	uint64_t peaks_seen;
	unsigned int marks;
	bool quiet;
};

/*
 * Takes what follows "--when": optarg is the condition, the action begins at argv[optind],
 * which moves on.  Returns 0, or the exit status.
 */
int triggers_parse(const struct command *c, struct triggers *t, int argc, char **argv);
/*
 * Before anything else is begun: gets ready to run commands as the user of @id.  Returns 0, or
 * the exit status.
 */
int triggers_start(struct triggers *t, const struct target_identity *id);
/* For the recorder; @triggers: a struct triggers. */
bool triggers_turn(void *triggers, const struct session_turn *turn);
/* Commands that run go on. */
void triggers_release(struct triggers *t);

#endif
