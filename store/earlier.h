/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_EARLIER_H
#define STORE_EARLIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "store/catalog.h"
#include "store/reader.h"

/*
 * The files that a recording goes on from (record --every), as far as they are given.  Their
 * events change no more, so that readers of the last one may come and go while these stay.  Few
 * are held open at a time: there may be more of them than a process may open.  One that is not
 * sealed may be being completed, with its names: it is held open for a moment only, else it could
 * not become one file, and what comes to it would not be seen.
 *
 * Chunks are numbered through all of them, and so are snapshots: those of the reader's own file
 * come behind.
 */

/*
 * @paths in their order, @n of them; @last: the file behind them.  -EINVAL with @err where
 * events between two are missing.
 */
int store_earlier_open(const char *const *paths, size_t n, const char *last,
		       struct store_earlier **ret, struct err *err);
void store_earlier_close(struct store_earlier *e);
/* They are not read for a while: those that are not sealed are not held open. */
void store_earlier_rest(struct store_earlier *e);
/* Bytes on disk, of all. */
uint64_t store_earlier_bytes_on_disk(const struct store_earlier *e);

/* ---- for reader.c ------------------------------------------------------------------- */

uint64_t store_earlier_chunks(const struct store_earlier *e);
uint64_t store_earlier_snapshots(const struct store_earlier *e);
/* Before the first of them. */
struct dropped_events store_earlier_dropped(const struct store_earlier *e);
/* The reader that has the chunk after number @after, and how many are before its own. */
int store_earlier_of_chunk(struct store_earlier *e, uint64_t after, struct store_reader **ret,
			   uint64_t *ret_before, struct err *err);
int store_earlier_find_checkpoint(struct store_earlier *e, uint64_t until,
				  struct checkpoint_info *ret, struct err *err);
int store_earlier_checkpoint(struct store_earlier *e, enum checkpoint_kind kind, uint64_t chunk,
			     struct buffer *ret, struct err *err);
int store_earlier_chunk_at(struct store_earlier *e, uint64_t t_ns, uint64_t *ret, struct err *err);
int store_earlier_list_snapshots(struct store_earlier *e, store_reader_snapshot_info *each,
				 void *arg, struct err *err);
int store_earlier_snapshot(struct store_earlier *e, uint64_t id, struct snapshot *ret,
			   struct err *err);
/* Adds all samples of theirs. */
int store_earlier_add_rss(struct store_earlier *e, struct timeline *t, struct err *err);
/* Functions that @c has no names of: their files may have gone by when its own was completed. */
int store_earlier_name(struct store_earlier *e, struct catalog *c, struct err *err);

#endif
