/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/save.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/complete.h"
#include "common/format.h"

static void make(const char *from, const char *to, struct save_result *ret)
{
	struct complete_result done;
	char safe[300], events[FORMAT_MAX];
	struct err err;

	ret->failed = complete_copy(from, to, &done, &err) < 0;
	if (ret->failed)
		snprintf(ret->text, sizeof(ret->text), "%s%s%s", err.what, err.hint[0] ? ": " : "",
			 err.hint);
	else
		snprintf(ret->text, sizeof(ret->text), "saved to '%s': %s events",
			 format_safe(safe, sizeof(safe), to), format_count(events, done.events));
}

static _Noreturn void run_child(const char *from, const char *to, int fd)
{
	struct save_result result;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t done = 0;

	memset(&result, 0, sizeof(result));
	signal(SIGPIPE, SIG_IGN);
	/* progress is for nobody: the screen is the parent's */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		_exit(ERR_FAILED);
	make(from, to, &result);
	while (done < sizeof(result)) {
		ssize_t n = write(fd, (char *)&result + done, sizeof(result) - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	_exit(0);
}

bool save_start(struct save *s, const char *from, const char *to, void (*in_child)(void *arg),
		void *arg)
{
	int fds[2], e;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	s->pid = fork();
	if (!s->pid) {
		close(fds[0]);
		in_child(arg);
		run_child(from, to, fds[1]);
	}
	e = errno;
	close(fds[1]);
	if (s->pid > 0) {
		s->fd = fds[0];
		return true;
	}
	close(fds[0]);
	s->pid = 0;
	errno = e;
	return false;
}

bool save_is_running(const struct save *s)
{
	return s->pid > 0;
}

bool save_has_ended(struct save *s, bool wait, struct save_result *ret)
{
	struct pollfd fd = {.fd = s->fd, .events = POLLIN};
	size_t done = 0;
	ssize_t n;

	if (!s->pid || (!wait && poll(&fd, 1, 0) <= 0))
		return false;
	/* the result is written at once, or never */
	while ((n = read(s->fd, (char *)ret + done, sizeof(*ret) - done)) > 0 ||
	       (n < 0 && errno == EINTR))
		done += n > 0 ? (size_t)n : 0;
	if (done < sizeof(*ret)) {
		ret->failed = true;
		snprintf(ret->text, sizeof(ret->text), "cannot save: whoever did it has died");
	}
	ret->text[sizeof(ret->text) - 1] = '\0';
	close(s->fd);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
	return true;
}
