/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_ONE_SHOT_H
#define CLI_ONE_SHOT_H

#include <stdbool.h>

#include "collector/session.h"

/* Writes a report of the recording @path; returns the exit status. */
typedef int one_shot_report(void *arg, const char *path);

/*
 * Records as @o says and reports at once: of a command to standard error.  Without @o->output
 * the recording is removed afterwards.  Under sudo a command runs as who called it, but with
 * @as_root.  Returns the exit status: the command's own where nothing failed.
 */
int one_shot_record(struct session_options *o, bool as_root, one_shot_report *report, void *arg);

#endif
