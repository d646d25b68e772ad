/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_HOLD_H
#define COLLECTOR_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "collector/target.h"
#include "common/err.h"

/*
 * A process whose threads all stand still for a moment, so that its memory can be read as it
 * is at one instant.  They are stopped as under a debugger (PTRACE_SEIZE and
 * PTRACE_INTERRUPT): no signal is sent, nothing is written into the process, and its parent
 * sees nothing.  Some system calls end early by it, with EINTR, as after any stop
 * (signal(7): epoll_wait(2), semop(2), io_getevents(2), …).
 *
 * A stop that comes up meanwhile for the sake of a signal is kept: the signal is delivered
 * when the thread goes on.  Should we die, the kernel lets all of them go on.
 */
struct hold_thread {
	pid_t tid;
	int status; /* as waitpid() said it */
	bool is_ours; /* seized for the hold, and not before */
	bool is_stopped;
	bool has_ended; /* since it was stopped; waited for already */
	bool has_registers;
	struct user_regs_struct registers;
};

struct hold {
	struct target *target;
	bool at_exit; /* it is stopped by itself */
	uint64_t start_ns;
	size_t n, cap;
	struct hold_thread *threads;
};

/*
 * Stops the threads of @t, which is running; gives up after @timeout_ns, and then none is
 * held.  Returns 0, or a negative errno with @err filled in: -EPERM (another tracer has it,
 * or we may not trace it), -ESRCH (it has ended), -ETIMEDOUT (a thread does not stop: it
 * waits for a disk, say, or for the child of its vfork()).
 */
int hold_start(struct target *t, uint64_t timeout_ns, struct hold *ret, struct err *err);
/*
 * @t is stopped in its exit: waits for its other threads to be gone, and takes the registers of
 * the one that remains.  -ETIMEDOUT if they run on: its main thread has ended, and no more.
 * hold_end() does not let it go on: target_continue() does.
 */
int hold_at_exit(struct target *t, uint64_t timeout_ns, struct hold *ret);
/* They go on.  Safe on a zeroed one.  Returns for how long they stood still. */
uint64_t hold_end(struct hold *h);

#endif
