/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_LINKS_H
#define COLLECTOR_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Programs of ours on instructions of one process, by either kind of kernel link.
 *
 * A perf link is for one instruction; the kernel takes 5 ms to make it, and 100 ms to remove
 * it.  A uprobe_multi link is for all of a file, and takes no longer.  But of a child that the
 * process forks the first kind removes a breakpoint at its first hit; the second leaves them,
 * and each hit costs the child its time, until they are swept away.
 */
struct bpf_program;
struct bpf_link;

struct link_point {
	struct bpf_program *program;
	const char *name; /* of the function, for messages */
	uint64_t offset;  /* in the file */
	uint64_t cookie;
	bool at_return;
};

struct links {
	pid_t pid;
	bool use_multi;
	struct bpf_link **perf;
	size_t n_perf, cap_perf;
	int *multi;
	size_t n_multi, cap_multi;
	/* of the second kind: what is to be swept */
	struct links_file {
		char *path;
		uint64_t *offsets;
		size_t n;
	} *files;
	size_t n_files, cap_files;
};

/*
 * Which kind serves: the second where the kernel has it for all threads, or where perf events
 * are not ours to make.  HEAPTRAIL_LINKS in the environment, "perf" or "multi", says otherwise.
 */
bool links_want_multi(void);
/*
 * Puts @points on a file that the process has mapped; those of one program together.  Returns 0,
 * or a negative errno and in @ret_failed which it was.
 */
int links_attach(struct links *l, const char *path, const struct link_point *points, size_t n,
		 const struct link_point **ret_failed);
/* Removes the breakpoints from all other processes: children that inherited them. */
void links_sweep(const struct links *l, struct bpf_program *any);
/* Kernel links held, and their files. */
size_t links_count(const struct links *l);
int links_fd(const struct links *l, size_t i);
/* Takes as long as the kernel does. */
void links_destroy(struct links *l);
/* Destroyed before. */
void links_release(struct links *l);

#endif
