/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/confined.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xalloc.h"

#define POLL_MS 1000
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define FILE_BYTES_MAX (8ull << 30)
#define END_MS_MAX 5000 /* a read from a bad disk may never end */

/* ---- the child ------------------------------------------------------------------ */

/* What is blocked or handled by the caller is not so here; the terminal's signals are its own. */
static void reset_signals(void)
{
	static const int of_terminal[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM};
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	for (size_t i = 0; i < COUNT_OF(of_terminal); i++)
		signal(of_terminal[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Of all capabilities it keeps that to read files, which it may have been given for this. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	const uint32_t kept = 1u << CAP_DAC_READ_SEARCH;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &header, data))
		return;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= i ? 0 : kept;
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	syscall(SYS_capset, &header, data);
}

static uint64_t mapped_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void set_limits(const struct confined_task *t)
{
	uint64_t memory = mapped_bytes() + t->memory_bytes;
	struct rlimit none = {0, 0}, cpu = {t->cpu_s, t->cpu_s + 1}, as = {memory, RLIM_INFINITY};

	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_CPU, &cpu);
	getrlimit(RLIMIT_AS, &as);
	if (as.rlim_cur == RLIM_INFINITY || as.rlim_cur > memory) {
		as.rlim_cur = memory < as.rlim_max ? memory : as.rlim_max;
		setrlimit(RLIMIT_AS, &as);
	}
	setrlimit(RLIMIT_FSIZE, &none);
}

void confined_allow_memory(uint64_t bytes)
{
	struct rlimit as;

	if (getrlimit(RLIMIT_AS, &as) || as.rlim_cur == RLIM_INFINITY)
		return;
	as.rlim_cur = bytes < as.rlim_max - as.rlim_cur ? as.rlim_cur + bytes : as.rlim_max;
	setrlimit(RLIMIT_AS, &as);
}

uint64_t confined_file_bytes(const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_blocks * 512;

	return bytes < FILE_BYTES_MAX ? bytes : FILE_BYTES_MAX;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* All but @out and those to keep. */
static void close_files(const struct confined_task *t, int out)
{
	int kept[] = {out, t->keep[0], t->keep[1]};
	int next = STDERR_FILENO + 1, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i <= STDERR_FILENO; i++) /* the C library writes to them when it aborts */
		if (null >= 0 && i != out && i != t->keep[0] && i != t->keep[1])
			dup2(null, i);
	qsort(kept, COUNT_OF(kept), sizeof(kept[0]), compare_fds);
	for (size_t i = 0; i < COUNT_OF(kept); i++) {
		if (kept[i] < next)
			continue;
		if (kept[i] > next)
			close_range((unsigned int)next, (unsigned int)kept[i] - 1, 0);
		next = kept[i] + 1;
	}
	close_range((unsigned int)next, ~0u, 0);
}

static _Noreturn void run_child(const struct confined_task *t, int out, pid_t parent)
{
	int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	xalloc_set_hook(NULL); /* it is for the caller's terminal and recording */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	if (oom >= 0) { /* before the caller, and what it watches */
		(void)!write(oom, "1000", 4);
		close(oom);
	}
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a core that is piped to a program has no limit */
	reset_signals();
	close_files(t, out);
	set_limits(t);
	drop_capabilities();
	t->run(t->arg, out);
	_exit(0);
}

/* ---- the parent ----------------------------------------------------------------- */

int confined_start(struct confined *c, const struct confined_task *task)
{
	sigset_t all, before;
	pid_t parent = getpid();
	int ends[2], r = 0;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	signal(SIGCHLD, SIG_DFL); /* ignored, it would be gone before we wait for it */
	/* no handler of ours may run in the child */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	c->pid = fork();
	if (c->pid == 0)
		run_child(task, ends[1], parent);
	if (c->pid < 0)
		r = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(ends[1]);
	if (r) {
		close(ends[0]);
		return r;
	}
	c->fd = ends[0];
	c->stop_fd = task->stop_fd;
	c->on_wait = task->on_wait;
	c->wait_arg = task->wait_arg;
	c->idle_ns = 0;
	c->idle_ns_max = task->idle_s * NS_PER_S;
	return 0;
}

/* Only short waits are added up: while we are stopped, nobody is at fault. */
static bool wait_for_more(struct confined *c)
{
	while (c->idle_ns < c->idle_ns_max) {
		struct pollfd p[] = {{.fd = c->fd, .events = POLLIN},
				     {.fd = c->stop_fd, .events = POLLIN}};
		uint64_t start = clock_now_ns(), waited_ns;
		int n;

		if (c->on_wait)
			c->on_wait(c->wait_arg);
		n = poll(p, c->stop_fd ? 2 : 1, POLL_MS);
		waited_ns = clock_now_ns() - start;
		c->idle_ns += waited_ns < POLL_MS * NS_PER_MS ? waited_ns : POLL_MS * NS_PER_MS;
		if (n > 0)
			return !p[1].revents;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

bool confined_read(struct confined *c, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n;

		if (!wait_for_more(c))
			return false;
		n = read(c->fd, (char *)buf + done, len - done);
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	return true;
}

void confined_stop(struct confined *c)
{
	close(c->fd);
	kill(c->pid, SIGKILL); /* not yet waited for, so that the pid is its own */
	for (int ms = 0; waitpid(c->pid, NULL, WNOHANG) == 0 && ms < END_MS_MAX; ms++)
		usleep(1000);
}
