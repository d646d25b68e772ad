/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UNWIND_TABLES_H
#define COLLECTOR_UNWIND_TABLES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/probes.h"
#include "image/process_maps.h"

/*
 * The unwind rules of the code that the target has mapped, brought into the
 * kernel's maps: made from each file's .eh_frame when the file is first met, and
 * kept to the end, in case it is mapped again.
 */
struct unwind_tables;

struct unwind_tables_counts {
	size_t files;	   /* with unwind information */
	size_t without;	   /* those without */
	size_t unusable;   /* those that could not be read, or had no room any more */
	size_t rows;	   /* as they lie in the maps */
	size_t bytes;	   /* of the maps */
	size_t rules;	   /* different ones */
	size_t damaged;	   /* entries of .eh_frame that could not be understood */
	uint64_t ns;	   /* the time that reading files took */
};

/* @name is told which file events mean by an id. */
struct unwind_tables *unwind_tables_new(struct probes *p,
					void (*name)(void *arg, uint32_t id,
						     const struct process_map *map),
					void *name_arg);
/* NULL is fine. */
void unwind_tables_free(struct unwind_tables *t);

/*
 * Makes ready what is mapped now, and withdraws what no longer is, since its
 * number may come to be another file's.  @maps, of the process @pid, tell how each
 * file can be opened.  Returns 0, or a negative errno where nothing could be
 * learnt of the process.
 */
int unwind_tables_update(struct unwind_tables *t, pid_t pid, const struct process_maps *maps);

void unwind_tables_count(const struct unwind_tables *t, struct unwind_tables_counts *ret);

#endif
