/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "collector/process_facts.h"
#include "collector/refusal.h"
#include "common/xalloc.h"
#include "image/elf_file.h"

/* ---- launching --------------------------------------------------------------------- */

void target_become(const struct target_identity *id)
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

/*
 * As execvp(), but what is no program is not given to a shell: its heap would be
 * recorded.  Returns an errno.
 */
static int run(char *const *argv)
{
	const char *path = getenv("PATH"), *end;
	char file[PATH_MAX];
	int found = ENOENT;

	if (strchr(argv[0], '/') || !argv[0][0]) {
		execv(argv[0], argv);
		return errno;
	}
	for (path = path ? path : "/bin:/usr/bin"; path; path = *end ? end + 1 : NULL) {
		int dir;

		end = strchrnul(path, ':');
		dir = (int)(end - path);
		if (snprintf(file, sizeof(file), "%.*s%s%s", dir, path, dir ? "/" : "", argv[0]) >=
		    (int)sizeof(file))
			continue;
		execv(file, argv);
		if (errno == EACCES)
			found = EACCES; /* there may be one that is ours to run */
		else if (errno != ENOENT && errno != ENOTDIR)
			return errno;
	}
	return found;
}

static _Noreturn void child(const struct target_launch_options *o, int gate, int exec_error)
{
	char go;
	int e;

	if (o->mask)
		sigprocmask(SIG_SETMASK, o->mask, NULL);
	target_become(&o->identity);
	if (o->one_output && dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
		_exit(125);
	if (read(gate, &go, 1) != 1)
		_exit(125); /* the recorder gave up */
	e = run(o->argv);
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
	t->guards_rights = o->identity.change || geteuid() != 0;
	if (o->allow_trace && !ptrace(PTRACE_SEIZE, t->pid, NULL,
				   (void *)(PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT)))
		t->traced = true;
	return 0;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
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
	while ((e = target_wait(t)) == TARGET_EXITING)
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
	else if (failed == EACCES && is_folder(command))
		err_hint(err, "it is a folder");
	else if (failed == EACCES)
		err_hint(err, "is it a program, and may it be run?  See `ls -l` and `chmod +x`");
	return -failed;
}

/* ---- attaching --------------------------------------------------------------------- */

struct process_status {
	char state; /* 'R', 'S', 'Z', … */
	int tgid, threads;
	bool has_memory;
};

static int read_status(pid_t pid, struct process_status *ret)
{
	char path[64], line[256];
	FILE *f;

	*ret = (struct process_status){.state = '?'};
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Tgid: %d", &ret->tgid) != 1 &&
		    sscanf(line, "State: %c", &ret->state) != 1 &&
		    sscanf(line, "Threads: %d", &ret->threads) != 1)
			ret->has_memory |= !strncmp(line, "VmSize:", 7);
	}
	fclose(f);
	return ret->tgid ? 0 : -ESRCH;
}

/* /proc may hide the processes of others (hidepid). */
static int no_process(pid_t pid, int e, struct err *err)
{
	if (e != ENOENT && e != ESRCH) {
		err_set(err, ERR_FAILED, e, "cannot record process %d", (int)pid);
		refusal_explain(REFUSED_PROC, e, err);
		return -e;
	}
	err_set(err, ERR_FAILED, ESRCH, "cannot record process %d", (int)pid);
	if (kill(pid, 0) < 0 && errno == ESRCH) {
		err_hint(err, "`ps -e` lists those that run");
	} else {
		err_set(err, ERR_PRIVILEGE, 0,
			"cannot record process %d: it is there, but /proc does not show it",
			(int)pid);
		err_hint(err, "/proc is mounted with hidepid: run heaptrail as root (sudo)");
	}
	return -ESRCH;
}

static int check_zombie(pid_t pid, const struct process_status *s, struct err *err)
{
	if (s->state != 'Z' && s->state != 'X')
		return 0;
	if (s->threads > 1) {
		err_set(err, ERR_FAILED, 0,
			"cannot record process %d: its main thread has ended, %d others run on",
			(int)pid, s->threads - 1);
		err_hint(err, "the kernel finds a process's memory by its main thread; record such "
			      "a program from its start: heaptrail record -- COMMAND");
		return -EINVAL;
	}
	err_set(err, ERR_FAILED, 0, "cannot record process %d: it has ended (a zombie)", (int)pid);
	err_hint(err, "it only waits for its parent to notice");
	return -ESRCH;
}

/* Its machine code must be ours. */
static int check_program(pid_t pid, struct err *err)
{
	struct elf_file *elf;
	char path[64];
	bool fits;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	if (elf_file_open(path, &elf, NULL) < 0)
		return 0; /* what it needs rights for is said later */
	fits = elf_file_is_64bit(elf) && elf_file_machine(elf) == EM_X86_64;
	elf_file_close(elf);
	if (fits)
		return 0;
	err_set(err, ERR_FAILED, 0, "cannot record process %d: it is not a 64-bit x86 program",
		(int)pid);
	err_hint(err, "32-bit programs are not supported");
	return -ENOEXEC;
}

static int check_process(pid_t pid, struct err *err)
{
	struct process_status s;
	int r = read_status(pid, &s);

	if (r)
		return no_process(pid, -r, err);
	if (s.tgid != pid) {
		err_set(err, ERR_FAILED, 0, "cannot record %d: it is a thread of process %d",
			(int)pid, s.tgid);
		err_hint(err, "record the whole process: -p %d", s.tgid);
		return -EINVAL;
	}
	r = check_zombie(pid, &s, err);
	if (r)
		return r;
	if (!s.has_memory) {
		err_set(err, ERR_FAILED, 0, "cannot record process %d: it is a kernel thread",
			(int)pid);
		err_hint(err, "kernel threads have no heap of their own");
		return -EINVAL;
	}
	return check_program(pid, err);
}

int target_attach(struct target *t, pid_t pid, struct err *err)
{
	int r;

	memset(t, 0, sizeof(*t));
	t->pid = pid;
	t->gate = t->exec_error = t->pidfd = -1;
	t->guards_rights = geteuid() != 0;
	if (pid == getpid())
		return err_set(err, ERR_FAILED, 0,
			       "cannot record process %d: it is this very heaptrail", (int)pid);
	r = check_process(pid, err);
	if (r)
		return r;
	t->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (t->pidfd < 0) {
		r = err_set(err, ERR_FAILED, errno, "cannot record process %d", (int)pid);
		refusal_explain(REFUSED_PROC, -r, err);
	}
	return r;
}

/* What the kernel told the program itself: AT_SECURE in its auxiliary vector. */
static bool has_gained_rights(pid_t pid)
{
	uint64_t entry[2] = {AT_NULL};
	bool is_secure = false;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return errno == EACCES || errno == EPERM; /* it was ours before */
	while (fread(entry, sizeof(entry), 1, f) == 1 && entry[0] != AT_NULL)
		is_secure |= entry[0] == AT_SECURE && entry[1];
	fclose(f);
	return is_secure;
}

/*
 * Is its file one that gives rights?  Under a tracer without CAP_SYS_PTRACE the
 * kernel withholds them, and the program would not do what it is for.
 */
static bool would_gain_rights(pid_t pid)
{
	char path[64], attribute[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return stat(path, &st) == 0 &&
	       ((st.st_mode & S_ISUID) ||
		(st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) ||
		getxattr(path, "security.capability", attribute, sizeof(attribute)) > 0);
}

int target_check_rights(const struct target *t, struct err *err)
{
	char *program;

	if (!t->guards_rights || (!has_gained_rights(t->pid) && !would_gain_rights(t->pid)))
		return 0;
	program = process_executable(t->pid);
	err_set(err, ERR_PRIVILEGE, 0,
		"cannot record '%s': it runs with rights of its own (setuid, setgid or "
		"capabilities)", program ? program : "the new program");
	free(program);
	err_hint(err, "its heap belongs to somebody else; root may record it (under sudo with "
		      "--as-root)");
	return -EPERM;
}

void target_explain_end(struct target *t, struct err *err)
{
	struct process_status s;

	if (t->launched || t->pid <= 0 || t->pid == getpid())
		return;
	if (read_status(t->pid, &s) == 0 && s.state != 'Z' && s.state != 'X' && s.has_memory)
		return;
	/* what was wrong with it from the start has been said already */
	if (t->pidfd < 0)
		return;
	err_set(err, ERR_FAILED, 0, "process %d ended while heaptrail attached to it", (int)t->pid);
	err_hint(err, "record a short-lived program from its start: heaptrail record -- COMMAND");
}

/* ---- following --------------------------------------------------------------------- */

static void resume(struct target *t, int signal)
{
	ptrace(PTRACE_CONT, t->pid, NULL, (void *)(intptr_t)signal);
}

/* A stop for the sake of a signal, or of all threads together. */
static enum target_event signal_stop(struct target *t, int signal, bool is_group_stop)
{
	siginfo_t info = {0};

	if (signal == SIGSTOP && t->is_hold(t->is_hold_arg)) {
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

static enum target_event interpret(struct target *t, int status)
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
		return WSTOPSIG(status) == SIGSTOP && t->is_hold(t->is_hold_arg) ? TARGET_HELD
										 : TARGET_NOTHING;
	if (event == PTRACE_EVENT_EXEC)
		return TARGET_EXEC;
	if (event == PTRACE_EVENT_EXIT)
		return TARGET_EXITING;
	return signal_stop(t, WSTOPSIG(status), event == PTRACE_EVENT_STOP);
}

static enum target_event wait_for(struct target *t, int flags)
{
	int status;
	pid_t r;

	if (t->ended)
		return TARGET_ENDED;
	if (t->has_noted) {
		t->has_noted = false;
		return interpret(t, t->noted_status);
	}
	do
		r = waitpid(t->pid, &status, flags | __WALL | WUNTRACED);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return TARGET_NOTHING;
	if (r > 0 && t->n_later && WIFSTOPPED(status) && target_keep(t, t->pid)) {
		int signal = status >> 16 ? 0 : WSTOPSIG(status);

		ptrace(PTRACE_DETACH, t->pid, NULL, (void *)(intptr_t)signal);
		return TARGET_NOTHING; /* the stop was for a hold that was given up */
	}
	if (r < 0) { /* somebody else took its status */
		t->ended = true;
		return TARGET_ENDED;
	}
	return interpret(t, status);
}

int target_threads(const struct target *t)
{
	struct process_status s;

	return read_status(t->pid, &s) ? 0 : s.threads;
}

void target_note_status(struct target *t, int status)
{
	t->has_noted = true;
	t->noted_status = status;
}

void target_let_go_later(struct target *t, pid_t tid)
{
	ARRAY_GROW(t->later, t->cap_later, t->n_later);
	t->later[t->n_later++] = tid;
}

bool target_keep(struct target *t, pid_t tid)
{
	for (size_t i = 0; i < t->n_later; i++) {
		if (t->later[i] == tid) {
			t->later[i] = t->later[--t->n_later];
			return true;
		}
	}
	return false;
}

static void let_go_of_stopped(struct target *t)
{
	for (size_t i = t->n_later; i-- > 0;) {
		int status;
		pid_t r = waitpid(t->later[i], &status, WNOHANG | __WALL);

		if (!r || (r < 0 && errno == EINTR))
			continue;
		if (r == t->pid && t->launched && !WIFSTOPPED(status))
			target_note_status(t, status); /* its end is told next */
		if (r > 0 && WIFSTOPPED(status)) {
			int signal = status >> 16 ? 0 : WSTOPSIG(status);

			ptrace(PTRACE_DETACH, r, NULL, (void *)(intptr_t)signal);
		}
		t->later[i] = t->later[--t->n_later];
	}
}

enum target_event target_poll(struct target *t)
{
	if (t->n_later)
		let_go_of_stopped(t);
	if (t->launched)
		return wait_for(t, WNOHANG);
	if (!t->ended && poll(&(struct pollfd){.fd = t->pidfd, .events = POLLIN}, 1, 0) > 0)
		t->ended = true; /* a zombie has ended, too */
	return t->ended ? TARGET_ENDED : TARGET_NOTHING;
}

enum target_event target_wait(struct target *t)
{
	enum target_event e;

	do
		e = wait_for(t, 0);
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

/* A stop that hold.c has seen, and nobody after it. */
static void release_noted(struct target *t)
{
	int status = t->noted_status;

	if (!t->has_noted)
		return;
	t->has_noted = false;
	if (!WIFSTOPPED(status)) {
		interpret(t, status);
	} else if (t->traced) {
		int signal = status >> 16 ? 0 : WSTOPSIG(status);

		ptrace(PTRACE_DETACH, t->pid, NULL, (void *)(intptr_t)signal);
		t->traced = false;
	}
}

/* Threads that were asked to stop, and have not yet: they have so long. */
#define LATER_MS 1000

static void release_later(struct target *t)
{
	for (int i = 0; t->n_later && i < LATER_MS; i++) {
		let_go_of_stopped(t);
		if (t->n_later)
			usleep(1000);
	}
}

void target_release(struct target *t)
{
	release_noted(t);
	release_later(t);
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
	free(t->later);
	t->later = NULL;
	t->n_later = t->cap_later = 0;
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

void target_put(const struct target *t, struct store_writer *w, const char *command,
		uint64_t start_ns, bool ended, uint64_t end_ns)
{
	struct process_record p = {.id = 1,
				   .pid = t->pid,
				   .command = command,
				   .start_ns = start_ns,
				   .end_ns = end_ns,
				   .exit_status = -1};

	if (ended && t->launched) {
		p.ended = true;
		if (WIFSIGNALED(t->wait_status))
			p.exit_signal = WTERMSIG(t->wait_status);
		else
			p.exit_status = WEXITSTATUS(t->wait_status);
	}
	if (!end_ns)
		store_writer_put_text(w, "command", command);
	store_writer_put_process(w, &p);
}
