/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_FRAGMENTATION_LOAD_H
#define ANALYZER_FRAGMENTATION_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/fragmentation.h"
#include "analyzer/growth.h"
#include "analyzer/history.h"
#include "analyzer/own.h"
#include "common/err.h"
#include "store/catalog.h"
#include "store/reader.h"

/* The snapshots of a recording, and one of them with the blocks of its moment. */

struct fragmentation_list {
	struct snapshot_info *items; /* in the order of time; their reasons are owned */
	size_t n, cap;
};

/* What is in @ret goes. */
int fragmentation_list_read(struct fragmentation_list *ret, struct store_reader *r,
			    struct err *err);
/* The same of what @h is of. */
int fragmentation_list_open(struct fragmentation_list *ret, const struct history *h,
			    struct err *err);
void fragmentation_list_release(struct fragmentation_list *l);
/* The last one until then; the list's length where there is none. */
size_t fragmentation_list_at(const struct fragmentation_list *l, uint64_t t_ns);
/* That with the most live bytes, of equal ones the last. */
size_t fragmentation_list_peak(const struct fragmentation_list *l);

/*
 * Does what the heap holds beyond live blocks grow, over the snapshots until number @at?
 * @ret_per_hour: by how many bytes.  GROWTH_SHORT: there are too few to tell.
 */
struct growth fragmentation_list_trend(const struct fragmentation_list *l, size_t at,
				       double *ret_per_hour);

/*
 * Why what no live block has need not be free, in words: to be freed; NULL: it is free.
 */
char *fragmentation_unknown(const struct catalog *c);
/* [stack id] the class of its own frame: stacks whose site reads the same are one; to be freed. */
uint32_t *fragmentation_sites(const struct catalog *c, const struct own *own);

/* The live mappings of layer mmap at that moment; none where they were not recorded. */
int fragmentation_read_mappings(struct fragmentation_blocks *ret, struct store_reader *r,
				uint64_t t_ns, struct err *err);

/* A snapshot, taken apart; for who looks at single pages and blocks as well. */
struct fragmentation_look {
	struct snapshot_info info; /* its reason: the list's */
	struct snapshot snapshot;
	struct fragmentation_blocks blocks; /* by address */
	struct fragmentation f;
	char *unknown;
	uint32_t *sites;
	size_t n_sites;
	struct fragmentation_pages *pages; /* of the heap, by address */
	size_t n_pages, cap_pages;
};

/*
 * Of what @h is of, whose catalog @own is of: they, and the list of @info, outlive it.  Takes as
 * long as a report of that moment.  -errno with @err; then @ret is empty.
 */
int fragmentation_look(struct fragmentation_look *ret, const struct history *h,
		       const struct snapshot_info *info, const struct own *own, struct err *err);
void fragmentation_look_release(struct fragmentation_look *l);
/* The blocks that are on the pages from @start to @end: from *@ret_first on, so many. */
size_t fragmentation_look_blocks(const struct fragmentation_look *l, uint64_t start, uint64_t end,
				 size_t *ret_first);

#endif
