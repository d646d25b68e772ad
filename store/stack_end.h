/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_STACK_END_H
#define STORE_STACK_END_H

/*
 * Why a stack ends where it does: at the beginning of the thread, or before.
 * Stored as they are numbered: never renumber.  Compiled for BPF too.
 */
enum stack_end {
	STACK_COMPLETE = 0,
	STACK_CALLER = 1,	  /* only the caller was recorded */
	STACK_TOO_DEEP = 2,	  /* more frames than are recorded */
	STACK_NO_UNWIND_INFO = 3, /* code without unwind information, and no frame pointer */
	STACK_NOT_READY = 4,	  /* the code was just mapped: its tables were not ready */
	STACK_UNREADABLE = 5,	  /* the stack's memory could not be read */
	STACK_BROKEN = 6,	  /* what was found as the next frame cannot be one */
	STACK_UNSUPPORTED = 7,	  /* its unwind information is of a kind that is not understood */
	STACK_LOST = 8,		  /* its frames were lost on their way: only the caller is known */
	STACK_NO_TABLE = 9,	  /* a file's unwind information could not be read or kept */
	STACK_ENDS
};

#endif
