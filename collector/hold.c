/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/hold.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "common/format.h"
#include "common/xalloc.h"

/* Threads that do not stop at once are asked so often. */
#define ASK_EVERY_NS 50000

static struct hold_thread *find(const struct hold *h, pid_t tid)
{
	for (size_t i = 0; i < h->n; i++) {
		if (h->threads[i].tid == tid)
			return &h->threads[i];
	}
	return NULL;
}

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = ASK_EVERY_NS}, NULL);
}

/* ---- one thread -------------------------------------------------------------------- */

static int refuse(const struct hold *h, pid_t tid, int e, struct err *err)
{
	char path[64], line[256], state = 'X';
	int tracer = 0;
	FILE *f;

	if (e == ESRCH)
		return -e;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)h->target->pid, (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "TracerPid: %d", &tracer) != 1)
		sscanf(line, "State: %c", &state);
	if (f)
		fclose(f);
	if (state == 'Z' || state == 'X')
		return -ESRCH; /* a thread that has ended, if its process has not */
	err_set(err, ERR_PRIVILEGE, e, "cannot hold process %d for a moment",
		(int)h->target->pid);
	if (tracer)
		err_hint(err, "process %d traces it: a debugger or strace, say", tracer);
	else
		err_hint(err, "run heaptrail as root, or see kernel.yama.ptrace_scope");
	return -e;
}

/* Asks it to stop.  Returns 0, also where it has gone; else a negative errno with @err. */
static int ask(struct hold *h, pid_t tid, struct err *err)
{
	bool is_ours = !(h->target->traced && tid == h->target->pid);
	struct hold_thread *t;

	/* one that did not stop the last time may still be traced by us */
	if (is_ours && !target_keep(h->target, tid) && ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
		int r = refuse(h, tid, errno, err);

		return r == -ESRCH ? 0 : r;
	}
	ARRAY_GROW(h->threads, h->cap, h->n);
	t = &h->threads[h->n++];
	*t = (struct hold_thread){.tid = tid, .is_ours = is_ours};
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return 0;
}

static void read_registers(struct hold_thread *t)
{
	struct iovec v = {&t->registers, sizeof(t->registers)};

	t->has_registers = !ptrace(PTRACE_GETREGSET, t->tid, (void *)(intptr_t)NT_PRSTATUS, &v) &&
			   v.iov_len == sizeof(t->registers);
}

/* Has it stopped by now?  One that ended is forgotten. */
static bool check(struct hold *h, size_t i)
{
	struct hold_thread *t = &h->threads[i];
	pid_t r;

	if (t->is_stopped)
		return true;
	/* it stands already, since the hold before, and nobody has acted on that yet */
	if (!t->is_ours && h->target->has_noted && WIFSTOPPED(h->target->noted_status)) {
		h->target->has_noted = false;
		t->status = h->target->noted_status;
		t->is_stopped = true;
		read_registers(t);
		return true;
	}
	do
		r = waitpid(t->tid, &t->status, __WALL | WNOHANG | (t->is_ours ? 0 : WUNTRACED));
	while (r < 0 && errno == EINTR);
	if (!r)
		return false;
	if (r < 0 || !WIFSTOPPED(t->status)) {
		if (r > 0 && t->tid == h->target->pid)
			target_note_status(h->target, t->status);
		*t = h->threads[--h->n];
		return true;
	}
	t->is_stopped = true;
	read_registers(t);
	return true;
}

/* ---- all of them ------------------------------------------------------------------- */

/* Asks those that were not asked yet.  Returns how many it could ask, or a negative errno. */
static int ask_new(struct hold *h, struct err *err)
{
	struct dirent *entry;
	char path[64];
	size_t before;
	int n = 0, r = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)h->target->pid);
	dir = opendir(path);
	if (!dir && errno != ENOENT && errno != ESRCH)
		return err_set(err, ERR_FAILED, errno, "cannot list the threads of process %d",
			       (int)h->target->pid);
	if (!dir)
		return -ESRCH;
	while (!r && (entry = readdir(dir))) {
		uint64_t tid;

		if (!parse_u64(entry->d_name, INT32_MAX, &tid) || find(h, (pid_t)tid))
			continue;
		before = h->n;
		r = ask(h, (pid_t)tid, err);
		n += h->n > before;
	}
	closedir(dir);
	return r ? r : n;
}

static size_t count_running(struct hold *h)
{
	size_t running = 0;

	for (size_t i = h->n; i-- > 0;)
		running += !check(h, i);
	return running;
}

static int no_target(const struct target *t, struct err *err)
{
	return err_set(err, ERR_FAILED, ESRCH, "cannot hold process %d for a moment", (int)t->pid);
}

static int no_stop(const struct target *t, struct err *err)
{
	err_set(err, ERR_FAILED, 0, "cannot hold process %d for a moment: a thread does not stop",
		(int)t->pid);
	err_hint(err, "it waits for a disk, say, or for the child of its vfork(): try again");
	return -ETIMEDOUT;
}

static int stop_all(struct hold *h, uint64_t deadline_ns, struct err *err)
{
	for (;;) {
		int n = ask_new(h, err);

		if (clock_now_ns() > deadline_ns)
			return no_stop(h->target, err);
		if (n == -ENOENT || n == -ESRCH)
			return no_target(h->target, err);
		if (n < 0)
			return n;
		while (count_running(h) > 0) {
			if (clock_now_ns() > deadline_ns)
				return no_stop(h->target, err);
			pause_a_little();
		}
		/* who stands still starts no threads: what was seen last is all there is */
		if (!n)
			return h->n ? 0 : no_target(h->target, err);
	}
}

int hold_start(struct target *t, uint64_t timeout_ns, struct hold *ret, struct err *err)
{
	struct hold h = {.target = t, .start_ns = clock_now_ns()};
	int r = stop_all(&h, h.start_ns + timeout_ns, err);

	if (r)
		hold_end(&h);
	else
		*ret = h;
	return r;
}

int hold_at_exit(struct target *t, uint64_t timeout_ns, struct hold *ret)
{
	struct hold h = {.target = t, .at_exit = true, .start_ns = clock_now_ns()};
	uint64_t deadline = h.start_ns + timeout_ns;

	while (target_threads(t) > 1) {
		if (clock_now_ns() > deadline)
			return -ETIMEDOUT;
		pause_a_little();
	}
	ARRAY_GROW(h.threads, h.cap, 0);
	h.threads[h.n++] = (struct hold_thread){.tid = t->pid, .is_stopped = true};
	read_registers(&h.threads[0]);
	*ret = h;
	return 0;
}

/* ---- and on they go ---------------------------------------------------------------- */

/* Was it our own wish that stopped it, and nothing else? */
static bool is_plain_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) == SIGTRAP;
}

static void let_go(struct hold *h, struct hold_thread *t)
{
	int signal = t->status >> 16 ? 0 : WSTOPSIG(t->status);

	if (t->has_ended) {
		if (t->tid == h->target->pid)
			target_note_status(h->target, t->status);
	} else if (t->is_ours) {
		/* one that runs cannot be let go of yet; one that was killed is waited for */
		if (!t->is_stopped ||
		    ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(intptr_t)signal) < 0)
			target_let_go_later(h->target, t->tid);
	} else if (!t->is_stopped) {
		return; /* it stops later, and target_poll() lets it run on */
	} else if (is_plain_stop(t->status)) {
		ptrace(PTRACE_CONT, t->tid, NULL, NULL);
	} else {
		target_note_status(h->target, t->status);
	}
}

uint64_t hold_end(struct hold *h)
{
	uint64_t held_ns = h->start_ns ? clock_now_ns() - h->start_ns : 0;

	for (size_t i = 0; i < h->n && !h->at_exit; i++)
		let_go(h, &h->threads[i]);
	free(h->threads);
	*h = (struct hold){0};
	return held_ns;
}
