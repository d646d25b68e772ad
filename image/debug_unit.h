/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DEBUG_UNIT_H
#define IMAGE_DEBUG_UNIT_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/debug_file.h"

/* A place that is looked for. */
struct debug_place {
	uint64_t address; /* as in the debug information */
	size_t place;	  /* index into what was asked for */
	uint32_t scope;	  /* the innermost function there, within the unit being walked */
	bool wanted;	  /* in the unit being walked */
	bool done;	  /* named */
};

/* The places of a file, by address. */
struct debug_places {
	struct debug_place *places;
	size_t n;
	uint64_t code_start; /* below it there is none: what was there the linker has removed */
};

struct debug_unit_task {
	struct debug_places *places;
	/* what the debug information does not know; mangled, or NULL */
	const char *(*symbol_at)(void *arg, uint64_t address);
	void *symbol_arg;
	bool linkage_names; /* not to be demangled */
	debug_file_each *each;
	void *arg;
	size_t rows;  /* of line tables that were read: libdw keeps them */
	bool damaged; /* some unit was, so that places may be missing */
};

/*
 * Names those places that the unit @unit (a DIE with code of its own) covers, and were not
 * named before.
 */
void debug_unit_look_up(struct debug_unit_task *task, Dwarf_Die *unit);

#endif
