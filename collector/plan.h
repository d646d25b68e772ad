/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PLAN_H
#define COLLECTOR_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/family.h"
#include "image/elf_file.h"
#include "image/probe_site.h"
#include "image/process_maps.h"
#include "store/writer.h"

/*
 * What of a process is to be probed, and where: the allocators among its mapped
 * files, and ld.so's debug hook.
 */
enum plan_role {
	PLAN_HOOK,   /* ld.so's debug hook */
	PLAN_CALL,   /* where a function begins, or its return too */
	PLAN_EXIT,   /* where one that may throw ends */
	PLAN_UNWIND, /* where something is thrown, or jumps far */
	PLAN_SYSCALL, /* behind a system call that maps or unmaps */
};

struct plan_point {
	enum plan_role role;
	const struct family *family; /* PLAN_CALL, PLAN_EXIT */
	const struct family_function *function;
	const char *symbol;
	long syscall; /* PLAN_SYSCALL: its number; the symbol is its name */
	bool is_shared; /* see struct syscall_site */
	uint64_t file_offset; /* of the probed instruction */
	struct elf_symbol extent; /* of the function */
	bool at_exits;		  /* its ends are probed, not its return */
	struct probe_site site; /* of an exit, offset is 0 */
	struct exit_site exit;
};

struct plan_object {
	dev_t device;
	ino_t inode;
	char *path;  /* as the process names it */
	char *file;  /* by which it can be opened from here */
	struct plan_point *points;
	size_t n_points, cap_points;
	/* functions that cannot be probed: "symbol (why)" */
	char **refused;
	size_t n_refused, cap_refused;
	size_t n_unsure; /* calls that may map, of which the code is not understood */
};

struct plan {
	struct plan_object *objects;
	size_t n_objects, cap_objects;
	char *user_refused; /* a user's function that cannot be probed: "symbol (why)", or NULL */
	char *other_allocator; /* an object that takes malloc's place and is not known, or NULL */
	bool *is_matched; /* [number of a user's probe]: it is put somewhere */
	size_t cap_matched;
};

/*
 * Reads the files that @maps of process @pid show.  An object without anything
 * to probe, or that cannot be read, is left out; @ret may be empty.
 */
void plan_make(pid_t pid, const struct process_maps *maps, struct plan *ret);
void plan_release(struct plan *p);
/* Writes where the probes are: facts "probe:…", "not_probed", "other_allocator", …. */
void plan_put(const struct plan *p, struct store_writer *w);
bool plan_has_allocator(const struct plan *p); /* one of ours */
bool plan_has_user_probes(const struct plan *p);
/* Is a user's function among it? */
bool plan_has_matched(const struct plan *p, const struct family_function *f);
/*
 * Why is there no place for @f in the process?  Fills @err, with the functions that are called
 * most alike; returns -ENOENT.
 */
int plan_explain_unmatched(pid_t pid, const struct process_maps *maps,
			   const struct family_function *f, struct err *err);
/* The same of one that is there and cannot be probed, as plan.user_refused; -ENOTSUP. */
int plan_explain_refused(const char *refused, struct err *err);
/* Fills @err, returns -ENOENT. */
int plan_explain_no_allocator(pid_t pid, struct err *err);
/* Does the file at @path bear the name that a user's probe has for its module? */
bool plan_is_module(const char *path, const char *name);
bool plan_has_hook(const struct plan *p); /* ld.so is there, and will stop when it is through */

#endif
