/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PRIVILEGES_H
#define COLLECTOR_PRIVILEGES_H

#include "collector/target.h"
#include "common/err.h"

/*
 * What the recorder itself may do, and what may happen to it.  All of this comes
 * after the command was forked, which has everything as we found it.
 */

/*
 * No closed pipe and no limit of file sizes may end the recorder, it comes before
 * others where there is little CPU time, and it may open as many files as it is
 * allowed to: each probe is two.  Fails where that is too few.
 */
int privileges_begin(struct err *err);

/*
 * Once the probe programs are loaded and the recording at @path is open: keeps the
 * capabilities for putting probes on, for looking into the process and for closing
 * the file, of those we have.  All others are gone for good, from the bounding set
 * too, and no program that we run could give us any (no_new_privs).
 */
void privileges_keep_recording(const char *path);
/*
 * Once the probes are off: keeps those for reading and closing files only, before the
 * symbols of files that come from the process are read, and comes before others no more.
 */
void privileges_keep_writing(const char *path);

/*
 * Becomes the user of @id (or stays, where there is no change) with all ids and groups,
 * without capabilities, and so that neither a program it runs nor a debugger of that
 * user's gives it back what it had.  Root itself keeps what opens files, no more.
 * Returns a negative errno with @err: what is left of the rights is then not known.
 */
int privileges_become_user(const struct target_identity *id, struct err *err);
/*
 * For a moment: files are made and opened as that user.  Without a change nothing is done.
 * They end the process where they fail: it must not go on with the wrong rights.
 */
struct privileges_before {
	uid_t uid;
	gid_t gid, *groups;
	int n_groups;
};

void privileges_act_as(const struct target_identity *id, struct privileges_before *ret);
void privileges_act_as_before(const struct target_identity *id, struct privileges_before *b);

#endif
