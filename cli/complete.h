/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include <stddef.h>
#include <stdint.h>

#include "cli/view.h"
#include "common/err.h"

/* Why a recording has no seal, though nobody writes it. */
enum incomplete {
	INCOMPLETE_CUT_OFF, /* its recorder died */
	INCOMPLETE_SAVED,   /* it is a copy of one that goes on */
	INCOMPLETE_ROTATED, /* its recorder has gone on to another file */
};

struct complete_result {
	uint64_t events;
	size_t named; /* functions */
};

/*
 * Gives the recording what its recorder would have: names, summaries, how it ended, and the
 * seal.  @v, opened by GROUP_STACK, is closed in any case.  -errno with @err.
 */
int complete_recording(struct view *v, enum incomplete why, struct complete_result *ret,
		       struct err *err);
/*
 * A complete copy of the recording @from, as it is now, in the new file @to: none is left
 * where it fails.
 */
int complete_copy(const char *from, const char *to, struct complete_result *ret,
		  struct err *err);

#endif
