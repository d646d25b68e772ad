/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/gate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

static const struct {
	const char *name;
	unsigned int units; /* bits of enum gate_unit */
} metrics[GATE_METRICS] = {
	[GATE_LEAKED] = {"leaked", 1 << GATE_COUNT | 1 << GATE_BYTES | 1 << GATE_PERCENT},
	[GATE_DEFINITE] = {"definite", 1 << GATE_COUNT | 1 << GATE_BYTES | 1 << GATE_PERCENT},
	[GATE_INDIRECT] = {"indirect", 1 << GATE_COUNT | 1 << GATE_BYTES | 1 << GATE_PERCENT},
	[GATE_POSSIBLE] = {"possible", 1 << GATE_COUNT | 1 << GATE_BYTES | 1 << GATE_PERCENT},
	[GATE_REACHABLE] = {"reachable", 1 << GATE_COUNT | 1 << GATE_BYTES | 1 << GATE_PERCENT},
	[GATE_LIVE] = {"live", 1 << GATE_COUNT | 1 << GATE_BYTES | 1 << GATE_PERCENT},
	[GATE_PEAK] = {"peak", 1 << GATE_COUNT | 1 << GATE_BYTES},
	[GATE_GROWTH] = {"growth", 1 << GATE_COUNT_PER_HOUR | 1 << GATE_BYTES_PER_HOUR},
	[GATE_TEMPORARY] = {"temporary", 1 << GATE_COUNT | 1 << GATE_PERCENT},
	[GATE_ALLOCS] = {"allocs", 1 << GATE_COUNT | 1 << GATE_BYTES},
	[GATE_MISMATCHED] = {"mismatched", 1 << GATE_COUNT | 1 << GATE_PERCENT},
	[GATE_DOUBLE_FREES] = {"double_frees", 1 << GATE_COUNT | 1 << GATE_PERCENT},
	[GATE_LOST] = {"lost", 1 << GATE_COUNT | 1 << GATE_PERCENT},
};

static const char *const unit_names[] = {
	[GATE_COUNT] = "a count", [GATE_BYTES] = "bytes such as 10KiB",
	[GATE_PERCENT] = "a percentage such as 5%", [GATE_COUNT_PER_HOUR] = "a count such as 10/h",
	[GATE_BYTES_PER_HOUR] = "bytes such as 1MiB/h",
};

static const struct {
	const char *name;
	unsigned int shift;
} byte_units[] = {{"B", 0},    {"K", 10},   {"KiB", 10}, {"M", 20},  {"MiB", 20},
		  {"G", 30},   {"GiB", 30}, {"T", 40},	 {"TiB", 40}};

const char *gate_metric_name(enum gate_metric metric)
{
	return metrics[metric].name;
}

/* ---- parsing -------------------------------------------------------------------------- */

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

static int expected(const char *text, const char *at, const char *what, struct err *err)
{
	if (*at)
		return err_set(err, ERR_USAGE, 0, "cannot read the condition '%.100s': expected "
			       "%s at '%.40s'", text, what, at);
	return err_set(err, ERR_USAGE, 0, "cannot read the condition '%.100s': expected %s at "
		       "its end", text, what);
}

static int parse_metric(const char *text, const char **p, enum gate_metric *ret, struct err *err)
{
	size_t n = strspn(*p, "abcdefghijklmnopqrstuvwxyz_");
	char names[200] = "one of ";
	size_t len = strlen(names);

	for (size_t i = 0; i < GATE_METRICS; i++) {
		if (strlen(metrics[i].name) == n && !strncmp(metrics[i].name, *p, n)) {
			*ret = (enum gate_metric)i;
			*p = skip_blanks(*p + n);
			return 0;
		}
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					metrics[i].name);
	}
	return expected(text, *p, names, err);
}

/* The unit that begins at @p, one without "/h"; returns what is behind it. */
static const char *parse_unit(const char *p, struct gate *g)
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

	g->unit = GATE_COUNT;
	if (*p == '%') {
		g->unit = GATE_PERCENT;
		return p + 1;
	}
	for (size_t i = 0; i < COUNT_OF(byte_units); i++) {
		if (strlen(byte_units[i].name) != n || strncmp(byte_units[i].name, p, n))
			continue;
		g->unit = GATE_BYTES;
		g->limit *= (long double)(1ull << byte_units[i].shift);
		return p + n;
	}
	return p;
}

static int parse_limit(const char *p, struct gate *g, struct err *err)
{
	size_t digits = strspn(p, "0123456789");
	const char *number = p;
	char *end;

	/* digits and a point only: no sign, hexadecimal, exponent or "inf" */
	if (!digits || digits > 20)
		return expected(g->text, p, "a number", err);
	p += digits;
	p += *p == '.' ? 1 + strspn(p + 1, "0123456789") : 0;
	g->limit = strtold(number, &end);
	if (end != p)
		return expected(g->text, number, "a number", err);
	p = parse_unit(skip_blanks(p), g);
	if (!strncmp(p, "/h", 2) && g->unit != GATE_PERCENT) {
		g->unit = g->unit == GATE_BYTES ? GATE_BYTES_PER_HOUR : GATE_COUNT_PER_HOUR;
		p += 2;
	}
	p = skip_blanks(p);
	return *p ? expected(g->text, p, "B, KiB, MiB, GiB, TiB, %, /h or nothing", err) : 0;
}

/* What the metric can be compared with. */
static int check_unit(const struct gate *g, struct err *err)
{
	unsigned int units = metrics[g->metric].units;
	char names[200] = "";
	size_t len = 0;

	if (units & 1u << g->unit)
		return 0;
	for (size_t i = 0; i < COUNT_OF(unit_names); i++)
		if (units & 1u << i)
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
						len ? " or " : "", unit_names[i]);
	return err_set(err, ERR_USAGE, 0, "cannot read the condition '%.100s': '%s' is compared "
		       "with %s", g->text, metrics[g->metric].name, names);
}

int gate_parse(const char *text, struct gate *ret, struct err *err)
{
	struct gate g = {.text = text};
	const char *p = skip_blanks(text);
	int r = parse_metric(text, &p, &g.metric, err);

	if (r)
		return r;
	if (!*p) {
		g.unit = metrics[g.metric].units & 1 << GATE_COUNT ? GATE_COUNT
								    : GATE_BYTES_PER_HOUR;
		*ret = g;
		return 0;
	}
	if (*p != '>')
		return expected(text, p, "'>' or '>='", err);
	g.or_equal = *++p == '=';
	r = parse_limit(skip_blanks(p + g.or_equal), &g, err);
	r = r ? r : check_unit(&g, err);
	if (!r)
		*ret = g;
	return r;
}

/* ---- judging -------------------------------------------------------------------------- */

static struct gate_range divide(const struct gate_range *r, long double by)
{
	return (struct gate_range){r->low / by, r->value / by, r->high / by};
}

/* Of nothing it is nothing, where nothing is missing. */
static long double percent(long double part, long double whole)
{
	return part <= 0 || isinf(whole) ? 0 : whole <= 0 ? INFINITY : part * 100 / whole;
}

struct gate_range gate_range(const struct gate *g, const struct gate_values *v)
{
	const struct gate_range *part = v->whole_is_bytes ? &v->bytes : &v->count;

	switch (g->unit) {
	case GATE_COUNT:
		return v->count;
	case GATE_BYTES:
		return v->bytes;
	case GATE_PERCENT:
		return (struct gate_range){percent(part->low, v->whole.high),
					   percent(part->value, v->whole.value),
					   percent(part->high, v->whole.low)};
	case GATE_COUNT_PER_HOUR:
		return divide(&v->count, v->hours);
	case GATE_BYTES_PER_HOUR:
		break;
	}
	return divide(&v->bytes, v->hours);
}

static bool is_met(const struct gate *g, long double x)
{
	return g->or_equal ? x >= g->limit : x > g->limit;
}

enum gate_verdict gate_judge(const struct gate *g, const struct gate_range *r)
{
	if (is_met(g, r->low))
		return GATE_VIOLATED;
	return is_met(g, r->high) ? GATE_UNDECIDED : GATE_HOLDS;
}

#define FALLEN_SHARE 0.9L

bool gate_crosses(const struct gate *g, long double value, bool *is_beyond)
{
	bool was_beyond = *is_beyond;

	if (is_met(g, value))
		*is_beyond = true;
	else if (value <= g->limit * FALLEN_SHARE)
		*is_beyond = false;
	return *is_beyond && !was_beyond;
}
