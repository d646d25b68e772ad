/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/invoker.h"
#include "collector/privileges.h"
#include "common/clock.h"
#include "common/xalloc.h"
#include "store/copy.h"

/* A recorder that nobody needs has so long to let go; then its guard does. */
#define LET_GO_NS 20000000000ull

enum operation { OPERATION_START, OPERATION_STOP, OPERATION_SNAPSHOT, OPERATIONS };

struct request {
	uint32_t operation;
	int32_t pid; /* 0: the command */
};

enum answer_kind { ANSWER_STARTED, ANSWER_FAILED, ANSWER_ENDED };

struct answer {
	uint32_t kind;
	int32_t status;	     /* errno, or of waitpid(2) */
	char text[PATH_MAX]; /* the path, or what the recorder said */
};

struct recorder {
	int socket;
	pid_t broker;
	char *folder;
	bool is_running;
	bool is_lost; /* the broker has gone */
};

struct broker {
	const struct recorder_options *options;
	const char *folder;
	int socket, signals, log;
	sigset_t old_mask;
	unsigned int n_files; /* in the folder, so far */
	/* of the recorder that runs: */
	pid_t pid; /* 0: none does */
	bool is_kept;
	int pidfd, keeper, messages;
	char text[sizeof(((struct recorder_end *)0)->text)];
	size_t len;
};

/* ---- files -------------------------------------------------------------------------- */

static void remove_folder(const char *folder, unsigned int n_files)
{
	for (unsigned int i = 1; i <= n_files; i++) {
		char *path = xasprintf("%s/%u.trail", folder, i);

		store_remove(path);
		free(path);
	}
	rmdir(folder);
}

static int make_folder(char **ret, struct err *err)
{
	const char *tmp = getenv("TMPDIR");
	char *folder = xasprintf("%s/heaptrail-top.XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
	int r;

	if (mkdtemp(folder)) { /* 0700, and new */
		*ret = folder;
		return 0;
	}
	r = err_set(err, ERR_FAILED, errno, "cannot make the folder '%s'", folder);
	err_hint(err, "set TMPDIR to a folder that you can write, with room for the recording");
	free(folder);
	return r;
}

static int open_log(const char *path, int *ret, struct err *err)
{
	int fd = open(path ? path : "/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY |
		      (path ? O_CREAT : 0), 0666);

	if (fd < 0)
		return err_set(err, ERR_FAILED, errno, "cannot open '%s'",
			       path ? path : "/dev/null");
	*ret = fd;
	return 0;
}

/* ---- the broker: the recorder ------------------------------------------------------- */

/* A file that is there stays: at first the recorder says so, later another one is taken. */
static char *choose_path(struct broker *b)
{
	const char *output = b->options->output;
	struct stat st;

	b->is_kept = output && (!b->n_files || lstat(output, &st) < 0);
	b->n_files++;
	return b->is_kept ? xstrdup(output) : xasprintf("%s/%u.trail", b->folder, b->n_files);
}

/* `record` takes %p and the like in names; here they are what they are. */
static char *escape(const char *path)
{
	char *out = xmalloc(2 * strlen(path) + 1), *p = out;

	for (; *path; *p++ = *path++)
		if (*path == '%')
			*p++ = '%';
	*p = '\0';
	return out;
}

static char **recorder_arguments(const struct broker *b, pid_t pid, const char *path, int keeper)
{
	const struct recorder_options *o = b->options;
	size_t n = 0, more = 0, words = 0;
	char **argv;

	while (o->arguments[more])
		more++;
	while (o->command && o->command[words])
		words++;
	argv = xcalloc(more + words + 12, sizeof(*argv));
	argv[n++] = xstrdup("heaptrail");
	argv[n++] = xstrdup("record");
	argv[n++] = xstrdup("-q");
	argv[n++] = xasprintf("--keeper=%d", keeper);
	argv[n++] = xstrdup("-o");
	argv[n++] = escape(path);
	for (size_t i = 0; i < more; i++)
		argv[n++] = o->arguments[i];
	if (pid) {
		argv[n++] = xstrdup("-p");
		argv[n++] = xasprintf("%d", (int)pid);
		return argv;
	}
	argv[n++] = xstrdup("--");
	for (size_t i = 0; i < words; i++)
		argv[n++] = o->command[i];
	return argv;
}

static _Noreturn void run_recorder(const struct broker *b, pid_t pid, const char *path,
				   int keeper, int messages)
{
	char **argv = recorder_arguments(b, pid, path, keeper);

	/* standard input is /dev/null already */
	if (dup2(b->log, STDOUT_FILENO) < 0 || dup2(messages, STDERR_FILENO) < 0 ||
	    fcntl(keeper, F_SETFD, 0) < 0)
		_exit(ERR_FAILED);
	sigprocmask(SIG_SETMASK, &b->old_mask, NULL);
	execv("/proc/self/exe", argv);
	dprintf(STDERR_FILENO, "heaptrail: cannot start the recorder: %s\n", strerror(errno));
	_exit(ERR_FAILED);
}

static int start_recorder(struct broker *b, pid_t pid, const char *path)
{
	int keeper[2], messages[2], e = 0;

	if (pipe2(keeper, O_CLOEXEC) < 0)
		return errno;
	if (pipe2(messages, O_CLOEXEC) < 0) {
		e = errno;
		close(keeper[0]);
		close(keeper[1]);
		return e;
	}
	b->pid = fork();
	if (!b->pid)
		run_recorder(b, pid, path, keeper[0], messages[1]);
	e = b->pid < 0 ? errno : 0;
	close(keeper[0]);
	close(messages[1]);
	if (b->pid > 0) {
		b->pidfd = (int)syscall(SYS_pidfd_open, b->pid, 0);
		e = b->pidfd < 0 ? errno : 0;
		if (e) {
			kill(b->pid, SIGKILL);
			waitpid(b->pid, NULL, 0);
		}
	}
	if (e) {
		close(keeper[1]);
		close(messages[0]);
		b->pid = 0;
		return e;
	}
	b->keeper = keeper[1];
	b->messages = messages[0];
	b->len = 0;
	fcntl(b->messages, F_SETFL, O_NONBLOCK);
	return 0;
}

static void answer(const struct broker *b, enum answer_kind kind, int status, const char *text)
{
	struct answer a = {.kind = kind, .status = status};

	snprintf(a.text, sizeof(a.text), "%s", text);
	/* a viewer that reads no answers gets none: the socket's end tells us when it has gone */
	send(b->socket, &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What it says; the first part, if it says much. */
static void read_messages(struct broker *b)
{
	char block[512];
	ssize_t n;

	while ((n = read(b->messages, block, sizeof(block))) > 0) {
		size_t room = sizeof(b->text) - 1 - b->len;
		size_t taken = (size_t)n < room ? (size_t)n : room;

		memcpy(b->text + b->len, block, taken);
		b->len += taken;
	}
	b->text[b->len] = '\0';
	if (n == 0) { /* nobody has the other end any more */
		close(b->messages);
		b->messages = -1;
	}
}

static void close_recorder(struct broker *b)
{
	int status = -1;

	while (waitpid(b->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (b->messages >= 0) {
		read_messages(b);
		if (b->messages >= 0)
			close(b->messages);
	}
	if (b->keeper >= 0)
		close(b->keeper);
	close(b->pidfd);
	b->pid = 0;
	b->pidfd = b->messages = b->keeper = -1;
	answer(b, ANSWER_ENDED, status, b->text);
}

/* ---- the broker: its life ----------------------------------------------------------- */

static void start(struct broker *b, pid_t pid)
{
	char *path;
	int e;

	if (b->pid || pid < 0 || (!pid && !b->options->command)) {
		answer(b, ANSWER_FAILED, b->pid ? EBUSY : EINVAL, "");
		return;
	}
	path = choose_path(b);
	e = start_recorder(b, pid, path);
	if (e)
		answer(b, ANSWER_FAILED, e, "");
	else
		answer(b, ANSWER_STARTED, 0, path);
	free(path);
}

/* False when the viewer has gone, or talks nonsense. */
static bool serve(struct broker *b)
{
	struct request q;
	ssize_t n = recv(b->socket, &q, sizeof(q), MSG_TRUNC);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n != sizeof(q))
		return false;
	if (q.operation == OPERATION_START)
		start(b, q.pid);
	else if (q.operation == OPERATION_STOP && b->pid)
		kill(b->pid, SIGTERM);
	else if (q.operation == OPERATION_SNAPSHOT && b->pid)
		kill(b->pid, SIGUSR1);
	return q.operation < OPERATIONS;
}

/* Nobody is there any more. */
static void end_recorder(struct broker *b)
{
	uint64_t until = clock_now_ns() + LET_GO_NS;

	if (b->is_kept) {
		kill(b->pid, SIGTERM);
	} else {
		close(b->keeper);
		b->keeper = -1;
	}
	while (poll(&(struct pollfd){.fd = b->pidfd, .events = POLLIN}, 1, 100) <= 0) {
		if (b->messages >= 0)
			read_messages(b);
		if (!b->is_kept && clock_now_ns() > until)
			kill(b->pid, SIGKILL);
	}
	close_recorder(b);
}

static void loop(struct broker *b)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = b->socket, .events = POLLIN},
				       {.fd = b->signals, .events = POLLIN},
				       {.fd = b->pidfd, .events = POLLIN},
				       {.fd = b->messages, .events = POLLIN}};

		if (poll(fds, COUNT_OF(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[3].revents)
			read_messages(b);
		if (fds[2].revents)
			close_recorder(b);
		if (fds[1].revents || (fds[0].revents && !serve(b)))
			return;
	}
}

static _Noreturn void be_broker(const struct recorder_options *o, int socket, const char *folder,
				int log)
{
	struct broker b = {.options = o, .folder = folder, .socket = socket, .log = log,
			   .pidfd = -1, .keeper = -1, .messages = -1};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t mask;

	setsid();
	/* it holds no terminal; what it would say has nobody to read it */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		_exit(ERR_FAILED);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, &b.old_mask);
	b.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (b.signals >= 0)
		loop(&b);
	if (b.pid)
		end_recorder(&b);
	if (!invoker_become(&o->identity, NULL))
		remove_folder(folder, b.n_files);
	_exit(0);
}

/* ---- the viewer --------------------------------------------------------------------- */

static int fork_broker(const struct recorder_options *o, struct recorder *r, int log,
		       struct err *err)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_set(err, ERR_FAILED, errno, "cannot start the recorder");
	r->broker = fork();
	if (!r->broker) {
		close(sockets[0]);
		be_broker(o, sockets[1], r->folder, log);
	}
	r->socket = sockets[0];
	close(sockets[1]);
	return r->broker < 0 ? err_set(err, ERR_FAILED, errno, "cannot start the recorder") : 0;
}

int recorder_open(const struct recorder_options *o, struct recorder **ret, struct err *err)
{
	struct recorder *r = xcalloc(1, sizeof(*r));
	struct privileges_before before;
	int log = -1, e;

	r->socket = -1;
	privileges_act_as(&o->identity, &before);
	e = open_log(o->log, &log, err);
	if (!e)
		e = make_folder(&r->folder, err);
	privileges_act_as_before(&o->identity, &before);
	if (!e)
		e = fork_broker(o, r, log, err);
	if (log >= 0)
		close(log);
	if (!e) {
		*ret = r;
		return 0;
	}
	if (r->folder)
		rmdir(r->folder);
	if (r->socket >= 0)
		close(r->socket);
	free(r->folder);
	free(r);
	return e;
}

void recorder_forget(struct recorder *r)
{
	close(r->socket);
	r->socket = -1;
}

void recorder_close(struct recorder *r, int wait_ms, void (*on_wait)(void))
{
	uint64_t until = clock_now_ns() + (uint64_t)wait_ms * 1000000;
	bool has_said = false;

	if (!r)
		return;
	close(r->socket);
	for (;;) {
		pid_t ended = waitpid(r->broker, NULL, WNOHANG);

		if (ended == r->broker || (ended < 0 && errno != EINTR))
			break;
		if (!has_said && on_wait && clock_now_ns() > until) {
			has_said = true;
			on_wait();
		}
		usleep(5000);
	}
	free(r->folder);
	free(r);
}

/* One answer, if there is one in time. */
static bool receive(struct recorder *r, int wait_ms, struct answer *ret)
{
	struct pollfd fd = {.fd = r->socket, .events = POLLIN};
	ssize_t n;

	while (poll(&fd, 1, wait_ms) < 0 && errno == EINTR)
		;
	if (!fd.revents || r->is_lost)
		return false;
	n = recv(r->socket, ret, sizeof(*ret), MSG_DONTWAIT);
	if (n == sizeof(*ret)) {
		ret->text[sizeof(ret->text) - 1] = '\0';
		return true;
	}
	r->is_lost = n >= 0 || (errno != EAGAIN && errno != EINTR);
	return false;
}

static int ask(struct recorder *r, enum operation operation, pid_t pid)
{
	struct request q = {.operation = operation, .pid = (int32_t)pid};

	return send(r->socket, &q, sizeof(q), MSG_NOSIGNAL) == sizeof(q) ? 0 : -errno;
}

int recorder_start(struct recorder *r, pid_t pid, char **ret_path, struct err *err)
{
	struct answer a = {.kind = ANSWER_FAILED, .status = EPIPE};

	if (!ask(r, OPERATION_START, pid))
		while (!receive(r, -1, &a) && !r->is_lost)
			;
	if (a.kind != ANSWER_STARTED)
		return err_set(err, ERR_FAILED, a.status, "cannot start the recorder");
	r->is_running = true;
	*ret_path = xstrdup(a.text);
	return 0;
}

void recorder_stop(struct recorder *r)
{
	if (r->is_running)
		ask(r, OPERATION_STOP, 0);
}

void recorder_take_snapshot(struct recorder *r)
{
	if (r->is_running)
		ask(r, OPERATION_SNAPSHOT, 0);
}

bool recorder_is_running(const struct recorder *r)
{
	return r->is_running;
}

bool recorder_has_ended(struct recorder *r, int wait_ms, struct recorder_end *ret)
{
	struct answer a;

	if (!r->is_running)
		return false;
	if (receive(r, wait_ms, &a) && a.kind == ANSWER_ENDED) {
		ret->wait_status = a.status;
		snprintf(ret->text, sizeof(ret->text), "%.*s", (int)sizeof(ret->text) - 1, a.text);
	} else if (r->is_lost) {
		*ret = (struct recorder_end){.wait_status = -1};
	} else {
		return false;
	}
	r->is_running = false;
	return true;
}

bool recorder_is_temporary(const struct recorder *r, const char *path)
{
	size_t n = strlen(r->folder);

	return !strncmp(path, r->folder, n) && path[n] == '/';
}

void recorder_remove(struct recorder *r, const char *path)
{
	if (recorder_is_temporary(r, path))
		store_remove(path);
	if (r->is_lost)
		rmdir(r->folder); /* nobody else does it */
}
