/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UNWIND_TABLES_H
#define COLLECTOR_UNWIND_TABLES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/probes.h"
#include "image/process_maps.h"
#include "store/writer.h"

/*
 * The unwind rules of the code that the target has mapped, brought into the
 * kernel's maps: made from each file's .eh_frame when the file is first met, and
 * kept to the end, in case it is mapped again.
 */
struct unwind_tables;

/*
 * @name is told which file events mean by an @id, from 1 on; @map lives as long as the
 * call.  It may be NULL where nobody names frames.
 */
struct unwind_tables *unwind_tables_new(struct probes *p,
					void (*name)(void *arg, uint32_t id,
						     const struct process_map *map),
					void *name_arg);
/* NULL is fine. */
void unwind_tables_free(struct unwind_tables *t);

/*
 * Makes ready what is mapped now, and withdraws what no longer is, since its
 * number may come to be another file's.  @maps, of the process @pid, tell how each
 * file can be opened; they are of the @generation of its code.  Returns 0; -EAGAIN
 * where that has passed, and nothing was done; or another negative errno where
 * nothing could be learnt of the process.
 */
int unwind_tables_update(struct unwind_tables *t, pid_t pid, const struct process_maps *maps,
			 uint16_t generation);

/*
 * Makes room for what will be loaded later.  That takes the kernel a while, and so is
 * not done while a thread waits for its tables.
 */
void unwind_tables_reserve(struct unwind_tables *t);

/* Writes what they took: facts "unwind_…".  NULL is fine. */
void unwind_tables_put(const struct unwind_tables *t, struct store_writer *w);

#endif
