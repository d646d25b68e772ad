/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_ROTATION_H
#define COLLECTOR_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/drain.h"
#include "collector/target.h"
#include "common/err.h"
#include "store/writer.h"

/*
 * A recording in several files, one after the other: NAME.1.trail, NAME.2.trail and so on.
 * Each opens alone: one after the first begins with the state at the end of the one before.
 * Files are told to belong together by the facts rotation_id and rotation_number.
 */
struct rotation {
	uint64_t every_ns;  /* 0: there is one file */
	uint64_t max_bytes; /* of all files: the oldest are removed; 0: they may grow */
	uint64_t next_ns;   /* when the next one is due */
	char *pattern;	    /* the name without number */
	unsigned int number;
	unsigned int removed; /* files 1 to this one */
	uint64_t look_ns;     /* when their sizes are looked at again */
	uint64_t begin_bytes; /* what the last file had when it began */
	/* a file is complete but for names and summaries; and it could not be done, this time */
	void (*on_closed)(const char *path);
	void (*on_failure)(const struct err *err);
};

void rotation_release(struct rotation *r);
/*
 * The name of the first file, or @path itself where there is but one; owned by the caller, as
 * @path was before.
 */
char *rotation_begin(struct rotation *r, char *path);
/* Puts the facts that tell what it belongs to. */
void rotation_put_facts(const struct rotation *r, struct store_writer *w);
/*
 * While there are all rights: that files can be made as user @id, who is to own them, when
 * there are few.
 */
void rotation_keep_user(const struct rotation *r, const struct target_identity *id);
/* Is it time for the next file, @now?  Counted from @start_ns on; then not for a while. */
bool rotation_is_due(struct rotation *r, uint64_t start_ns, uint64_t now);
/* How many there were, 0: one without a number; the oldest of them were removed. */
void rotation_files(const struct rotation *r, unsigned int *ret_n, unsigned int *ret_removed);
/* Removes the oldest files, where all are larger than they may be, but never the last. */
void rotation_keep_below(struct rotation *r, const struct store_writer_options *o);
/*
 * The next file begins: *@path is its name then.  What the old one says of its
 * end must have been put.  Where it fails recording goes on in the old one.  Returns a
 * negative errno with @err only where what was put cannot be written.
 */
int rotation_turn(struct rotation *r, struct drain *d, const struct store_writer_options *o,
		  char **path, struct err *err);

#endif
