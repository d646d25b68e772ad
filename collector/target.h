/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_TARGET_H
#define COLLECTOR_TARGET_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "store/writer.h"

/*
 * The process that is recorded: launched by us, or there already.
 *
 * A launched one is traced (PTRACE_SEIZE) for two stops only: after exec, before
 * ld.so has run, and at its exit, when its memory is still there.  Its signals
 * are passed on untouched.  Where it cannot be traced, because a debugger traces
 * us and our children, SIGSTOP and SIGCONT must do: then there is no exit stop.
 */
struct target {
	pid_t pid;
	bool launched; /* our child */
	bool traced;
	bool ended;
	int wait_status; /* of a launched one that ended */
	int gate;	 /* written to: the child goes on to exec */
	int exec_error;	 /* read: errno of an exec that failed */
	int pidfd;	 /* of an attached one: readable when it ends */
	bool guards_rights; /* who we record for may not see a program that gains rights */
	bool in_group_stop; /* held by way of SIGSTOP to another thread */
	bool has_noted; /* a stop or end that somebody else waited for … */
	int noted_status; /* … and that target_poll() is to tell next */
	pid_t *later; /* threads that are to be let go of as soon as they stop */
	size_t n_later, cap_later;
	/* asked about a launched one that was stopped by SIGSTOP: did the probes want that? */
	bool (*is_hold)(void *arg);
	void *is_hold_arg;
};

/* Who runs the command: the user who called sudo, say. */
struct target_identity {
	bool change;
	uid_t uid;
	gid_t gid;
	const char *name, *home, *shell;
};

struct target_launch_options {
	char *const *argv; /* ends with NULL */
	struct target_identity identity;
	bool allow_trace;      /* false: by signals */
	const sigset_t *mask;  /* the signals the command shall have blocked */
	bool one_output;       /* its standard error goes where its standard output does */
};

enum target_event {
	TARGET_NOTHING,
	TARGET_EXEC,	 /* stopped after exec */
	TARGET_HELD,	 /* stopped by SIGSTOP from the probes, at their wish */
	TARGET_EXITING,	 /* stopped in its exit */
	TARGET_ENDED,
};

/* Makes a child that will exec, waiting at its gate.  Returns 0 or a negative errno. */
int target_launch(struct target *t, const struct target_launch_options *o, struct err *err);
/*
 * Opens the gate and waits for the exec: then the target is stopped as after
 * TARGET_EXEC.  Returns
 * 0; -ENOENT and the like where it failed, with @err filled in.
 */
int target_exec(struct target *t, const char *command, struct err *err);
int target_attach(struct target *t, pid_t pid, struct err *err);
/*
 * After an exec: has the program got rights (setuid, setgid, capabilities of its
 * file) that the user we record for does not have?  Its heap is not theirs to see.
 * Returns -EPERM with @err then, else 0.
 */
int target_check_rights(const struct target *t, struct err *err);
/*
 * Whatever failed: where the target has ended meanwhile, that is the reason, and
 * @err says it.
 */
void target_explain_end(struct target *t, struct err *err);

/*
 * What happened, without waiting.  After EXEC, HELD and EXITING the target is
 * stopped until target_continue().  A stop that is_hold() does not call ours is
 * somebody else's, and is left alone.
 */
enum target_event target_poll(struct target *t);
/* Waits for it instead. */
enum target_event target_wait(struct target *t);
void target_continue(struct target *t);

/* In a child that is to run a program: becomes that user, or ends it with status 125. */
void target_become(const struct target_identity *id);
/* How many threads it has; 0: it is gone. */
int target_threads(const struct target *t);

/* For hold.c.  waitpid() has said @status of the main thread, which nobody has acted on. */
void target_note_status(struct target *t, int status);
/* Thread @tid is traced and runs: it is let go of when it stops, at some target_poll(). */
void target_let_go_later(struct target *t, pid_t tid);
/* It is not to be let go of after all; false where that was not going to happen. */
bool target_keep(struct target *t, pid_t tid);

/* Lets go of a launched target that is running; it runs on. */
void target_release(struct target *t);
/* Ends a launched target that has not been let through the gate. */
void target_kill(struct target *t);

/* Writes its row; @command: as JSON; @end_ns 0: it has not ended, nor been let go of. */
void target_put(const struct target *t, struct store_writer *w, const char *command,
		uint64_t start_ns, bool ended, uint64_t end_ns);

#endif
