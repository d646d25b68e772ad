/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/process_list.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"

static const struct process_entry *find(const struct process_list *l, pid_t pid)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->entries[i].pid == pid)
			return &l->entries[i];
	return NULL;
}

static void test_names(void)
{
	static const struct {
		const char *path, *allocator;
	} files[] = {
		{"/usr/lib/x86_64-linux-gnu/libc.so.6", "glibc"},
		{"/lib64/libc-2.31.so", "glibc"},
		{"/tmp/x/libc.so.6 (deleted)", "glibc"},
		{"/usr/lib/libjemalloc.so.2", "jemalloc"},
		{"/usr/lib/libtcmalloc_minimal.so.4", "tcmalloc"},
		{"/opt/libmimalloc.so.2.1", "mimalloc"},
		{"/lib/ld-musl-x86_64.so.1", "musl"},
		{"/lib/libcrypt.so.1", NULL},
		{"/lib/libc.so.6/other", NULL},
		{"[heap]", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(files); i++) {
		const char *found = process_list_allocator_of(files[i].path);

		ok(found == files[i].allocator ||
			   (found && files[i].allocator && !strcmp(found, files[i].allocator)),
		   "'%s' is %s", files[i].path, found ? found : "none");
	}
}

static void test_own(void)
{
	struct process_list list, again;
	const struct process_entry *e;
	bool sorted = true;

	process_list_make(&list, NULL);
	for (size_t i = 1; i < list.n; i++)
		sorted &= list.entries[i - 1].pid < list.entries[i].pid;
	ok(sorted, "they are by pid");
	e = find(&list, getpid());
	ok(e && e->uid == geteuid() && e->rss_bytes > 65536 && e->start_ticks, "this process is there");
	ok(e && strstr(e->command, "test_process_list") && !strncmp(e->name, "test_process", 12),
	   "with its name and command");
	ok(e && (!strcmp(e->allocator, "glibc") || !strcmp(e->allocator, "ASan")),
	   "and its allocator: %s", e ? e->allocator : "?");
	ok(!find(&list, 2) || strcmp(find(&list, 2)->name, "kthreadd") != 0, "no kernel threads");
	/* what was found before is kept, and nothing else */
	for (size_t i = 0; i < list.n; i++)
		if (list.entries[i].pid == getpid())
			list.entries[i].allocator = "as before";
	process_list_make(&again, &list);
	e = find(&again, getpid());
	ok(e && !strcmp(e->allocator, "as before"), "what is known is not looked for again");
	for (size_t i = 0; i < list.n; i++)
		list.entries[i].start_ticks++;
	process_list_release(&again);
	process_list_make(&again, &list);
	e = find(&again, getpid());
	ok(e && strcmp(e->allocator, "as before") != 0, "but of another process with that pid");
	process_list_release(&again);
	process_list_release(&list);
	ok(!list.entries && !list.n, "released");
}

static void test_child(void)
{
	struct process_list list;
	const struct process_entry *e;
	pid_t pid = fork();
	siginfo_t info;

	if (!pid) {
		prctl(PR_SET_NAME, "two words");
		raise(SIGSTOP);
		_exit(0);
	}
	waitid(P_PID, (id_t)pid, &info, WSTOPPED);
	process_list_make(&list, NULL);
	e = find(&list, pid);
	ok(e && !strcmp(e->name, "two words"), "a name with a blank");
	process_list_release(&list);
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	process_list_make(&list, NULL);
	ok(!find(&list, pid), "no zombies");
	process_list_release(&list);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	test_names();
	test_own();
	test_child();
	return done();
}
