/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/interrupts.h"

#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

int interrupts_begin(struct interrupts *i, int keeper, struct err *err)
{
	sigset_t mask;

	*i = (struct interrupts){.fd = -1, .keeper = keeper};
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, &i->old_mask);
	i->fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (i->fd < 0)
		return err_set(err, ERR_FAILED, errno, "cannot receive signals");
	return 0;
}

enum interrupt interrupts_read(struct interrupts *i, bool launched)
{
	struct pollfd keeper = {.fd = i->keeper};
	enum interrupt what = INTERRUPT_NONE;
	struct signalfd_siginfo s;

	while (read(i->fd, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCHLD)
			continue;
		if (s.ssi_signo == SIGUSR1) {
			i->asks_look = true;
			continue;
		}
		/* the terminal sends the first Ctrl-C to the command too: end with it */
		if (s.ssi_signo != SIGINT || !launched || i->count++)
			what = INTERRUPT_STOP;
		else if (what == INTERRUPT_NONE)
			what = INTERRUPT_FIRST;
	}
	/* nobody writes into the pipe: what can be seen of it is its end */
	if (i->keeper && poll(&keeper, 1, 0) > 0)
		what = INTERRUPT_ABANDON;
	return what;
}

void interrupts_end(struct interrupts *i)
{
	if (i->fd >= 0) {
		close(i->fd);
		sigprocmask(SIG_SETMASK, &i->old_mask, NULL);
	}
	i->fd = -1;
}
