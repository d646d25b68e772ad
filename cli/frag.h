/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_FRAG_H
#define CLI_FRAG_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/fragmentation_load.h"
#include "analyzer/heap_map.h"
#include "analyzer/own.h"
#include "cli/view.h"

/* A snapshot of a recording, taken apart: what `frag` shows. */
struct frag {
	const struct view *view; /* as it was at that moment */
	const struct own *own;
	struct fragmentation_list list;
	size_t at; /* in it: the one that is shown */
	struct snapshot snapshot;
	struct fragmentation f;
	struct heap_map map; /* where it is wanted */
	uint64_t *usual_ns; /* [site] how long its blocks live; NULL: nobody asked */
	char *unknown; /* why it is not known what is free; NULL: it is */
};

struct frag_options {
	uint64_t rows; /* of each table; 0: all */
	bool exact_bytes, ascii, map;
};

/* What a part is called: for people, and in JSON. */
const char *frag_part_text(enum fragmentation_part part);
const char *frag_part_key(enum fragmentation_part part);
/* "the exit", "asked for", …  */
const char *frag_reason_text(const char *reason);
const char *frag_kind_text(enum snapshot_kind kind);

void frag_print(const struct frag *f, const struct frag_options *o);
/* Schema heaptrail-frag/1. */
void frag_json(const struct frag *f, const struct frag_options *o, FILE *out);

#endif
