/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/record.h"

/*
 * All of a recording but its events and summaries.  The arrays are indexed by
 * id where the record has one: element 0 is unused, and an id may be missing
 * (its element is all zero).  Strings belong to the catalog.
 */
struct catalog {
	struct {
		char *key, *text; /* numbers are kept as text too */
	} *facts;
	size_t n_facts, cap_facts;

	struct process_record *processes;
	size_t n_processes, cap_processes;
	struct space_record *spaces;
	size_t n_spaces, cap_spaces;
	struct thread_record *threads;
	size_t n_threads, cap_threads;
	struct family_record *families;
	size_t n_families, cap_families;
	struct module_record *modules;
	size_t n_modules, cap_modules;
	struct catalog_frame {
		struct module_id module;
		uint64_t offset;
		const char *function, *file;
		uint32_t line;
		bool is_inlined;	/* @function is, into @outer */
		struct frame_id outer;	/* the next function at the same place; 0: none */
	} *frames; /* those of the recording, then the outer ones: functions inlined into */
	size_t n_frames, n_recorded_frames, cap_frames;
	struct catalog_stack {
		struct stack_id parent;
		struct frame_id frame;
		uint8_t end; /* enum stack_end; may be out of its range */
	} *stacks;
	size_t n_stacks, cap_stacks;
	struct catalog_loss {
		const char *kind;
		uint64_t count;
	} *losses;
	size_t n_losses, cap_losses;

	struct catalog_strings {
		char **items;
		size_t n, cap;
	} strings, names; /* owned; @names are those of frames */
};

void catalog_release(struct catalog *c);
/*
 * Names a function of a frame in memory, the recording stays as it is: @s->depth 0 first, then
 * those it is inlined into.  Copies the strings.  Ids of frames do not change, pointers to them
 * do.  Returns false where there is no such recorded frame, or the one before it is missing.
 */
bool catalog_add_symbol(struct catalog *c, const struct symbol_record *s);
/* NULL where there is no such fact. */
const char *catalog_text(const struct catalog *c, const char *key);
int64_t catalog_number(const struct catalog *c, const char *key, int64_t otherwise);
uint64_t catalog_loss(const struct catalog *c, const char *kind);
/* Never NULL: an empty record where @id is out of range. */
const struct catalog_frame *catalog_frame(const struct catalog *c, struct frame_id id);
const struct catalog_stack *catalog_stack(const struct catalog *c, struct stack_id id);
const char *catalog_module_path(const struct catalog *c, struct module_id id);

/* Where table symbol has a function: the id of an outer frame is the catalog's alone. */
struct catalog_place {
	struct frame_id frame; /* of the recording */
	uint32_t depth;
};

/* [frame id] those of all frames, to be freed. */
struct catalog_place *catalog_places(const struct catalog *c);

/* ---- for reader.c ------------------------------------------------------------------- */

#define INLINE_DEPTH_MAX 255

/* Empties all that is loaded as a whole: what grows, and names, stay. */
void catalog_forget_small_tables(struct catalog *c);
/* A fact that is a number becomes another. */
void catalog_put_number(struct catalog *c, const char *key, uint64_t n);
/* Room for @n more frames of the recording: those that others are inlined into stay behind. */
void catalog_grow_frames(struct catalog *c, size_t n);
/* A nameless function that the one of frame @inner is inlined into; returns its id. */
uint32_t catalog_add_outer(struct catalog *c, uint32_t inner);

#endif
