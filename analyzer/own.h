/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_OWN_H
#define ANALYZER_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/stacks.h"
#include "store/reader.h"

/*
 * Whose allocation it is: of a stack, the innermost function that is neither the
 * allocator nor the C library, a language's runtime or a wrapper around malloc.
 */
enum skip_reason {
	SKIP_NONE,
	SKIP_LIBRARY, /* allocator, C library, dynamic linker, C++ or Rust runtime */
	SKIP_WRAPPER, /* a well-known one: g_malloc, xmalloc … */
	SKIP_USER,    /* one that the user named */
};

struct own {
	const struct catalog *catalog;
	uint8_t *reasons;	      /* [frame id] enum skip_reason */
	struct frame_id *of_stacks;   /* [stack id] own_of_stack() */
	bool *has_own;		      /* [stack id] it is one that is not to be skipped */
	uint32_t *classes;	      /* [frame id] stacks_classify_frames() */
	/* [stack id] the same for those that read the same: made when somebody asks */
	struct own_identities {
		uint64_t *of_stacks;
	} *identities;
	size_t n_stacks;	      /* that there were when it was made */
};

/* @skip: @n patterns as fnmatch(3) has them, of functions; they are not kept. */
void own_init(struct own *o, const struct catalog *c, const char *const *skip, size_t n);
void own_release(struct own *o);

enum skip_reason own_skips(const struct own *o, struct frame_id frame);
/* The own frame of a stack; {0} where it has no frames.  Costs no walk. */
struct frame_id own_of_stack(const struct own *o, struct stack_id id);
/* What stacks_identities() has for it. */
uint64_t own_stack_identity(const struct own *o, struct stack_id id);
/* Its place in the walk, or 0, the innermost of all, where every frame is to be skipped. */
size_t own_frame(const struct own *o, const struct stack_walk *w);

/* ---- what was skipped --------------------------------------------------------------- */

/* A wrapper inside of the own functions of some stacks. */
struct skipped {
	const char *function;
	enum skip_reason reason;
	uint64_t allocated_bytes; /* of the stacks in which it was skipped */
	uint64_t last_stack;	  /* while it is made */
};

struct skipped_list {
	struct skipped *items; /* the most bytes first */
	size_t n, cap;
};

/* @a must be grouped by stack.  Wrappers only: libraries are no news. */
void own_list_skipped(const struct own *o, const struct analysis *a, struct skipped_list *ret);
void own_list_release(struct skipped_list *l);

/* ---- what has no files and lines ---------------------------------------------------- */

struct nameless {
	struct module_id module;
	uint64_t allocated_bytes; /* by own frames in it whose source file is not known */
};

struct nameless_list {
	struct nameless *items; /* the most bytes first; none without bytes */
	size_t n;
};

/* @a must be grouped by stack. */
void own_list_nameless(const struct own *o, const struct analysis *a, struct nameless_list *ret);
void own_nameless_release(struct nameless_list *l);

/* ---- wrappers that nobody named ----------------------------------------------------- */

/*
 * An own function through which most bytes come, from several callers, and all of
 * them by one call of its own: most likely a wrapper.  NULL where there is none.
 */
const char *own_suspect(const struct own *o, const struct analysis *a, double *ret_share);

#endif
