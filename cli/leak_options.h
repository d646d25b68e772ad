/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_LEAK_OPTIONS_H
#define CLI_LEAK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/rows.h"
#include "cli/command.h"
#include "cli/gates.h"
#include "cli/suppression_files.h"
#include "cli/when.h"
#include "collector/session.h"

/* The command line of `leaks`. */
struct leak_options {
	struct when when;
	uint64_t older_ns, min_size;
	unsigned int kinds; /* bits 1 << enum block_kind; 0: all */
	bool growth;
	uint64_t warmup_ns; /* of growth */
	enum rows_by by;
	uint64_t rows, frames;
	const char **skip; /* patterns */
	size_t n_skip, cap_skip;
	struct suppression_files suppressions;
	bool generate;
	bool bytes, wide, no_symbolize, json, sarif, done;
	const char *json_path, *sarif_path; /* NULL: standard output */
	const char *source_root; /* NULL: where we are */
	struct gates gates;
	int error_exit; /* if there are leaks; 0: as without */
	char *const *paths; /* recordings, or … */
	size_t n_paths;
	struct session_options session; /* … what to record: argv or pid */
	bool as_root;
};

extern const char leak_options_help[];

/* 0, or the exit status where it is wrong; with @o->done everything has been said. */
int leak_options_parse(const struct command *c, int argc, char **argv, struct leak_options *o);
void leak_options_release(struct leak_options *o);

#endif
