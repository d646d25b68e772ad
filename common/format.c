/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/format.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/xalloc.h"

const char *format_bytes(char *buf, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	size_t unit = 0;

	/* 1023.5 would print as 1024 */
	while (v >= 1023.5 && unit + 1 < COUNT_OF(units)) {
		v /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 " B", bytes);
	else
		snprintf(buf, FORMAT_MAX, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v,
			 units[unit]);
	return buf;
}

const char *format_count(char *buf, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *out = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return buf;
}

const char *format_duration(char *buf, uint64_t ns)
{
	double v = (double)ns;

	if (ns < 1000)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 " ns", ns);
	else if (v < 999.5e3)
		snprintf(buf, FORMAT_MAX, "%.3g us", v / 1e3);
	else if (v < 999.5e6)
		snprintf(buf, FORMAT_MAX, "%.3g ms", v / 1e6);
	else if (v < 99.5e9)
		snprintf(buf, FORMAT_MAX, "%.3g s", v / 1e9);
	else if (v < 3600e9)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 " min %02" PRIu64 " s", ns / 60000000000,
			 ns / 1000000000 % 60);
	else
		snprintf(buf, FORMAT_MAX, "%" PRIu64 " h %02" PRIu64 " min", ns / 3600000000000,
			 ns / 60000000000 % 60);
	return buf;
}

const char *format_percent(char *buf, uint64_t part, uint64_t whole)
{
	if (whole)
		snprintf(buf, FORMAT_MAX, "%.1f %%", 100.0 * (double)part / (double)whole);
	else
		snprintf(buf, FORMAT_MAX, "-");
	return buf;
}

const char *format_utc(char *buf, uint64_t realtime_ns)
{
	time_t t = (time_t)(realtime_ns / 1000000000);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, FORMAT_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(buf, FORMAT_MAX, "-");
	return buf;
}

size_t utf8_length(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = 0;

	if (s[0] < 0x80)
		n = 1;
	else if (s[0] >= 0xc2 && s[0] < 0xe0)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] < 0xf0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] < 0xf5)
		n = 4;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)))
		return 0; /* overlong; surrogates */
	if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)))
		return 0;
	return n;
}

const char *format_safe(char *buf, size_t size, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t o = 0;

	while (*p) {
		size_t n = utf8_length((const char *)p);
		/* C0 and DEL; C1 is U+0080..U+009F; U+202A..U+202E and U+2066..U+2069 turn text */
		bool bad = !n || (n == 1 && iscntrl(*p)) ||
			   (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) ||
			   (n == 3 && p[0] == 0xe2 &&
			    ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) ||
			     (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)));

		if (!n)
			n = 1;
		if (o + (bad ? 1 : n) >= size)
			break;
		if (bad) {
			buf[o++] = '?';
		} else {
			memcpy(buf + o, p, n);
			o += n;
		}
		p += n;
	}
	if (size)
		buf[o] = '\0';
	return buf;
}

bool parse_duration(const char *s, uint64_t *ret_ns)
{
	static const struct {
		const char *suffix;
		double ns;
	} units[] = {{"", 1e9},	  {"s", 1e9},	 {"ms", 1e6},	 {"us", 1e3},
		     {"ns", 1},	  {"m", 60e9},	 {"min", 60e9}, {"h", 3600e9},
		     {"d", 86400e9}};
	char *end;
	double v;

	v = strtod(s, &end);
	/* digits and a point only: no sign, hexadecimal, exponent or "inf" */
	if (end == s || strspn(s, "0123456789.") != (size_t)(end - s))
		return false;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (strcmp(end, units[i].suffix))
			continue;
		v *= units[i].ns;
		if (v > 9e18)
			return false;
		*ret_ns = (uint64_t)v;
		return true;
	}
	return false;
}

bool parse_bytes(const char *s, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(s, "0123456789");
	const char *unit = s[digits] ? strchr(units, s[digits]) : NULL;
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;
	unsigned long long v;

	if (!digits || (s[digits] && !unit) ||
	    (unit && s[digits + 1] && strcmp(s + digits + 1, "iB")))
		return false;
	errno = 0;
	v = strtoull(s, NULL, 10);
	if (errno || v > UINT64_MAX >> shift)
		return false;
	*ret_bytes = (uint64_t)v << shift;
	return true;
}

bool parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || v > max)
		return false;
	*ret = v;
	return true;
}
