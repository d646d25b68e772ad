/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/restore.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/xalloc.h"

/* Written by a handler of any thread; whoever turns @is_on off restores, so it is done once. */
static struct {
	bool is_on;
	bool has_modes;
	bool needs_line;
	pid_t owner; /* its children have the handlers, too, until they exec */
	struct termios modes;
	char sequence[256];
	size_t len;
} state;

/* End the process, unless someone handles or ignores them. */
static const int endings[] = {SIGHUP,  SIGINT,	SIGQUIT, SIGTERM, SIGPIPE,
			      SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ};
static const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

static struct sigaction before[NSIG];

static void write_all(const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* the terminal has gone */
		p += n;
		len -= (size_t)n;
	}
}

bool restore_is_ours(void)
{
	return state.owner == getpid();
}

void restore_now(void)
{
	sigset_t tell_no_stop, old;
	int saved = errno;

	if (!restore_is_ours() || !__atomic_exchange_n(&state.is_on, false, __ATOMIC_ACQ_REL))
		return;
	/* from the background tcsetattr() would stop us, and nobody knows why */
	sigemptyset(&tell_no_stop);
	sigaddset(&tell_no_stop, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &tell_no_stop, &old);
	write_all(state.sequence, state.len);
	if (state.has_modes)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &state.modes);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
}

/*
 * Restores, and lets the signal do what it would have done.  The instruction that has
 * crashed is run again, so that who looks at the crash then, or a core, sees it there.
 */
static void on_signal(int number, siginfo_t *info, void *context)
{
	sigset_t mine;

	(void)context;
	restore_now();
	sigaction(number, &before[number], NULL);
	if (info->si_code > 0 && (number == SIGSEGV || number == SIGBUS || number == SIGFPE ||
				  number == SIGILL))
		return;
	sigemptyset(&mine);
	sigaddset(&mine, number);
	raise(number);
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
}

static void catch(int number, int flags)
{
	struct sigaction ours = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};
	struct sigaction now;

	if (sigaction(number, NULL, &now) || now.sa_sigaction == on_signal)
		return;
	before[number] = now;
	if (!(flags & SA_ONSTACK) && ((now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_DFL))
		return;
	sigfillset(&ours.sa_mask);
	sigaction(number, &ours, NULL);
}

/* Handlers run on it when the stack has overflowed. */
static void use_own_stack(void)
{
	static char memory[64 << 10];
	stack_t now, ours = {.ss_sp = memory, .ss_size = sizeof(memory)};

	if (!sigaltstack(NULL, &now) && (now.ss_flags & SS_DISABLE))
		sigaltstack(&ours, NULL);
}

void restore_begin(void)
{
	state.owner = getpid();
	state.has_modes = !tcgetattr(STDIN_FILENO, &state.modes);
	use_own_stack();
	for (size_t i = 0; i < COUNT_OF(endings); i++)
		catch(endings[i], 0);
	for (size_t i = 0; i < COUNT_OF(crashes); i++)
		catch(crashes[i], SA_ONSTACK);
	xalloc_set_hook(restore_now);
}

void restore_with(const char *sequence, unsigned int len, bool needs_line)
{
	__atomic_store_n(&state.is_on, false, __ATOMIC_RELEASE);
	state.len = len < sizeof(state.sequence) ? len : sizeof(state.sequence) - 1;
	state.needs_line = needs_line;
	memcpy(state.sequence, sequence, state.len);
	restore_again();
}

void restore_again(void)
{
	__atomic_store_n(&state.is_on, true, __ATOMIC_RELEASE);
}

void restore_end(void)
{
	__atomic_store_n(&state.is_on, false, __ATOMIC_RELEASE);
	if (state.needs_line)
		write_all("\r\n", 2);
}

void restore_stop(bool group)
{
	struct sigaction stop = {.sa_handler = SIG_DFL}, old;
	sigset_t mine, mask;

	sigaction(SIGTSTP, &stop, &old);
	sigemptyset(&mine);
	sigaddset(&mine, SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &mine, &mask);
	/* the shell waits for all of a pipeline, or for sudo, to stop */
	kill(group ? 0 : getpid(), SIGTSTP);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGTSTP, &old, NULL);
}
