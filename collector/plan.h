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
struct plan_point {
	const struct family *family; /* NULL: ld.so's debug hook */
	const struct family_function *function;
	uint64_t file_offset; /* of the probed instruction */
	struct elf_symbol symbol; /* of the function */
	struct probe_site site;
};

struct plan_object {
	dev_t device;
	ino_t inode;
	char *path;  /* as the process names it */
	char *file;  /* by which it can be opened from here */
	struct plan_point *points;
	size_t n_points, cap_points;
};

struct plan {
	struct plan_object *objects;
	size_t n_objects, cap_objects;
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
/* Writes where the probes are: facts "probe:…", "other_allocator". */
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
/* Fills @err, returns -ENOENT. */
int plan_explain_no_allocator(pid_t pid, struct err *err);
/* Does the file at @path bear the name that a user's probe has for its module? */
bool plan_is_module(const char *path, const char *name);
bool plan_has_hook(const struct plan *p); /* ld.so is there, and will stop when it is through */

#endif
