/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GUARD_H
#define COLLECTOR_GUARD_H

#include <sys/types.h>

#include "collector/probes.h"
#include "common/err.h"

/*
 * A small process that watches over the recorder.  Should the recorder die while
 * the target stands still at its wish, nobody else would continue the target: the
 * guard does.
 *
 * It holds the probes, too.  The kernel needs seconds to take them off; if that
 * began with the recorder's death, a traced target would have to wait for it, since
 * the kernel lets go of it only afterwards.  So the guard lets go of the probes
 * when the recorder is gone altogether.
 */
struct guard {
	pid_t pid; /* 0: none */
	int gate;  /* its other end closes with us */
	size_t n_kept;
};

int guard_start(struct guard *g, struct probes *probes, pid_t target, struct err *err);
/* Gives it the probes that were attached since.  Without a guard it does nothing. */
void guard_keep(struct guard *g, const struct probes *probes);
/*
 * The probes stop nobody any more, but a stop of theirs may still be on its way: continues
 * the process @pid.  Takes up to 0.1 s, if it has been stopped.
 */
void guard_end_holds(const struct guard *g, const struct probes *probes, pid_t pid);
/*
 * Nobody can be held any more: it goes.  One that is not stopped goes when the
 * recorder does, and takes the probes off then.
 */
void guard_stop(struct guard *g);

#endif
