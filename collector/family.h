/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_FAMILY_H
#define COLLECTOR_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/ring_events.h"
#include "image/elf_file.h"
#include "image/exit_sites.h"
#include "store/writer.h"

/*
 * Allocator families are data: to teach the collector another one, add a table.
 * A return probe on a function that an exception passes through kills the target:
 * one that may throw is marked so, and gets probes where it ends instead.
 */
struct family_function {
	const char *symbol;
	enum probe_op op;
	/* argument numbers from 1; 0: none */
	uint8_t size, factor; /* requested bytes = size × factor; or see COOKIE_CONSTANT_FACTOR */
	uint8_t pointer;      /* the block; of PROBE_ALLOC_OUT, where it goes */
	bool throws; /* an exception may pass through it: its exits are probed */
	bool aligns; /* the family's rule for usable bytes is not for its blocks */
	uint8_t pool; /* the block is of this pool; of a pool, its parent */
	enum probe_ok ok;
	/* of a user's only, see probe_spec.h */
	const char *module; /* in a file of this name; NULL: in any */
	bool is_address;    /* not by its symbol, which says the same, but … */
	uint64_t address;   /* … here, in the file's own addresses */
	uint16_t spec;	    /* number */
};

/*
 * Nested calls count once within a layer, by the outermost; layers neither hide each other's
 * nor add to them.
 */
#define LAYER_HEAP 0 /* malloc, operator new, …: one layer */

/* What the addresses that its functions hand out are. */
enum family_kind {
	FAMILY_BLOCKS,
	FAMILY_POOLS,	/* of blocks */
	FAMILY_COUNTED, /* handed out several times, and to be given back as often */
	FAMILY_KINDS
};


/* The user's own have ids from here on: those of built-in ones are below. */
#define FAMILY_USER_FIRST 32
#define FAMILY_USER_MAX 31

struct family {
	uint8_t id; /* in recordings: never renumber */
	enum family_kind kind;
	const char *name;
	const char *name_in_program; /* for people, where it is linked statically */
	bool is_library; /* as a library it has an allocator and nothing else */
	uint8_t layer; /* a number below PROBE_LAYERS … */
	const char *layer_name;
	/* an object is this allocator if it has this soname (NULL: by symbols only) … */
	const char *soname;
	/* … or, without one, defines one of these and what @symbol names; NULL ends them */
	const char *markers[4];
	const char *symbol; /* NULL: nothing else */
	const char *prefix; /* its functions may have it before their names, or NULL */
	enum usable_rule usable;
	bool realloc_0_frees; /* realloc(p, 0) frees p and returns NULL */
	const struct family_function *functions;
	size_t n_functions;
};

extern const struct family families[];
extern const size_t n_families;

/* The allocator that a file has in it, or NULL. */
const struct family *family_of_file(struct elf_file *elf);
/* The user's, which must live as long as anybody asks for families; see probe_spec.h. */
extern const struct family *user_families;
extern size_t n_user_families;
void families_set_user(const struct family *f, size_t n);
/* Bits of the ids of those that are in other layers than heap. */
uint64_t families_above_heap(void);

/*
 * What the program maps is a layer of its own, with these families, if that is recorded: then
 * they are n_mapping_families, else 0.  Their ids are below those of the user's.
 */
enum mapping_family {
	FAMILY_ANONYMOUS = 24,
	FAMILY_FILE = 25,
	FAMILY_BREAK = 26,
	FAMILY_SEGMENT = 27,
	FAMILY_THREAD_STACK = 28,
	FAMILY_LOADER = 29,
	FAMILY_ALLOCATOR = 30,
};
extern const struct family_record mapping_families[];
extern size_t n_mapping_families;
void families_set_mappings(bool on);

/* NULL where there is none of that id. */
const struct family *family_by_id(uint8_t id);

/* Bits of the arguments its entry probe reads, for probe_site_find(). */
unsigned int family_function_arguments(const struct family_function *f);
bool family_function_returns(const struct family_function *f); /* its result is an event */
bool family_function_frees(const struct family_function *f);   /* or else allocates */
/* Has it a way to give its blocks back?  Else they end with the memory below. */
bool family_frees(const struct family *family);
/* … one by one? */
bool family_takes_back(const struct family *family);
/*
 * @stack_bytes: by how much the stack has grown at the probe since the function's entry.
 * @at_exits: its ends are probed, not its return.
 */
uint64_t family_cookie(const struct family *family, const struct family_function *f,
		       uint32_t stack_bytes, bool at_exits);
/* Of a probe at @exit of it, which throws. */
uint64_t family_exit_cookie(const struct family *family, const struct family_function *f,
			    const struct exit_site *exit);

/* Does @name, a symbol, belong to one of the functions of a family? */
bool families_have(const char *name);

/* Writes them to the recording. */
void families_put(struct store_writer *w);

#endif
