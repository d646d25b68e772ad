/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_FORMAT_H
#define COMMON_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Numbers, times and foreign text as people read them.  Each call writes into
 * @buf of FORMAT_MAX bytes and returns it.
 */
#define FORMAT_MAX 40

/* "0 B", "17 B", "1.50 KiB", "183 MiB": three significant digits.  */
const char *format_bytes(char *buf, uint64_t bytes);
/* "1,234,567" */
const char *format_count(char *buf, uint64_t n);
/* "950 ns", "12.3 ms", "4.56 s", "3 min 20 s", "2 h 05 min" */
const char *format_duration(char *buf, uint64_t ns);
/* "12.3 %", of @part in @whole; "-" where @whole is 0 */
const char *format_percent(char *buf, uint64_t part, uint64_t whole);
/* "2026-11-21 05:20:11 UTC" */
const char *format_utc(char *buf, uint64_t realtime_ns);

/*
 * Copies @s into @buf of @size bytes with every control character, escape
 * sequence and byte that is not valid UTF-8 replaced by '?', so that names from
 * a target or a recording cannot drive a terminal.  Returns @buf.
 */
const char *format_safe(char *buf, size_t size, const char *s);

/* Bytes of the valid UTF-8 sequence that @s begins with; 0 if it does not begin with one. */
size_t utf8_length(const char *s);

/* "10s", "1.5m", "200ms", "2h" (a plain number is seconds); false if it is none of these. */
bool parse_duration(const char *s, uint64_t *ret_ns);
/* "4096", "100K", "512M", "2GiB", in units of 1024; false if it is none of these. */
bool parse_bytes(const char *s, uint64_t *ret_bytes);
/* Decimal, the whole string, at most @max. */
bool parse_u64(const char *s, uint64_t max, uint64_t *ret);

#endif
