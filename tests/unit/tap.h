/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Prints the results of a test program in the Test Anything Protocol, version 12. */

static int tap_checks, tap_failures;

/* "# ...": for the one who reads the log. */
__attribute__((format(printf, 1, 2), unused)) static void diag(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

__attribute__((format(printf, 4, 5), unused)) static bool tap_ok(bool passed, const char *file,
								  int line, const char *fmt, ...)
{
	char name[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	/* a number sign would begin a directive, a new line another result */
	for (char *p = name; *p; p++)
		if (*p == '#' || *p == '\n')
			*p = '_';
	tap_checks++;
	tap_failures += !passed;
	printf("%sok %d - %s\n", passed ? "" : "not ", tap_checks, name);
	if (!passed)
		printf("# failed at %s:%d\n", file, line);
	fflush(stdout);
	return passed;
}

/* One check; the rest is its name, as for printf().  Returns whether it passed. */
#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Ends the test here: what it needs is not to be had. */
__attribute__((format(printf, 1, 2), noreturn, unused)) static void bail_out(const char *fmt, ...)
{
	va_list ap;

	fputs("Bail out! ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

/* The plan, and what main() returns. */
__attribute__((unused)) static int done(void)
{
	printf("1..%d\n", tap_checks);
	return tap_failures || fflush(stdout) ? 1 : 0;
}

/* ---- numbers that look random ------------------------------------------------------ */

static uint64_t tap_random_state;

/*
 * Another seed every time, which the log keeps; HEAPTRAIL_SEED in the environment
 * repeats a run.
 */
__attribute__((unused)) static void seed_random(void)
{
	const char *text = getenv("HEAPTRAIL_SEED");
	struct timespec t;

	if (text && *text) {
		tap_random_state = strtoull(text, NULL, 0);
	} else {
		clock_gettime(CLOCK_REALTIME, &t);
		tap_random_state = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	}
	diag("seed %" PRIu64, tap_random_state);
}

/* SplitMix64 */
__attribute__((unused)) static uint64_t random_u64(void)
{
	uint64_t z = (tap_random_state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

__attribute__((unused)) static uint64_t random_below(uint64_t n)
{
	return random_u64() % n;
}

#endif
