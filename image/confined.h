/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_CONFINED_H
#define IMAGE_CONFINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/*
 * A child process for code that may crash, hang or be taken over by what it reads.  It
 * has no files but those given, may not write any, has a limit for its time and memory,
 * leaves no core, and dies with the thread that started it.
 */
struct confined {
	pid_t pid;
	int fd; /* what it says */
	int stop_fd; /* readable: it is to be stopped; 0: none */
	uint64_t idle_ns, idle_ns_max;
	void (*on_wait)(void *arg); /* see below */
	void *wait_arg;
};

struct confined_task {
	void (*run)(void *arg, int out); /* in the child; to write to @out */
	void *arg;
	int keep[2];	       /* files that it keeps; -1: none */
	unsigned int cpu_s;    /* limit of its CPU time */
	unsigned int idle_s;   /* limit of all the time in which it says nothing */
	int stop_fd;	       /* see above */
	void (*on_wait)(void *arg); /* called every second, or more often; or NULL */
	void *wait_arg;
	uint64_t memory_bytes; /* limit of what it may map in addition */
};

/* Returns 0 or a negative errno. */
int confined_start(struct confined *c, const struct confined_task *task);
/* Reads @len bytes; false where it ended before, is to stop, or said nothing for too long. */
bool confined_read(struct confined *c, void *buf, size_t len);
/* Kills it, if it has not ended, and waits for it. */
void confined_stop(struct confined *c);

/* In the child: raises its limit of memory, for a file that it is about to map. */
void confined_allow_memory(uint64_t bytes);
/* What mapping the file takes at most: holes in it cost nothing to make. */
uint64_t confined_file_bytes(const struct stat *st);

#endif
