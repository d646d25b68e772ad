/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROBE_SPEC_H
#define COLLECTOR_PROBE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/family.h"
#include "common/err.h"

/*
 * The user's own allocators, as --probe names them; heaptrail(1) has the grammar:
 *
 *	[MODULE:]SYMBOL: OP [key=value ...]
 *
 * Functions of one layer and kind become a family.  Those without layer= are one layer
 * together, of the name that their symbols begin with.
 */
struct probe_spec {
	char *text; /* as it was given */
	char *module, *symbol, *layer; /* module and layer may be NULL */
	enum family_kind kind;
	struct family_function function; /* its strings are the spec's */
	bool has_constant;
	uint64_t constant; /* the size */
};

#define PROBE_SPECS_MAX 1024

struct probe_specs {
	struct probe_spec *specs;
	size_t n, cap;
	char *default_layer;
	struct family families[FAMILY_USER_MAX];
	size_t n_families;
	uint64_t constants[PROBE_CONSTANTS];
	size_t n_constants;
};

/* One more.  -EINVAL with @err, which tells the column, where it is none. */
int probe_specs_add(struct probe_specs *s, const char *text, struct err *err);
/* One a line; # begins a comment.  @err tells file, line and column. */
int probe_specs_read(struct probe_specs *s, const char *path, struct err *err);
/* All are there: makes the families of them. */
int probe_specs_finish(struct probe_specs *s, struct err *err);
void probe_specs_release(struct probe_specs *s);

#endif
