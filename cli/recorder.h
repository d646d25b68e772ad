/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_RECORDER_H
#define CLI_RECORDER_H

#include <stdbool.h>
#include <sys/types.h>

#include "collector/target.h"
#include "common/err.h"

/*
 * The recorder that `top` runs, and who may do what.
 *
 * Three processes.  The *viewer* reads the recording and shows it; what it reads comes from
 * the target, so it gives up all rights before it reads anything: it becomes the user who
 * called sudo.  The *recorder* is `heaptrail record`, as one would run it by hand; it makes
 * its file as that user, and gives up what it does not need.  Between them stands the
 * *broker*, since a viewer without rights could start no recorder with any.  It is forked
 * before the viewer gives them up, and does nothing but start a recorder, end it, and tell
 * how it ended.
 *
 * What the viewer may ask for is one small message of fixed size: an operation and a pid.
 * There is nothing else to be checked: all that a recorder is started with otherwise (its
 * options, the command, the names of files) was fixed by the command line, before the
 * broker was forked.  Any pid will do: who may run `sudo heaptrail top` may record any
 * process, and without sudo the recorder has the rights of its user and file.  Only one
 * recorder runs at a time.  All files are made and removed as the user: the recordings
 * that are not kept, in a folder 0700 of that user's that has a random name; the one that
 * is, where the command line says; the log of the command.
 *
 * Who ends whom: the viewer's end of the socket closes however it ends.  Then the broker
 * ends the recorder, waits for it, removes the folder, and goes.  A recorder whose recording
 * nobody will see lets go of its target and completes nothing.  Should the broker be killed,
 * the recorder sees that a pipe is closed (--keeper), and does the same; then the viewer
 * removes the folder.  Only if viewer and broker are killed both does it remain.
 *
 * The broker, and with it the recorder and its command, have a session of their own: what
 * is typed at the terminal (Ctrl-C, Ctrl-Z) is for the viewer alone.
 */
struct recorder;

struct recorder_options {
	struct target_identity identity; /* who the viewer will be; the strings outlive it */
	const char *output; /* the first recording is kept there; NULL: none is */
	const char *log;    /* what the command says is appended to it; NULL: to none */
	char *const *arguments; /* more options of `record`, ends with NULL */
	char *const *command;	/* ends with NULL; or NULL: there is none */
};

/* To be called with all rights there are; afterwards they can be given up: invoker.h. */
int recorder_open(const struct recorder_options *o, struct recorder **ret, struct err *err);
/* Ends all, and waits for it; @wait_ms: so long at most before @on_wait is called, once. */
void recorder_close(struct recorder *r, int wait_ms, void (*on_wait)(void));
/* In a child of the viewer's, which is not to keep the others alive. */
void recorder_forget(struct recorder *r);

/* Starts to record process @pid; 0: the command.  @ret_path: to be freed. */
int recorder_start(struct recorder *r, pid_t pid, char **ret_path, struct err *err);
/* Asks it to end: it completes the recording, which may take a while. */
void recorder_stop(struct recorder *r);
/* Asks it for a snapshot of what is resident, see snapshots.h. */
void recorder_take_snapshot(struct recorder *r);
bool recorder_is_running(const struct recorder *r);

struct recorder_end {
	int wait_status; /* as of waitpid(2); -1: the broker has died, and the recorder with it */
	char text[1024]; /* what it said on standard error, or "" */
};

/* Has it ended since the start?  Waits so long for it (-1: for ever). */
bool recorder_has_ended(struct recorder *r, int wait_ms, struct recorder_end *ret);
/* Of the viewer: removes a recording that is in the folder, and not kept. */
void recorder_remove(struct recorder *r, const char *path);
/* Is it one that is removed at the end? */
bool recorder_is_temporary(const struct recorder *r, const char *path);

#endif
