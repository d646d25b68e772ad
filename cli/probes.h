/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_PROBES_H
#define CLI_PROBES_H

#include <stdbool.h>

#include "collector/plan.h"
#include "collector/probe_spec.h"

/* The options --probe and --probe-file of several commands: an exit status, 0 if they are fine. */
int probes_parse(struct probe_specs *s, bool is_file, const char *value);
/* When all have been given: from now on they are families as the built-in ones, until the end. */
int probes_finish(struct probe_specs *s);

/* What the function does, as a spec of --probe says it. */
const char *probes_operation(const struct family *family, const struct family_function *f);
/* Where the probes of a plan are, for people; with the layers, where there are several. */
void probes_print(const struct plan *plan);

#endif
