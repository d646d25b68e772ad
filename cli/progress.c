/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "analyzer/rows.h"
#include "common/clock.h"
#include "common/format.h"

#define PATIENCE_NS 1000000000ull
#define EVERY_NS 100000000ull

static uint64_t since_ns, shown_ns;

static bool is_due(void)
{
	uint64_t now = clock_now_ns();

	if (!since_ns)
		since_ns = now;
	if (now - since_ns < PATIENCE_NS || (shown_ns && now - shown_ns < EVERY_NS) ||
	    !isatty(STDERR_FILENO))
		return false;
	shown_ns = now;
	return true;
}

static void __attribute__((format(printf, 1, 2))) show(const char *fmt, ...)
{
	va_list ap;

	fputs("\rheaptrail: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\033[K", stderr);
}

void progress_events(uint64_t events)
{
	char n[FORMAT_MAX];

	if (is_due())
		show("reading the recording, %s events", format_count(n, events));
}

void progress_names(size_t done, size_t n)
{
	char x[FORMAT_MAX], y[FORMAT_MAX];

	if (is_due())
		show("looking up functions, %s of %s", format_count(x, done), format_count(y, n));
}

void progress_fetch(const char *file, uint64_t bytes, uint64_t of)
{
	char x[FORMAT_MAX], y[FORMAT_MAX], safe[32];

	if (is_due())
		show("debug information of %s, %s of %s",
		     format_safe(safe, sizeof(safe), path_base(file)), format_bytes(x, bytes),
		     format_bytes(y, of));
}

void progress_end(void)
{
	if (shown_ns)
		fputs("\r\033[K", stderr);
	since_ns = shown_ns = 0;
}
