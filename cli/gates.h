/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_GATES_H
#define CLI_GATES_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/gate.h"
#include "analyzer/leaks.h"
#include "cli/view.h"
#include "cli/when.h"
#include "common/err.h"

struct growth_found;

/* --fail-if: conditions under which a command ends with status 1. */
struct gates {
	struct gate *items;
	size_t n, cap;
};

/* For getopt_long(). */
enum { OPTION_FAIL_IF = 950 };
#define GATES_OPTION {"fail-if", required_argument, NULL, OPTION_FAIL_IF}
/* What --help says of it. */
#define GATES_HELP \
	"      --fail-if 'EXPR'  exit with status 1 if, for example, 'leaked > 0',\n" \
	"                    'peak > 100MiB', 'growth > 1MiB/h', 'temporary > 50%' or\n" \
	"                    'lost'; may be given several times\n"

#define NS_PER_HOUR 3600e9L

#define GATES_FAILED 1 /* the exit status */

/* 0, or the exit status, where @text is no such condition: that has been said then. */
int gates_add(struct gates *g, const char *text);
void gates_release(struct gates *g);
/* "leaked is 13", "peak is 1.50 MiB (1,572,864 bytes)": @value in the unit of @g.  To be freed. */
char *gates_describe_value(const struct gate *g, long double value);
/*
 * Says on stderr which conditions are met, with the worst sites, and which cannot be judged.
 * @leaks: what "leaked" is of, made of @blocks; @growth: what grows, where one of them needs
 * it.  Returns whether one is met.
 */
bool gates_judge(const struct gates *g, const struct view *v, const struct own *own,
		 const struct leaks *leaks, const struct leak_blocks *blocks,
		 const struct growth_found *growth);
bool gates_need_growth(const struct gates *g);
/*
 * The same of a recording, where what @suppressions name is not leaked.  *@ret_failed:
 * whether one is met.  Does nothing without conditions.  0, or the exit status of an error.
 */
int gates_judge_recording(const struct gates *g, struct suppressions *suppressions,
			  const char *path, const struct when *when, bool *ret_failed);

#endif
