/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_SUPPRESSIONS_H
#define ANALYZER_SUPPRESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/stacks.h"
#include "store/block_kind.h"
#include "common/err.h"
#include "store/catalog.h"

/*
 * Leaks that nobody wants to hear of, by their stacks.  Two syntaxes, which one file may mix:
 * LeakSanitizer's ("leak:PATTERN", matched with the module, function and source file of every
 * frame) and valgrind's ("{", a name, "Memcheck:Leak", then a line for each frame, the
 * innermost first).  Suppressions of other kinds of errors in valgrind's are passed over.
 */
enum suppression_origin {
	SUPPRESSION_BUILT_IN,
	SUPPRESSION_OF_USER,  /* of the file that is read whenever it is there */
	SUPPRESSION_GIVEN,    /* of a file that was asked for: it is told if it is of no use */
};

struct suppression_pattern {
	enum suppression_place {
		SUPPRESSION_ANYWHERE, /* LeakSanitizer's: module, function or file */
		SUPPRESSION_FUNCTION,
		SUPPRESSION_MODULE,
		SUPPRESSION_SOURCE,
		SUPPRESSION_FRAMES, /* "...": any number of frames, also none */
	} place;
	char *text;
	char *demangled; /* of a function, where it is another; or NULL */
	uint8_t *seen;	 /* [frame id] whether it matches, once that is known */
};

struct suppression {
	char *name;
	const char *file; /* where it is from */
	unsigned int line;
	enum suppression_origin origin;
	bool is_frames; /* valgrind's */
	unsigned int kinds; /* of leaks, by "match-leak-kinds:": bits 1 << enum block_kind */
	struct suppression_pattern *patterns;
	size_t n_patterns, cap_patterns;
	uint64_t blocks, bytes; /* that it suppressed */
};

struct suppressions {
	struct suppression *items;
	size_t n, cap;
	char **files; /* names */
	size_t n_files, cap_files;
};

/* A C++ name as it stands in the source; to be freed. */
typedef char *suppressions_demangler(const char *symbol);

/*
 * Adds what @text says, of the file @name; @demangle may be NULL.  Not while any has been
 * matched.  -EINVAL with @err, which names the file, the line, and what was expected there.
 */
int suppressions_parse(struct suppressions *s, const char *name, const char *text,
		       enum suppression_origin origin, suppressions_demangler *demangle,
		       struct err *err);
/* Those that are known of the C library, the dynamic linker and the C++ library. */
extern const char suppressions_built_in[];
void suppressions_release(struct suppressions *s);
/*
 * The first that is of the stack and of the kind, or NULL.  Always of the same catalog.  Blocks
 * that nobody looked at may be of any kind: all are of them.
 */
struct suppression *suppressions_match(struct suppressions *s, const struct catalog *c,
				       const struct stack_walk *w, enum block_kind kind);

#endif
