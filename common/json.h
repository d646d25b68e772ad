/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Writes JSON to a stream; commas and escapes are its business.  A key is
 * given in objects and is NULL in arrays.  Bytes that are not UTF-8 become
 * U+FFFD, so the output is always valid.
 */
struct json {
	FILE *out;
	int depth;
	bool comma;
};

void json_begin_object(struct json *j, const char *key);
void json_begin_array(struct json *j, const char *key);
void json_end_object(struct json *j);
void json_end_array(struct json *j);
void json_string(struct json *j, const char *key, const char *value); /* NULL: null */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
/* Six digits; null where it is no number. */
void json_double(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);

/*
 * Reads an array of strings.  Returns their number, with *@ret an array of so
 * many strings and a NULL, to be freed with json_free_strings(); or -1 where
 * @text is anything else.
 */
int json_parse_strings(const char *text, char ***ret);
void json_free_strings(char **strings);

#endif
