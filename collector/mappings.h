/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_MAPPINGS_H
#define COLLECTOR_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The live mappings of one address space, by their addresses: which slot the block at an
 * address has.  They do not overlap.  Zero-initialised is empty.
 */
struct mapping {
	uint64_t start, end;
	uint32_t slot;
};

struct mappings {
	void *tree;
	/*
	 * Addresses that were handed out again before it was told that they were given back:
	 * another thread has done so, and is about to tell.
	 */
	struct mapping_debt {
		uint64_t start, end, t_ns;
		uint64_t block_start, block_end; /* what they were a part of */
	} *debts;
	size_t n_debts, cap_debts;
};

/* Forgets all: the address space is a new one. */
void mappings_release(struct mappings *m);
/* One of those that have a part of [@start, @end); valid until it is removed.  Or NULL. */
const struct mapping *mappings_find(const struct mappings *m, uint64_t start, uint64_t end);
/* There must be none yet. */
void mappings_add(struct mappings *m, uint64_t start, uint64_t end, uint32_t slot);
/* One that was found, which this returns. */
struct mapping mappings_remove(struct mappings *m, const struct mapping *found);

/* Is any of [@start, @end) owed? */
bool mappings_owe(const struct mappings *m, uint64_t start, uint64_t end);
/* … from @cut on, of what was one block [@start, @end)? */
bool mappings_owe_of_block(const struct mappings *m, uint64_t start, uint64_t cut, uint64_t end);
void mappings_add_debt(struct mappings *m, struct mapping_debt debt);
/*
 * Takes out what lies in [@start, @end) of some debt, and returns it; the rest of that stays.
 * Those from before @since_ns are forgotten: whoever was to tell was lost.  False: there is none.
 */
bool mappings_take_debt(struct mappings *m, uint64_t start, uint64_t end, uint64_t since_ns,
			struct mapping_debt *ret);

#endif
