/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/target.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- launching --------------------------------------------------------------------- */

static void become(const struct target_identity *id)
{
	if (!id->change)
		return;
	if (initgroups(id->name, id->gid) || setgid(id->gid) || setuid(id->uid))
		_exit(125);
	setenv("USER", id->name, 1);
	setenv("LOGNAME", id->name, 1);
	setenv("HOME", id->home, 1);
	setenv("SHELL", id->shell, 1);
	unsetenv("SUDO_COMMAND");
	unsetenv("SUDO_USER");
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
}

static _Noreturn void child(const struct target_launch_options *o, int gate, int exec_error)
{
	char go;
	int e;

	if (o->mask)
		sigprocmask(SIG_SETMASK, o->mask, NULL);
	become(&o->identity);
	if (read(gate, &go, 1) != 1)
		_exit(125); /* the recorder gave up */
	execvp(o->argv[0], o->argv);
	e = errno;
	if (write(exec_error, &e, sizeof(e)) != sizeof(e))
		_exit(125);
	_exit(e == ENOENT ? 127 : 126);
}

int target_launch(struct target *t, const struct target_launch_options *o, struct err *err)
{
	int gate[2], exec_error[2];

	memset(t, 0, sizeof(*t));
	t->pidfd = -1;
	if (pipe2(gate, O_CLOEXEC) < 0)
		return err_set(err, ERR_FAILED, errno, "cannot make a pipe");
	if (pipe2(exec_error, O_CLOEXEC) < 0) {
		int e = errno;

		close(gate[0]);
		close(gate[1]);
		return err_set(err, ERR_FAILED, e, "cannot make a pipe");
	}
	t->pid = fork();
	if (t->pid == 0) {
		close(gate[1]);
		close(exec_error[0]);
		child(o, gate[0], exec_error[1]);
	}
	close(gate[0]);
	close(exec_error[1]);
	t->gate = gate[1];
	t->exec_error = exec_error[0];
	if (t->pid < 0) {
		int e = errno;

		close(t->gate);
		close(t->exec_error);
		return err_set(err, ERR_FAILED, e, "cannot start '%s'", o->argv[0]);
	}
	t->launched = true;
	if (o->allow_trace && !ptrace(PTRACE_SEIZE, t->pid, NULL,
				   (void *)(PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT)))
		t->traced = true;
	return 0;
}

int target_exec(struct target *t, const char *command, struct err *err)
{
	enum target_event e;
	int failed = 0;
	ssize_t n;

	if (write(t->gate, "", 1) != 1)
		return err_set(err, ERR_FAILED, errno, "cannot start '%s'", command);
	close(t->gate);
	t->gate = -1;
	/* not traced, it is the probes that stop it after its exec */
	while ((e = target_wait(t, !t->traced)) == TARGET_EXITING)
		target_continue(t);
	do
		n = read(t->exec_error, &failed, sizeof(failed)); /* ends with the exec */
	while (n < 0 && errno == EINTR);
	close(t->exec_error);
	t->exec_error = -1;
	if (n != sizeof(failed) && e != TARGET_ENDED)
		return 0;
	if (!failed)
		return err_set(err, ERR_FAILED, 0, "'%s' ended before it was started", command);
	err_set(err, failed == ENOENT ? ERR_NOT_FOUND : ERR_NOT_EXECUTABLE, failed,
		"cannot run '%s'", command);
	if (failed == ENOENT && strchr(command, '/') && !access(command, F_OK))
		err_hint(err, "the file is there, but the interpreter it names is not");
	else if (failed == ENOENT)
		err_hint(err, "no such program in PATH; give its path, as in ./%s", command);
	else if (failed == ENOEXEC)
		err_hint(err, "it is no program; a script needs a first line such as #!/bin/sh");
	return -failed;
}

/* ---- attaching --------------------------------------------------------------------- */

static int check_process(pid_t pid, struct err *err)
{
	char path[64], line[256];
	int tgid = 0;
	char state = '?';
	bool has_memory = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return err_set(err, ERR_FAILED, ESRCH, "cannot record process %d", (int)pid);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			continue;
		if (sscanf(line, "State: %c", &state) == 1)
			continue;
		has_memory |= !strncmp(line, "VmSize:", 7);
	}
	fclose(f);
	if (tgid && tgid != pid) {
		err_set(err, ERR_FAILED, 0, "cannot record %d: it is a thread of process %d",
			(int)pid, tgid);
		err_hint(err, "record the whole process: -p %d", tgid);
		return -EINVAL;
	}
	if (state == 'Z' || state == 'X') {
		err_set(err, ERR_FAILED, 0, "cannot record process %d: it has ended (a zombie)",
			(int)pid);
		err_hint(err, "it only waits for its parent to notice");
		return -ESRCH;
	}
	if (!has_memory) {
		err_set(err, ERR_FAILED, 0, "cannot record process %d: it is a kernel thread",
			(int)pid);
		err_hint(err, "kernel threads have no heap of their own");
		return -EINVAL;
	}
	return 0;
}

int target_attach(struct target *t, pid_t pid, struct err *err)
{
	int r;

	memset(t, 0, sizeof(*t));
	t->pid = pid;
	t->gate = t->exec_error = -1;
	if (pid == getpid()) {
		t->pidfd = -1;
		return err_set(err, ERR_FAILED, 0,
			       "cannot record process %d: it is this very heaptrail", (int)pid);
	}
	t->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	r = check_process(pid, err);
	if (r)
		target_release(t);
	return r;
}

/* ---- following --------------------------------------------------------------------- */

static void resume(struct target *t, int signal)
{
	ptrace(PTRACE_CONT, t->pid, NULL, (void *)(intptr_t)signal);
}

/* A stop for the sake of a signal, or of all threads together. */
static enum target_event signal_stop(struct target *t, int signal, bool is_group_stop,
				     bool hold_wanted)
{
	siginfo_t info = {0};

	if (signal == SIGSTOP && hold_wanted) {
		t->in_group_stop = is_group_stop;
		return TARGET_HELD;
	}
	if (is_group_stop) { /* somebody else's: stay stopped until SIGCONT */
		if (signal == SIGTRAP)
			resume(t, 0);
		else
			ptrace(PTRACE_LISTEN, t->pid, NULL, NULL);
		return TARGET_NOTHING;
	}
	/* the SIGCONT of target_continue() is not for the program to see */
	if (signal == SIGCONT && !ptrace(PTRACE_GETSIGINFO, t->pid, NULL, &info) &&
	    info.si_code == SI_USER && info.si_pid == getpid())
		signal = 0;
	resume(t, signal);
	return TARGET_NOTHING;
}

static enum target_event interpret(struct target *t, int status, bool hold_wanted)
{
	int event = status >> 16;

	if (WIFEXITED(status) || WIFSIGNALED(status)) {
		t->ended = true;
		t->wait_status = status;
		return TARGET_ENDED;
	}
	if (!WIFSTOPPED(status))
		return TARGET_NOTHING;
	if (!t->traced)
		return WSTOPSIG(status) == SIGSTOP ? TARGET_HELD : TARGET_NOTHING;
	if (event == PTRACE_EVENT_EXEC)
		return TARGET_EXEC;
	if (event == PTRACE_EVENT_EXIT)
		return TARGET_EXITING;
	return signal_stop(t, WSTOPSIG(status), event == PTRACE_EVENT_STOP, hold_wanted);
}

static enum target_event wait_for(struct target *t, int flags, bool hold_wanted)
{
	int status;
	pid_t r;

	if (t->ended)
		return TARGET_ENDED;
	do
		r = waitpid(t->pid, &status, flags | __WALL | WUNTRACED);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return TARGET_NOTHING;
	if (r < 0) { /* somebody else took its status */
		t->ended = true;
		return TARGET_ENDED;
	}
	return interpret(t, status, hold_wanted);
}

enum target_event target_poll(struct target *t, bool hold_wanted)
{
	if (t->launched)
		return wait_for(t, WNOHANG, hold_wanted);
	if (!t->ended && syscall(SYS_kill, t->pid, 0) < 0 && errno == ESRCH)
		t->ended = true;
	return t->ended ? TARGET_ENDED : TARGET_NOTHING;
}

enum target_event target_wait(struct target *t, bool hold_wanted)
{
	enum target_event e;

	do
		e = wait_for(t, 0, hold_wanted);
	while (e == TARGET_NOTHING);
	return e;
}

void target_continue(struct target *t)
{
	if (t->ended)
		return;
	if (!t->traced || t->in_group_stop)
		kill(t->pid, SIGCONT);
	if (t->traced)
		resume(t, 0);
	t->in_group_stop = false;
}

void target_release(struct target *t)
{
	if (t->traced && !t->ended) {
		/* only a stopped tracee can be let go: ask it to stop, unseen by the program */
		int status;

		if (!ptrace(PTRACE_INTERRUPT, t->pid, NULL, NULL) &&
		    waitpid(t->pid, &status, __WALL) == t->pid && WIFSTOPPED(status)) {
			int event = status >> 16;
			int signal = event ? 0 : WSTOPSIG(status);

			ptrace(PTRACE_DETACH, t->pid, NULL, (void *)(intptr_t)signal);
		}
	}
	t->traced = false;
	if (t->gate >= 0)
		close(t->gate);
	if (t->exec_error >= 0)
		close(t->exec_error);
	if (t->pidfd >= 0)
		close(t->pidfd);
	t->gate = t->exec_error = t->pidfd = -1;
}

void target_kill(struct target *t)
{
	int status;

	if (!t->launched || t->ended)
		return;
	kill(t->pid, SIGKILL);
	while (waitpid(t->pid, &status, __WALL) == t->pid && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, t->pid, NULL, NULL);
	t->ended = true;
}
