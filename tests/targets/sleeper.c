/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that waits: each of its threads sits in another system call, with some
 * allocations between the calls.  It counts how often each was interrupted (EINTR)
 * and how often it came back before its time, and prints that as JSON at its end.
 *
 *   sleeper [MS]	runs until its standard input ends, or for MS milliseconds
 *   sleeper --noisy MS [N]	(0: until its input ends) with one more thread, that does
 *			nothing but malloc, realloc and free (N times, if that is given)
 *   sleeper --watched	is a parent that forks a sleeper and counts what it hears of
 *			it: SIGCHLDs by their code, and what waitid() says; prints "heard"
 *			each time that it has taken all there was
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ll /* ns */

static atomic_int stop;
static int lane[2]; /* a pipe that is written to now and then */
static int epoll_fd;
static sem_t never;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static struct timespec span(long long ns)
{
	return (struct timespec){ns / (1000 * MS), ns % (1000 * MS)};
}

/* Every one returns 0 when its time was up or its data there, or the error's number. */

static int by_epoll_wait(long long ns)
{
	struct epoll_event e;

	return epoll_wait(epoll_fd, &e, 1, (int)(ns / MS)) < 0 ? errno : 0;
}

static int by_poll(long long ns)
{
	return poll(NULL, 0, (int)(ns / MS)) < 0 ? errno : 0;
}

static int by_select(long long ns)
{
	struct timeval t = {0, ns / 1000};

	return select(0, NULL, NULL, NULL, &t) < 0 ? errno : 0;
}

static int by_nanosleep(long long ns)
{
	struct timespec t = span(ns);

	return nanosleep(&t, NULL) < 0 ? errno : 0;
}

static int by_clock_nanosleep(long long ns)
{
	struct timespec t = span(now(CLOCK_MONOTONIC) + ns);

	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int by_sem_clockwait(long long ns)
{
	struct timespec t = span(now(CLOCK_MONOTONIC) + ns);

	if (!sem_clockwait(&never, CLOCK_MONOTONIC, &t))
		return 0;
	return errno == ETIMEDOUT ? 0 : errno;
}

static int by_cond_clockwait(long long ns)
{
	struct timespec t = span(now(CLOCK_MONOTONIC) + ns);
	int r;

	pthread_mutex_lock(&mutex);
	r = pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &t);
	pthread_mutex_unlock(&mutex);
	return r == ETIMEDOUT ? 0 : r;
}

static int by_futex(long long ns)
{
	struct timespec t = span(ns);
	static int word;

	if (!syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0))
		return 0;
	return errno == ETIMEDOUT ? 0 : errno;
}

static int by_sigtimedwait(long long ns)
{
	struct timespec t = span(ns);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	if (sigtimedwait(&set, NULL, &t) >= 0)
		return 0;
	return errno == EAGAIN ? 0 : errno;
}

static int by_read(long long ns)
{
	char c;

	(void)ns;
	return read(lane[0], &c, 1) == 1 ? 0 : errno ? errno : EPIPE;
}

static struct way {
	const char *name;
	int (*wait)(long long ns);
	int ms; /* 0: has no time */
	unsigned long calls, interrupted, early, failed;
	pthread_t thread;
} ways[] = {
	{.name = "epoll_wait", .wait = by_epoll_wait, .ms = 41},
	{.name = "poll", .wait = by_poll, .ms = 43},
	{.name = "select", .wait = by_select, .ms = 37},
	{.name = "nanosleep", .wait = by_nanosleep, .ms = 47},
	{.name = "clock_nanosleep", .wait = by_clock_nanosleep, .ms = 53},
	{.name = "sem_clockwait", .wait = by_sem_clockwait, .ms = 31},
	{.name = "cond_clockwait", .wait = by_cond_clockwait, .ms = 29},
	{.name = "futex", .wait = by_futex, .ms = 59},
	{.name = "sigtimedwait", .wait = by_sigtimedwait, .ms = 61},
	{.name = "read", .wait = by_read},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static void allocate(int n)
{
	for (int i = 0; i < n; i++) {
		char *volatile p = malloc(32 + (size_t)i * 8);

		p[0] = 1;
		p = realloc(p, 64 + (size_t)i * 16);
		free(p);
	}
}

static void *sit(void *arg)
{
	struct way *w = arg;

	while (!stop) {
		/* the clock that each kind of wait goes by is not always the same: leave 1 ms */
		long long ns = w->ms * MS, begin = now(CLOCK_MONOTONIC);
		int r;

		errno = 0;
		r = w->wait(ns);
		w->calls++;
		if (r == EINTR)
			w->interrupted++;
		else if (r)
			w->failed++;
		else if (w->ms && now(CLOCK_MONOTONIC) - begin < ns - MS)
			w->early++;
		allocate(20);
	}
	return NULL;
}

static void *write_now_and_then(void *arg)
{
	struct timespec t = span(67 * MS), left;

	while (!stop) {
		left = t;
		while (nanosleep(&left, &left))
			;
		if (write(lane[1], "", 1) != 1)
			return arg;
	}
	if (write(lane[1], "", 1) != 1) /* the last one: the reader is to see the end */
		return arg;
	return NULL;
}

static void *make_noise(void *arg)
{
	long most = *(const long *)arg;

	for (long n = 0; !stop && (!most || n < most); n += 100)
		allocate(100);
	return NULL;
}

/* @noise: so often, 0: all the time; NULL: there is none. */
static int run(long ms, long *noise)
{
	unsigned long interrupted = 0, failed = 0;
	pthread_t writer, noisy;
	sigset_t set;
	char c;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	if (epoll_fd < 0 || pipe(lane) || sem_init(&never, 0, 0) ||
	    pthread_sigmask(SIG_BLOCK, &set, NULL) ||
	    pthread_create(&writer, NULL, write_now_and_then, NULL))
		return 2;
	for (size_t i = 0; i < WAYS; i++)
		if (pthread_create(&ways[i].thread, NULL, sit, &ways[i]))
			return 2;
	if (noise && pthread_create(&noisy, NULL, make_noise, noise))
		return 2;
	puts("ready");
	fflush(stdout);
	if (ms) {
		struct timespec left = span(ms * MS);

		while (nanosleep(&left, &left))
			interrupted++;
	} else {
		ssize_t n;

		while ((n = read(STDIN_FILENO, &c, 1)) != 0)
			interrupted += n < 0;
	}
	stop = 1;
	pthread_join(writer, NULL);
	for (size_t i = 0; i < WAYS; i++)
		pthread_join(ways[i].thread, NULL);
	if (noise)
		pthread_join(noisy, NULL);
	printf("{\"main\": {\"interrupted\": %lu}", interrupted);
	for (size_t i = 0; i < WAYS; i++) {
		printf(", \"%s\": {\"calls\": %lu, \"interrupted\": %lu, \"early\": %lu, "
		       "\"failed\": %lu}",
		       ways[i].name, ways[i].calls, ways[i].interrupted, ways[i].early,
		       ways[i].failed);
		failed += ways[i].failed;
	}
	puts("}");
	return failed != 0;
}

/* ---- the parent ---------------------------------------------------------------------- */

#define CODES 8 /* CLD_EXITED (1) to CLD_CONTINUED (6) */

static void print_counts(const char *name, const unsigned int *counts)
{
	static const char *const names[CODES] = {NULL,	    "exited",  "killed",    "dumped",
						 "trapped", "stopped", "continued", NULL};

	printf("\"%s\": {", name);
	for (int i = CLD_EXITED; i <= CLD_CONTINUED; i++)
		printf("%s\"%s\": %u", i > CLD_EXITED ? ", " : "", names[i], counts[i]);
	printf("}");
}

static int watch(void)
{
	unsigned int signals[CODES] = {0}, waits[CODES] = {0};
	int ended = 0, status = 0;
	siginfo_t info;
	sigset_t set;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	child = fork();
	if (child < 0)
		return 2;
	if (child == 0) {
		printf("child %d\n", (int)getpid());
		fflush(stdout); /* before it says that it is ready, which the parent could not promise */
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		exit(run(0, NULL));
	}
	while (!ended) {
		if (sigwaitinfo(&set, &info) < 0)
			continue;
		if (info.si_pid == child && info.si_code > 0 && info.si_code < CODES)
			signals[info.si_code]++;
		for (;;) {
			info.si_pid = 0;
			if (waitid(P_PID, (id_t)child, &info,
				   WSTOPPED | WCONTINUED | WEXITED | WNOHANG) < 0 ||
			    !info.si_pid)
				break;
			if (info.si_code > 0 && info.si_code < CODES)
				waits[info.si_code]++;
			if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED ||
			    info.si_code == CLD_DUMPED) {
				status = info.si_status;
				ended = 1;
				break;
			}
		}
		puts("heard");
		fflush(stdout);
	}
	printf("{");
	print_counts("signals", signals);
	printf(", ");
	print_counts("waits", waits);
	printf(", \"status\": %d}\n", status);
	return status != 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--watched"))
		return watch();
	if (argc > 2 && !strcmp(argv[1], "--noisy")) {
		long noise = argc > 3 ? atol(argv[3]) : 0;

		return run(atol(argv[2]), &noise);
	}
	return run(argc > 1 ? atol(argv[1]) : 0, NULL);
}
