/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GATE_H
#define ANALYZER_GATE_H

#include <stdbool.h>

#include "common/err.h"

/*
 * Conditions on a recording's totals: "leaked > 0", "peak >= 1.5GiB", "growth > 1MiB/h",
 * "temporary > 50%".  A name alone is the same as "> 0".
 */
enum gate_metric {
	GATE_LEAKED,   /* this and those of one kind are known at the end only */
	GATE_DEFINITE, /* of them, by who points to them */
	GATE_INDIRECT,
	GATE_POSSIBLE,
	GATE_REACHABLE,
	GATE_LIVE,
	GATE_PEAK,
	GATE_GROWTH,
	GATE_TEMPORARY,
	GATE_ALLOCS,
	GATE_MISMATCHED,
	GATE_DOUBLE_FREES,
	GATE_LOST,
	GATE_METRICS
};

enum gate_unit {
	GATE_COUNT, /* of blocks, calls or events */
	GATE_BYTES,
	GATE_PERCENT,
	GATE_COUNT_PER_HOUR,
	GATE_BYTES_PER_HOUR,
};

struct gate {
	const char *text; /* as it was written; the caller's */
	enum gate_metric metric;
	enum gate_unit unit;
	bool or_equal;
	long double limit; /* exact for every number of bytes */
};

/* -EINVAL with @err, which says what was expected and where. */
int gate_parse(const char *text, struct gate *ret, struct err *err);
const char *gate_metric_name(enum gate_metric metric);

/* A number that was recorded, and between what it can be where events are missing. */
struct gate_range {
	long double low, value, high; /* low <= value <= high; high may be INFINITY */
};

/* Of one metric, all that its units need. */
struct gate_values {
	struct gate_range count, bytes;
	struct gate_range whole; /* what a percentage is of: count, … */
	bool whole_is_bytes;	 /* … or bytes */
	long double hours;
};

enum gate_verdict {
	GATE_HOLDS,	 /* the condition is not met, whatever is missing */
	GATE_VIOLATED,	 /* it is, also by the least that the number can be */
	GATE_UNDECIDED,	 /* that depends on what is missing */
};

/* In the unit of @g. */
struct gate_range gate_range(const struct gate *g, const struct gate_values *v);
enum gate_verdict gate_judge(const struct gate *g, const struct gate_range *r);

/*
 * Has @value come beyond the limit?  That is so once, until it has been a tenth below the
 * limit in between; *@is_beyond keeps that, and is false at first.
 */
bool gate_crosses(const struct gate *g, long double value, bool *is_beyond);

#endif
