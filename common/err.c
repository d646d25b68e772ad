/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for ": " and the text of an errno. */
#define REASON_BYTES 80

int err_set(struct err *e, enum err_class class, int errnum, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (e) {
		e->class = class;
		e->hint[0] = '\0';
		va_start(ap, fmt);
		n = vsnprintf(e->what, sizeof(e->what), fmt, ap);
		va_end(ap);
		if (errnum && n >= 0) {
			char text[128];
			const char *s = strerror_r(errnum, text, sizeof(text));

			/* a long name must not push the reason out */
			if ((size_t)n > sizeof(e->what) - REASON_BYTES)
				n = snprintf(e->what + sizeof(e->what) - REASON_BYTES, 5, "...'") +
				    (int)(sizeof(e->what) - REASON_BYTES);
			snprintf(e->what + n, sizeof(e->what) - n, ": %s", s);
			/* strerror() starts with a capital; our messages do not */
			if ((size_t)n + 2 < sizeof(e->what) && e->what[n + 2] >= 'A' &&
			    e->what[n + 2] <= 'Z' &&
			    !(e->what[n + 3] >= 'A' && e->what[n + 3] <= 'Z'))
				e->what[n + 2] += 'a' - 'A';
		}
	}
	return errnum ? -errnum : -EINVAL;
}

void err_hint(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
		va_end(ap);
	}
	errno = saved;
}
