/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holding a process for a moment: nothing of it moves, and nothing of it notices. */
#include "config.h"
#include "collector/hold.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "tests/unit/tap.h"

#define THREADS 8
#define SECOND 1000000000ull

/* Of parent and child. */
static struct shared {
	_Atomic uint64_t counts[THREADS];
	_Atomic uint64_t signals, naps, interrupted;
	_Atomic bool is_ready, may_exit;
	_Atomic uint64_t starts; /* of threads that come and go */
} *shared;

static void on_signal(int signal)
{
	(void)signal;
	shared->signals++;
}

static void *count(void *arg)
{
	_Atomic uint64_t *n = arg;

	while (!shared->may_exit)
		(*n)++;
	return NULL;
}

static void *nothing(void *arg)
{
	shared->starts++;
	return arg;
}

static void *start_threads(void *arg)
{
	while (!shared->may_exit) {
		pthread_t t;

		if (!pthread_create(&t, NULL, nothing, NULL))
			pthread_join(t, NULL);
	}
	return arg;
}

static void *nap(void *arg)
{
	while (!shared->may_exit) {
		struct timespec wait = {.tv_nsec = 3000000};

		shared->interrupted += nanosleep(&wait, NULL) < 0 && errno == EINTR;
		shared->naps++;
	}
	return arg;
}

static _Noreturn void run_child(void)
{
	pthread_t threads[THREADS + 2];

	signal(SIGUSR1, on_signal);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count, (void *)&shared->counts[i]);
	pthread_create(&threads[THREADS], NULL, start_threads, NULL);
	pthread_create(&threads[THREADS + 1], NULL, nap, NULL);
	shared->is_ready = true;
	for (int i = 0; i < THREADS + 2; i++)
		pthread_join(threads[i], NULL);
	_exit(7);
}

static pid_t start(void (*run)(void))
{
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(1);
	}
	while (!shared->is_ready)
		usleep(1000);
	return pid;
}

static void child_of_many(void)
{
	run_child();
}

static bool stands_still(void)
{
	struct shared before = *shared, after;

	usleep(20000);
	after = *shared;
	return !memcmp(&before, &after, sizeof(before));
}

/* Does it go on within a while? */
static bool moves(const _Atomic uint64_t *what)
{
	uint64_t before = *what, end = clock_now_ns() + 60 * SECOND;

	while (*what == before && clock_now_ns() < end)
		usleep(1000);
	return *what != before;
}

static void test_attached(void)
{
	struct target t = {.pid = start(child_of_many), .pidfd = -1, .gate = -1, .exec_error = -1};
	int status, still = 0, registers = 0, n_signals = 0;
	size_t threads = 0;

	for (int i = 0; i < 20; i++) {
		struct hold h;
		struct err err;

		if (hold_start(&t, 10 * SECOND, &h, &err))
			bail_out("%s", err.what);
		kill(t.pid, SIGUSR1);
		still += stands_still();
		threads = h.n;
		for (size_t k = 0; k < h.n; k++)
			registers += h.threads[k].has_registers && h.threads[k].registers.rsp != 0;
		registers -= (int)h.n;
		n_signals++;
		ok(hold_end(&h) >= 20000000, "it was held as long as it was read");
		for (uint64_t end = clock_now_ns() + 60 * SECOND;
		     shared->signals < (uint64_t)n_signals && clock_now_ns() < end;)
			usleep(1000);
	}
	ok(still == 20, "no thread moves while it is held (%d of 20 times)", still);
	ok(threads >= THREADS + 3, "all threads are held (%zu)", threads);
	ok(registers == 0, "the registers of each are known");
	ok(shared->signals == 20, "signals come when it goes on (%d)", (int)shared->signals);
	ok(shared->interrupted <= 20, "sleep goes on but for the signals (%d of %d)",
	   (int)shared->interrupted, (int)shared->naps);
	for (int i = 0; i < THREADS; i++)
		ok(moves(&shared->counts[i]), "thread %d goes on", i);
	ok(moves(&shared->starts), "threads come and go again");
	shared->may_exit = true;
	waitpid(t.pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "it ends as it would have");
	target_release(&t);
}

/* As a launched one: its main thread is traced for its whole life. */
static void test_traced(void)
{
	struct target t = {.pid = start(child_of_many), .pidfd = -1, .gate = -1, .exec_error = -1,
			   .launched = true, .traced = true};
	enum target_event e;
	struct hold h;
	struct err err;

	if (ptrace(PTRACE_SEIZE, t.pid, NULL, (void *)(PTRACE_O_TRACEEXIT)) < 0)
		bail_out("cannot trace a child");
	for (int i = 0; i < 5; i++) {
		if (hold_start(&t, 10 * SECOND, &h, &err))
			bail_out("%s", err.what);
		kill(t.pid, SIGUSR1);
		ok(stands_still(), "no thread of a traced one moves");
		hold_end(&h);
		for (int k = 0; k < 60000 && shared->signals <= (uint64_t)i; k++) {
			if (target_poll(&t) != TARGET_NOTHING)
				bail_out("something happened to it");
			usleep(1000);
		}
		ok(shared->signals == (uint64_t)i + 1, "its signals come");
	}
	shared->may_exit = true;
	e = target_wait(&t);
	ok(e == TARGET_EXITING, "it stops in its exit");
	ok(!hold_at_exit(&t, 10 * SECOND, &h) && h.n == 1 && h.threads[0].has_registers,
	   "there it is held by itself");
	hold_end(&h);
	target_continue(&t);
	ok(target_wait(&t) == TARGET_ENDED && WEXITSTATUS(t.wait_status) == 7, "and ends");
	target_release(&t);
}

/* Another traces it; or it has gone; or does not stop. */
static void test_refused(void)
{
	struct target t = {.pid = start(child_of_many), .pidfd = -1, .gate = -1, .exec_error = -1};
	struct hold h = {0};
	struct err err;
	int status, to_child[2], r;
	pid_t tracer;
	char c;

	if (pipe(to_child) < 0)
		bail_out("no pipe");
	tracer = fork();
	if (!tracer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		r = ptrace(PTRACE_SEIZE, t.pid, NULL, NULL) < 0;
		r |= write(to_child[1], r ? "n" : "y", 1) != 1;
		pause();
		_exit(r);
	}
	ok(read(to_child[0], &c, 1) == 1 && c == 'y', "another process traces it");
	r = hold_start(&t, SECOND, &h, &err);
	ok(r == -EPERM && strstr(err.hint, "traces it"), "then it is not held: %s; %s", err.what,
	   err.hint);
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	kill(t.pid, SIGKILL);
	waitpid(t.pid, &status, 0);
	ok(hold_start(&t, SECOND, &h, &err) == -ESRCH, "one that has gone: %s", err.what);
	hold_end(&h);
	target_release(&t);
}

static void child_of_vfork(void)
{
	pid_t child;

	shared->is_ready = true;
	child = vfork();
	if (!child) {
		while (!shared->may_exit)
			shared->counts[0]++;
		_exit(0);
	}
	shared->counts[1] = 1;
	waitpid(child, NULL, 0);
	_exit(9);
}

static void test_stuck(void)
{
	struct target t = {.pid = start(child_of_vfork), .pidfd = -1, .gate = -1, .exec_error = -1};
	struct hold h = {0};
	struct err err;
	pid_t r = 0;
	int status;

	ok(moves(&shared->counts[0]), "a process waits for the child of its vfork()");
	ok(hold_start(&t, SECOND / 10, &h, &err) == -ETIMEDOUT, "it cannot be held: %s", err.what);
	ok(hold_start(&t, SECOND / 10, &h, &err) == -ETIMEDOUT, "nor the next time: %s", err.what);
	shared->may_exit = true;
	for (int i = 0; i < 60000 && !r; i++) {
		if (t.n_later)
			target_poll(&t);
		else
			r = waitpid(t.pid, &status, WNOHANG);
		usleep(1000);
	}
	ok(r == t.pid && WIFEXITED(status) && WEXITSTATUS(status) == 9 && shared->counts[1] == 1,
	   "it goes on, and ends as it would have");
	target_release(&t);
}

int main(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		bail_out("no memory");
	test_attached();
	test_traced();
	test_refused();
	test_stuck();
	return done();
}
