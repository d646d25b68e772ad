/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/growth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

#define PAIRS_MAX (GROWTH_WINDOWS_MAX * (GROWTH_WINDOWS_MAX - 1) / 2)

/* How much is asked for: tests/e2e/growth.py says what comes of it. */
#define INCREASES_MIN 5	      /* windows in which the floor rose for good */
#define DROP_MAX 0.25	      /* of the rise: of more that was lost on the way … */
#define NOISY_DROP_MAX 0.6    /* … so much may be, where the trend is clear */
#define TREND_MIN 5.0	      /* standard deviations */
#define DEPENDENCE_MAX 0.5    /* of a window on the one before, where the trend decides */
#define SECOND_HALF_MIN 0.4   /* of the growth of the first half */
#define LAST_QUARTER_MIN 0.35 /* of a quarter of the growth */
#define LATE_BEFORE_MAX 0.5   /* slope before it began, by that since … */
#define LATE_SURELY 0.1	      /* … where it could as well have grown from the beginning */
#define STEP_MIN 0.6	      /* of the growth, in one window */

static const struct {
	const char *name, *text;
} shapes[GROWTH_SHAPES] = {
	[GROWTH_SHORT] = {"too_short", "too short"},
	[GROWTH_FLAT] = {"flat", "flat"},
	[GROWTH_STEADY] = {"steady", "steady"},
	[GROWTH_LATE] = {"late", "late"},
	[GROWTH_LEVELLED] = {"levelled_off", "levelled off"},
	[GROWTH_STEP] = {"step", "step"},
	[GROWTH_SAWTOOTH] = {"sawtooth", "sawtooth"},
	[GROWTH_WAVES] = {"waves", "waves"},
	[GROWTH_FALLING] = {"falling", "falling"},
	[GROWTH_UNCLEAR] = {"unclear", "unclear"},
};

const char *growth_shape_text(enum growth_shape shape)
{
	return shapes[shape].text;
}

const char *growth_shape_name(enum growth_shape shape)
{
	return shapes[shape].name;
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The one that would be number @k if they were sorted; all before it are no larger then, all behind
 * it no smaller.
 */
static double nth(double *x, size_t n, size_t k)
{
	size_t from = 0, to = n - 1;

	while (from < to) {
		double middle = x[from + (to - from) / 2];
		size_t i = from, j = to;

		for (;; i++, j--) {
			double swapped;

			while (x[i] < middle)
				i++;
			while (x[j] > middle)
				j--;
			if (i >= j)
				break;
			swapped = x[i];
			x[i] = x[j];
			x[j] = swapped;
		}
		/* up to j none is larger than the middle, from j + 1 on none is smaller */
		if (k <= j)
			to = j;
		else
			from = j + 1;
	}
	return x[k];
}

/* Changes their order. */
static double median(double *x, size_t n)
{
	if (!n)
		return 0;
	return (nth(x, n, (n - 1) / 2) + nth(x, n, n / 2)) / 2;
}

static double median_of(const double *x, size_t n)
{
	double copy[GROWTH_WINDOWS_MAX];

	memcpy(copy, x, n * sizeof(*x));
	return median(copy, n);
}

/* The largest fall from any value to a later one. */
static double largest_drop(const double *x, size_t n)
{
	double top = n ? x[0] : 0, drop = 0;

	for (size_t i = 1; i < n; i++) {
		drop = top - x[i] > drop ? top - x[i] : drop;
		top = x[i] > top ? x[i] : top;
	}
	return drop;
}

/* ---- the trend -------------------------------------------------------------------------- */

struct trend {
	double slope, low, high;
	double z; /* Mann-Kendall, in standard deviations, as if windows were independent */
	double dependence; /* of what is left without the slope, on the window before; 0 to 0.95 */
};

/* Of what is left, how much each value is like the one before. */
static double dependence_of(const double *x, size_t n, double slope)
{
	double left[GROWTH_WINDOWS_MAX], middle, product = 0, square = 0, r;

	for (size_t i = 0; i < n; i++)
		left[i] = x[i] - slope * (double)i;
	middle = median_of(left, n);
	for (size_t i = 0; i < n; i++) {
		double d = left[i] - middle;

		square += d * d;
		product += i ? d * (left[i - 1] - middle) : 0;
	}
	r = square > 0 ? product / square : 0;
	return r < 0 ? 0 : r > 0.95 ? 0.95 : r;
}

/* The variance of Kendall's S; equal values are no evidence. */
static double variance_of(const double *x, size_t n)
{
	double sorted[GROWTH_WINDOWS_MAX], m = (double)n, v = m * (m - 1) * (2 * m + 5);
	size_t run = 1;

	memcpy(sorted, x, n * sizeof(*x));
	qsort(sorted, n, sizeof(*sorted), by_number);
	for (size_t i = 1; i <= n; i++, run++) {
		double k = (double)run;

		if (i < n && sorted[i] <= sorted[i - 1])
			continue;
		v -= k * (k - 1) * (2 * k + 5);
		run = 0;
	}
	return v / 18;
}

static double clamp(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

static void find_trend(const double *x, size_t n, struct trend *t)
{
	double slopes[PAIRS_MAX], s = 0, v, wide;
	size_t pairs = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n; k++) {
			double d = x[k] - x[i];

			s += (d > 0) - (d < 0);
			slopes[pairs++] = d / (double)(k - i);
		}
	t->slope = median(slopes, pairs);
	v = variance_of(x, n);
	t->dependence = dependence_of(x, n, t->slope);
	t->z = v > 0 ? (s - (s > 0) + (s < 0)) / sqrt(v) : 0;
	/* so many pairs to either side of the middle: Sen's interval, for fewer values */
	wide = 1.96 * sqrt(v * (1 + t->dependence) / (1 - t->dependence)) / 2;
	t->low = nth(slopes, pairs,
		     (size_t)clamp((double)pairs / 2 - wide, 0, (double)pairs - 1));
	t->high = nth(slopes, pairs,
		      (size_t)clamp((double)pairs / 2 + wide, 0, (double)pairs - 1));
}

/* In standard deviations, for values that depend on each other. */
static double certainty(const struct trend *t)
{
	return t->z * sqrt((1 - t->dependence) / (1 + t->dependence));
}

/* ---- the shape -------------------------------------------------------------------------- */

/* What rises for good: of the values from each on, the lowest. */
struct rise {
	double to_come[GROWTH_WINDOWS_MAX];
	size_t increases, quarters; /* in how many windows, and quarters of all, it increases */
	bool is_in_last;	    /* quarter */
	double largest;		    /* in one window */
	double whole;
};

static void find_rise(const double *x, size_t n, struct rise *r)
{
	bool in[4] = {false};

	*r = (struct rise){.largest = 0};
	for (size_t i = n; i-- > 0;)
		r->to_come[i] = i + 1 < n && r->to_come[i + 1] < x[i] ? r->to_come[i + 1] : x[i];
	for (size_t i = 1; i < n; i++) {
		double d = r->to_come[i] - r->to_come[i - 1];

		if (d <= 0)
			continue;
		r->increases++;
		in[i * 4 / n] = true;
		r->largest = d > r->largest ? d : r->largest;
	}
	r->quarters = (size_t)in[0] + in[1] + in[2] + in[3];
	r->is_in_last = in[3];
	r->whole = n ? r->to_come[n - 1] - r->to_come[0] : 0;
}

/* Did it go on growing? */
static bool goes_on(const double *x, size_t n)
{
	size_t eighth = n / 8 ? n / 8 : 1;
	double start = median_of(x, eighth), middle = median_of(x + n / 2 - eighth / 2, eighth);
	double late = median_of(x + n * 3 / 4 - eighth / 2, eighth);
	double end = median_of(x + n - eighth, eighth);

	return end - middle >= SECOND_HALF_MIN * (middle - start) &&
	       end - late >= LAST_QUARTER_MIN * (end - start) / 4;
}

/* Where it may have begun to grow, in eighths of all. */
static const size_t begins[] = {0, 1, 2, 4, 5};

/*
 * Whether the windows from number @s on grow; @ret has the numbers then.  @strict: nothing of it
 * may be lost on the way.
 */
static bool grows_from(const double *x, size_t n, size_t s, bool strict, struct growth *ret)
{
	size_t m = n - s, settled = n / 8;
	struct trend t, before;
	struct rise r;
	double rise, drop, may_drop, z;

	if (m < GROWTH_WINDOWS_MIN)
		return false;
	/* most is told without the pairs, which take long */
	find_rise(x + s, m, &r);
	if (r.whole <= 0 || r.increases < INCREASES_MIN || r.quarters < 3 || !r.is_in_last ||
	    r.largest >= STEP_MIN * r.whole || !goes_on(x + s, m))
		return false;
	find_trend(x + s, m, &t);
	rise = t.slope * (double)(m - 1);
	/* what begins late was otherwise before, but no wilder */
	drop = largest_drop(s > n / 4 ? x + settled : x + s, s > n / 4 ? n - settled : m);
	z = certainty(&t);
	if (rise <= 0)
		return false;
	may_drop = !strict && z >= TREND_MIN && t.dependence <= DEPENDENCE_MAX ? NOISY_DROP_MAX
									       : DROP_MAX;
	if (drop > may_drop * rise)
		return false;
	if (s > n / 4) {
		find_trend(x, s, &before);
		if (before.slope > (ret->is_growing ? LATE_SURELY : LATE_BEFORE_MAX) * t.slope)
			return false;
	}
	*ret = (struct growth){.shape = s > n / 4 ? GROWTH_LATE : GROWTH_STEADY,
			       .is_growing = true,
			       .since = s,
			       .slope = t.slope,
			       .low = t.low,
			       .high = t.high,
			       .confidence = clamp(0.5 * erfc(-z / sqrt(2)), 0, 1)};
	/* each increase that nothing took back is like a coin that falls the same way */
	if (drop <= DROP_MAX * rise)
		ret->confidence = fmax(ret->confidence, 1 - exp2(-(double)r.increases));
	return true;
}

static bool grows(const double *x, size_t n, bool strict, struct growth *ret)
{
	for (size_t i = 0; i < COUNT_OF(begins); i++)
		if (!ret->is_growing || n * begins[i] / 8 > n / 4)
			grows_from(x, n, n * begins[i] / 8, strict, ret);
	return ret->is_growing;
}

/* The largest fall from one value to the next. */
static double largest_fall(const double *x, size_t n)
{
	double fall = 0;

	for (size_t i = 1; i < n; i++)
		fall = x[i - 1] - x[i] > fall ? x[i - 1] - x[i] : fall;
	return fall;
}

/* Of what does not grow. */
static enum growth_shape shape_of(const double *ends, size_t n, const struct trend *t)
{
	size_t eighth = n / 8 ? n / 8 : 1;
	double start = median_of(ends, eighth), end = median_of(ends + n - eighth, eighth);
	double drop = largest_drop(ends, n), top = 0, bottom = ends[0];
	struct rise r;

	for (size_t i = 0; i < n; i++) {
		top = ends[i] > top ? ends[i] : top;
		bottom = ends[i] < bottom ? ends[i] : bottom;
	}
	find_rise(ends, n, &r);
	if (top - bottom <= top / 50)
		return GROWTH_FLAT;
	if (drop <= (top - bottom) / 2) {
		double middle = median_of(ends + n / 2 - eighth / 2, eighth);

		if (r.whole > 0 && r.largest >= STEP_MIN * r.whole)
			return GROWTH_STEP;
		if (end > start)
			return end - middle < SECOND_HALF_MIN * (middle - start) ? GROWTH_LEVELLED
										  : GROWTH_UNCLEAR;
		return GROWTH_FLAT;
	}
	if (fabs(certainty(t)) >= TREND_MIN && t->slope < 0)
		return GROWTH_FALLING;
	if (t->dependence < 0.3 && top - bottom <= top)
		return fabs(t->slope) * (double)n < (top - bottom) / 2 ? GROWTH_FLAT
								       : GROWTH_UNCLEAR;
	return largest_fall(ends, n) >= drop / 2 ? GROWTH_SAWTOOTH : GROWTH_WAVES;
}

void growth_judge(const double *floors, const double *ends, size_t n,
		  enum growth_question question, struct growth *ret)
{
	double most = 0;
	struct trend t;

	*ret = (struct growth){.shape = GROWTH_SHORT};
	if (n < GROWTH_WINDOWS_MIN)
		return;
	n = n > GROWTH_WINDOWS_MAX ? GROWTH_WINDOWS_MAX : n;
	for (size_t i = 0; i < n; i++)
		most = ends[i] > most ? ends[i] : most;
	ret->shape = GROWTH_FLAT;
	if (most <= 0)
		return;
	/* what is always replaced by something larger is never there for long: by the ends, too */
	if (grows(floors, n, false, ret) || grows(ends, n, true, ret))
		return;
	if (question == GROWTH_ONLY)
		return;
	find_trend(ends, n, &t);
	*ret = (struct growth){.shape = shape_of(ends, n, &t),
			       .slope = t.slope,
			       .low = t.low,
			       .high = t.high,
			       .confidence = clamp(0.5 * erfc(-certainty(&t) / sqrt(2)), 0, 1)};
}
