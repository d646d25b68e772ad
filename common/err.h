/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

/*
 * An error as the user will read it.  The callee that knows the object fills it
 * in; callers pass it on unchanged; only cli/ and ui/ print it.
 *
 * Wording: lower case, no full stop, what failed first, the subject in single
 * quotes: "cannot attach to 'libc.so.6' of process 4242: permission denied".
 */

/* What kind of failure it is: the exit status of all commands but `record -- CMD`. */
enum err_class {
	ERR_USAGE = 2,	   /* the command line is wrong */
	ERR_PRIVILEGE = 3, /* not permitted, or the kernel lacks something */
	ERR_RECORDING = 4, /* not a readable recording */
	ERR_FAILED = 125,  /* anything else that failed on our side */
	ERR_NOT_EXECUTABLE = 126, /* the command to launch, as env(1) says it */
	ERR_NOT_FOUND = 127,
};

struct err {
	enum err_class class;
	char what[512];
	char hint[512]; /* what to do about it, or "" */
};

/*
 * Fills @e (which may be NULL).  @errnum, if not 0, is appended as its
 * strerror() text.  Returns -@errnum, or -EINVAL where @errnum is 0, so that it
 * can end a function: `return err_set(e, ...)`.
 */
int err_set(struct err *e, enum err_class class, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Adds the next thing to do.  Keeps errno. */
void err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
