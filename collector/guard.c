/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/process_facts.h"
#include "common/clock.h"

/* A probe that ran when the recorder died may still stop the target a moment later. */
#define WATCH_NS 1000000000ull
#define LOOK_AGAIN_US 5000

#define LINKS_AT_ONCE 32

/* What the recorder tells the guard. */
enum { KEEP = 'k', GO = 'g' };

static void close_files(int keep1, int keep2)
{
	int low = keep1 < keep2 ? keep1 : keep2, high = keep1 < keep2 ? keep2 : keep1;

	if (low > 0)
		close_range(0, (unsigned int)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned int)low + 1, (unsigned int)high - 1, 0);
	close_range((unsigned int)high + 1, ~0u, 0);
}

/*
 * When the recorder dies, its process group may become an orphaned one; if a member
 * is stopped then, the kernel sends SIGHUP to all.  A member whose parent is outside
 * of the group prevents that.  It must leave the group before it ends itself, and
 * before its parent does: that would count as orphaning, too.
 */
struct member {
	pid_t pid;
	int gate; /* closed: it leaves */
};

static struct member join_group(pid_t group)
{
	struct member m = {.gate = -1};
	int gate[2];
	char c;

	if (pipe(gate) < 0)
		return m;
	m.pid = fork();
	if (m.pid == 0) {
		close_files(gate[0], gate[0]);
		if (setpgid(0, group))
			_exit(0);
		while (read(gate[0], &c, 1) < 0 && errno == EINTR)
			;
		setpgid(0, 0);
		_exit(0);
	}
	close(gate[0]);
	m.gate = gate[1];
	return m;
}

static void leave_group(struct member m)
{
	if (m.gate >= 0)
		close(m.gate);
	while (m.pid > 0 && waitpid(m.pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* The recorder's files are closed: it is dying.  A traced target it lets go of at its very end. */
static void continue_target(struct probes *probes, int recorder, int target, pid_t pid)
{
	uint64_t end = 0;

	probes_give_up(probes);
	while (!has_ended(target) && (!end || clock_now_ns() < end)) {
		if (!end && has_ended(recorder))
			end = clock_now_ns() + WATCH_NS;
		if (probes_is_held(probes) && process_state(pid) == 'T')
			syscall(SYS_pidfd_send_signal, target, SIGCONT, NULL, 0);
		usleep(LOOK_AGAIN_US);
	}
}

/* Returns whether the recorder ended as it should.  What it hands us stays open. */
static bool wait_for_recorder(int gate)
{
	char what, control[CMSG_SPACE(sizeof(int) * LINKS_AT_ONCE)];
	struct iovec v = {.iov_base = &what, .iov_len = 1};
	ssize_t n;

	do {
		struct msghdr m = {.msg_iov = &v,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};

		n = recvmsg(gate, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 ? errno == EINTR : n > 0 && what != GO);
	return n > 0;
}

static _Noreturn void watch(struct probes *probes, int gate, int target, pid_t pid, pid_t group)
{
	pid_t parent = getppid();
	struct member member;
	int recorder;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "heaptrail-guard");
	close_files(gate, target);
	recorder = (int)syscall(SYS_pidfd_open, parent, 0);
	setpgid(0, 0); /* what hits the recorder's group is not for us */
	member = join_group(group);
	if (!wait_for_recorder(gate))
		continue_target(probes, recorder, target, pid);
	leave_group(member);
	_exit(0);
}

int guard_start(struct guard *g, struct probes *probes, pid_t pid, struct err *err)
{
	int gate[2], target, e;
	pid_t group = getpgrp();

	memset(g, 0, sizeof(*g));
	target = (int)syscall(SYS_pidfd_open, pid, 0);
	if (target < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate) < 0) {
		e = errno;
		if (target >= 0)
			close(target);
		return err_set(err, ERR_FAILED, e, "cannot watch over process %d", (int)pid);
	}
	g->pid = fork();
	if (g->pid == 0) {
		close(gate[1]);
		watch(probes, gate[0], target, pid, group);
	}
	e = errno;
	close(gate[0]);
	close(target);
	g->gate = gate[1];
	if (g->pid > 0)
		return 0;
	close(g->gate);
	g->pid = 0;
	return err_set(err, ERR_FAILED, e, "cannot start the process that guards the target");
}

void guard_keep(struct guard *g, const struct probes *probes)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * LINKS_AT_ONCE)];
		struct cmsghdr align;
	} control;
	char what = KEEP;
	struct iovec v = {.iov_base = &what, .iov_len = 1};

	while (g->pid && g->n_kept < probes_attached(probes)) {
		int fds[LINKS_AT_ONCE];
		size_t n = 0;
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes};
		struct cmsghdr *c = &control.align;

		while (n < LINKS_AT_ONCE && g->n_kept < probes_attached(probes))
			fds[n++] = probes_link_fd(probes, g->n_kept++);
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS,
				      .cmsg_len = CMSG_LEN(n * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		/* it is of use only if we die: no reason to fail */
		while (sendmsg(g->gate, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
			;
	}
}

void guard_end_holds(const struct guard *g, const struct probes *probes, pid_t pid)
{
	for (int i = 0; i < 20 && g->pid && probes_is_held(probes); i++) {
		if (process_state(pid) == 'T')
			kill(pid, SIGCONT);
		usleep(5000);
	}
}

void guard_stop(struct guard *g)
{
	char what = GO;

	if (!g->pid)
		return;
	if (send(g->gate, &what, 1, MSG_NOSIGNAL) != 1)
		kill(g->pid, SIGKILL);
	close(g->gate);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
	g->pid = 0;
}
