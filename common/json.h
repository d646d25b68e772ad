/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buffer.h"
#include "common/hash.h"

/*
 * Writes JSON to a stream; commas and escapes are its business.  A key is
 * given in objects and is NULL in arrays.  Bytes that are not UTF-8 become
 * U+FFFD, so the output is always valid.  It is written in large parts, the last of
 * them when the outermost value ends.
 */
struct json {
	FILE *out;
	int depth;
	bool comma;
	struct buffer text; /* that was not written yet */
	struct buffer kept; /* objects that may come again */
	struct json_piece {
		size_t start, len; /* in @kept */
	} *pieces;
	size_t n_pieces, cap_pieces;
	struct hashmap places; /* id -> number in @pieces */
	bool is_once; /* the object that is being written may come again: it is on one line … */
	size_t once_start; /* … from there in @text on */
};

void json_begin_object(struct json *j, const char *key);
void json_begin_array(struct json *j, const char *key);
void json_end_object(struct json *j);
void json_end_array(struct json *j);
/*
 * An object in an array that is the same each time it comes, with an id of its own; on one line.
 * True: it is to be written, and ended by json_end_once(); else that was done.  There is no such
 * one within another.
 */
bool json_begin_once(struct json *j, uint64_t id);
void json_end_once(struct json *j);
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
