/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"

static void put_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			fputc('\\', out);
			fputc(c, out);
		} else if (c == '\n') {
			fputs("\\n", out);
		} else if (c == '\t') {
			fputs("\\t", out);
		} else if (c < 0x20 || c == 0x7f) {
			fprintf(out, "\\u%04x", c);
		} else if (c < 0x80) {
			fputc(c, out);
		} else {
			size_t n = utf8_length(s);

			if (n) {
				fwrite(s, 1, n, out);
				s += n - 1;
			} else {
				fputs("\\ufffd", out);
			}
		}
	}
	fputc('"', out);
}

static void lead(struct json *j, const char *key)
{
	if (j->comma)
		fputc(',', j->out);
	if (j->depth) {
		fputc('\n', j->out);
		for (int i = 0; i < j->depth; i++)
			fputs("  ", j->out);
	}
	if (key) {
		put_string(j->out, key);
		fputs(": ", j->out);
	}
	j->comma = true;
}

static void begin(struct json *j, const char *key, char bracket)
{
	lead(j, key);
	fputc(bracket, j->out);
	j->depth++;
	j->comma = false;
}

static void end(struct json *j, char bracket)
{
	j->depth--;
	if (j->comma) {
		fputc('\n', j->out);
		for (int i = 0; i < j->depth; i++)
			fputs("  ", j->out);
	}
	fputc(bracket, j->out);
	j->comma = true;
	if (!j->depth)
		fputc('\n', j->out);
}

void json_begin_object(struct json *j, const char *key)
{
	begin(j, key, '{');
}

void json_begin_array(struct json *j, const char *key)
{
	begin(j, key, '[');
}

void json_end_object(struct json *j)
{
	end(j, '}');
}

void json_end_array(struct json *j)
{
	end(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
	lead(j, key);
	if (value)
		put_string(j->out, value);
	else
		fputs("null", j->out);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	lead(j, key);
	fprintf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	lead(j, key);
	fprintf(j->out, "%" PRId64, value);
}

void json_double(struct json *j, const char *key, double value)
{
	lead(j, key);
	/* neither "nan" nor "inf" is JSON */
	if (value - value == 0)
		fprintf(j->out, "%.6g", value);
	else
		fputs("null", j->out);
}

void json_bool(struct json *j, const char *key, bool value)
{
	lead(j, key);
	fputs(value ? "true" : "false", j->out);
}

/* ---- reading ----------------------------------------------------------------------- */

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static bool append_escape(struct buffer *b, const char **p)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	char hex[5] = "", c;
	unsigned long v;

	if (**p != 'u') {
		at = **p ? strchr(from, **p) : NULL;
		if (!at)
			return false;
		c = to[at - from];
		buffer_append(b, &c, 1);
		(*p)++;
		return true;
	}
	memcpy(hex, *p + 1, strnlen(*p + 1, 4));
	if (strspn(hex, "0123456789abcdefABCDEF") != 4)
		return false;
	v = strtoul(hex, NULL, 16);
	if (v >= 0x80) /* we write no others but U+FFFD */
		buffer_append(b, "\xef\xbf\xbd", 3);
	else if (v) {
		c = (char)v;
		buffer_append(b, &c, 1);
	}
	*p += 5;
	return true;
}

/* *@p stands behind the opening quote, and afterwards behind the closing one. */
static char *parse_string(const char **p)
{
	struct buffer b = {0};

	while ((unsigned char)**p >= 0x20 && **p != '"') {
		if (**p == '\\') {
			(*p)++;
			if (!append_escape(&b, p)) {
				buffer_release(&b);
				return NULL;
			}
			continue;
		}
		buffer_append(&b, (*p)++, 1);
	}
	if (**p != '"') { /* it ended, or has a control character */
		buffer_release(&b);
		return NULL;
	}
	(*p)++;
	buffer_append(&b, "", 1);
	return (char *)b.data;
}

int json_parse_strings(const char *text, char ***ret)
{
	char **strings = NULL;
	size_t n = 0, cap = 0;
	const char *p = skip_space(text);

	ARRAY_GROW(strings, cap, 0);
	if (*p++ != '[')
		goto bad;
	p = skip_space(p);
	while (*p != ']') {
		char *s;

		if (*p++ != '"' || !(s = parse_string(&p)))
			goto bad;
		ARRAY_GROW(strings, cap, n + 1);
		strings[n++] = s;
		p = skip_space(p);
		if (*p == ',') {
			p = skip_space(p + 1);
			if (*p == ']')
				goto bad;
		} else if (*p != ']') {
			goto bad;
		}
	}
	if (*skip_space(p + 1))
		goto bad;
	*ret = strings;
	return (int)n;
bad:
	json_free_strings(strings);
	return -1;
}

void json_free_strings(char **strings)
{
	for (char **s = strings; s && *s; s++)
		free(*s);
	free(strings);
}
