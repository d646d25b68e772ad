/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_REFERENCES_H
#define ANALYZER_REFERENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/layers.h"
#include "store/reader.h"

/*
 * Countable things that were acquired more often than released: each with all that happened
 * to it since it was last given back as often.
 */
struct reference_calls {
	bool is_release;
	struct stack_id stack; /* of a release its caller */
	uint64_t n, first_ns, last_ns;
};

struct reference {
	uint64_t address;
	uint8_t family;
	uint64_t acquires, releases, bytes; /* bytes: of what is not released */
	uint64_t first_ns;
	struct reference_calls *calls; /* in the order in which they first came */
	size_t n_calls, cap_calls;
};

struct references {
	struct reference *items; /* the largest balance first */
	size_t n, cap;
	uint64_t balance; /* of all */
};

/* @families: bits of ids.  -ENODATA without @err where events from the beginning are gone. */
int references_make(struct store_reader *reader, const struct layers *layers, uint64_t families,
		    const struct analysis_window *window, struct references *ret,
		    struct err *err);
void references_release(struct references *r);

#endif
