/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/trigger_commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buffer.h"

/* A command and its variables; a path is the longest of these. */
#define MESSAGE_BYTES_MAX 65536

/* ---- the process that runs them ------------------------------------------------------- */

/* What it writes stays apart from what the recorded command does: that may be piped on. */
static void set_output(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
}

static _Noreturn void run(const char *message, size_t n)
{
	const char *command = message;
	sigset_t none;

	for (const char *p = message + strlen(message) + 1; p < message + n; p += strlen(p) + 1) {
		const char *equals = strchr(p, '=');
		char name[64];

		if (!equals || (size_t)(equals - p) >= sizeof(name))
			continue;
		memcpy(name, p, (size_t)(equals - p));
		name[equals - p] = '\0';
		setenv(name, equals + 1, 1);
	}
	for (int s = 1; s < SIGRTMAX; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	set_output();
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Until the recorder has ended, however that came about. */
static _Noreturn void serve(int fd, const struct target_identity *id)
{
	static char message[MESSAGE_BYTES_MAX + 1];
	ssize_t n;

	prctl(PR_SET_NAME, "heaptrail-when");
	signal(SIGCHLD, SIG_IGN); /* nobody asks what became of them */
	signal(SIGINT, SIG_IGN);  /* the terminal's is for the recorder */
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	target_become(id);
	while ((n = recv(fd, message, MESSAGE_BYTES_MAX, 0)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		message[n] = '\0';
		if (!fork())
			run(message, (size_t)n);
	}
	_exit(0);
}

int trigger_commands_start(struct trigger_commands *c, const struct target_identity *id,
			   struct err *err)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set(err, ERR_FAILED, errno, "cannot make a socket for commands");
	c->pid = fork();
	if (!c->pid) {
		close(fds[0]);
		serve(fds[1], id);
	}
	close(fds[1]);
	c->fd = fds[0];
	if (c->pid < 0) {
		int e = errno;

		close(c->fd);
		c->pid = 0;
		return err_set(err, ERR_FAILED, e, "cannot make a process for commands");
	}
	return 0;
}

/* ---- the recorder's side -------------------------------------------------------------- */

bool trigger_commands_run(struct trigger_commands *c, const char *command,
			  char *const *environment)
{
	struct buffer b = {0};
	bool is_sent;

	buffer_append(&b, command, strlen(command) + 1);
	for (; *environment; environment++)
		buffer_append(&b, *environment, strlen(*environment) + 1);
	is_sent = c->pid && b.len <= MESSAGE_BYTES_MAX &&
		  send(c->fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)b.len;
	buffer_release(&b);
	return is_sent;
}

void trigger_commands_stop(struct trigger_commands *c)
{
	if (!c->pid)
		return;
	close(c->fd);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
}
