/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_WRONG_FREES_H
#define ANALYZER_WRONG_FREES_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/allocation_form.h"
#include "common/err.h"
#include "store/layers.h"
#include "store/reader.h"

/*
 * Frees that were not right: of what was freed already, or by a function that does not belong
 * to the block.  Those from the same stacks are one.
 */
struct wrong_free {
	uint8_t free_class; /* FREE_DOUBLE, FREE_MISMATCHED or FREE_OF_OTHER */
	uint8_t made_family, freed_family;
	struct stack_id made, freed; /* 0: not known */
	struct stack_id freed_before; /* of FREE_DOUBLE: the right one */
	uint64_t calls, bytes;	     /* bytes: of the blocks */
	uint64_t first_ns;
};

struct wrong_frees {
	struct wrong_free *items; /* those that came first are first */
	size_t n, cap;
	uint64_t calls; /* of all */
};

/*
 * Of all layers, or those of the window's families.  -ENODATA without @err where events from
 * the beginning are gone.
 */
int wrong_frees_make(struct store_reader *reader, const struct layers *layers,
		     const struct analysis_window *window, analysis_progress *progress,
		     struct wrong_frees *ret, struct err *err);
void wrong_frees_release(struct wrong_frees *w);

/* By which form the stack made, or freed, a block, as far as the recorder has told. */
enum allocation_form wrong_frees_form(const struct catalog *c, struct stack_id stack);

#endif
