/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_INTERRUPTS_H
#define COLLECTOR_INTERRUPTS_H

#include <signal.h>
#include <stdbool.h>

#include "common/err.h"

/*
 * Who may end a recording: the user by signals, and a keeper, the process that started
 * the recorder and holds the other end of a pipe.  Once that is closed nobody wants
 * the recording any more.
 */
struct interrupts {
	int fd; /* a signalfd; -1: not begun */
	int keeper; /* the pipe; 0: none */
	int count; /* of SIGINT */
	bool asks_look; /* a SIGUSR1 has come: a look at the memory is wanted */
	sigset_t old_mask;
};

enum interrupt {
	INTERRUPT_NONE,
	INTERRUPT_FIRST,   /* for the command: recording goes on */
	INTERRUPT_STOP,
	INTERRUPT_ABANDON, /* the keeper has gone */
};

/* Blocks the signals, which then come by @fd. */
int interrupts_begin(struct interrupts *i, int keeper, struct err *err);
/* What has come, without waiting; @launched: the first SIGINT has gone to the command, too. */
enum interrupt interrupts_read(struct interrupts *i, bool launched);
void interrupts_end(struct interrupts *i);

#endif
