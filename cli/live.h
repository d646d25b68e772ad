/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_LIVE_H
#define CLI_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/recorder.h"
#include "cli/tui.h"
#include "common/err.h"

/* A recording that `top` shows while its recorder (recorder.h) writes it, and afterwards. */
struct live;

struct live_options {
	struct recorder *recorder;
	const struct tui_options *tui; /* how it is shown */
};

/*
 * Starts to record process @pid (0: the command), and waits until there is something to
 * show.  -errno with @err, the recorder's own error where it has one.
 */
int live_start(const struct live_options *o, pid_t pid, struct live **ret, struct err *err);
/* Removes the recording, if it is not kept.  A copy that is being saved is waited for. */
void live_free(struct live *l);
/* Shows it in the terminal until the user has enough, or (@ret_attach) wants another process. */
int live_run(struct live *l, bool *ret_attach, struct err *err);
pid_t live_pid(const struct live *l);
/* Ends its recorder, if it runs, and waits for it: another one can be started then. */
void live_end(struct live *l);
/* A message for when it is shown next. */
void live_tell(struct live *l, bool is_bad, const char *text);

#endif
