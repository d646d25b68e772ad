/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

#include "common/format.h"
#include "common/xalloc.h"

/* So much is written at once. */
#define PART_BYTES 65536
/* What may come again is kept as long as all of it takes no more. */
#define KEPT_BYTES_MAX ((size_t)128 << 20)

static void put(struct json *j, const char *text, size_t len)
{
	buffer_append(&j->text, text, len);
}

static void put_char(struct json *j, char c)
{
	buffer_append(&j->text, &c, 1);
}

static void flush(struct json *j)
{
	if (j->text.len)
		fwrite(j->text.data, 1, j->text.len, j->out);
	buffer_reset(&j->text);
}

/* One that cannot be written as it is; returns how many bytes it has. */
static size_t put_escaped(struct json *j, const char *s)
{
	unsigned char c = (unsigned char)*s;
	char text[8];
	size_t n = 1;

	if (c == '"' || c == '\\') {
		put_char(j, '\\');
		put_char(j, *s);
	} else if (c == '\n') {
		put(j, "\\n", 2);
	} else if (c == '\t') {
		put(j, "\\t", 2);
	} else if (c < 0x80) {
		snprintf(text, sizeof(text), "\\u%04x", c);
		put(j, text, 6);
	} else {
		n = utf8_length(s);
		if (n)
			put(j, s, n);
		else
			put(j, "\\ufffd", 6);
	}
	return n ? n : 1;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_string(struct json *j, const char *s)
{
	put_char(j, '"');
	while (*s) {
		size_t n = 0;

		while (is_plain((unsigned char)s[n]))
			n++;
		put(j, s, n);
		s += n;
		if (*s)
			s += put_escaped(j, s);
	}
	put_char(j, '"');
}

static void put_indent(struct json *j)
{
	static const char blanks[] = "\n                                ";
	int columns = 2 * j->depth;

	put(j, blanks, 1);
	for (; columns > 32; columns -= 32)
		put(j, blanks + 1, 32);
	put(j, blanks + 1, (size_t)columns);
}

static void lead(struct json *j, const char *key)
{
	if (j->text.len >= PART_BYTES && !j->is_once)
		flush(j);
	if (j->comma)
		put(j, ", ", j->is_once ? 2 : 1);
	if (j->depth && !j->is_once)
		put_indent(j);
	if (key) {
		put_string(j, key);
		put(j, ": ", 2);
	}
	j->comma = true;
}

static void begin(struct json *j, const char *key, char bracket)
{
	lead(j, key);
	put_char(j, bracket);
	j->depth++;
	j->comma = false;
}

static void end(struct json *j, char bracket)
{
	j->depth--;
	if (j->comma)
		put_indent(j);
	put_char(j, bracket);
	j->comma = true;
	if (j->depth)
		return;
	put_char(j, '\n');
	flush(j);
	buffer_release(&j->text);
	buffer_release(&j->kept);
	hashmap_release(&j->places);
	free(j->pieces);
	j->pieces = NULL;
	j->n_pieces = j->cap_pieces = 0;
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

bool json_begin_once(struct json *j, uint64_t id)
{
	uint32_t *place = hashmap_put(&j->places, id);

	lead(j, NULL);
	if (*place != HASHMAP_NONE) {
		const struct json_piece *p = &j->pieces[*place];

		put(j, (const char *)j->kept.data + p->start, p->len);
		return false;
	}
	if (j->kept.len < KEPT_BYTES_MAX) {
		*place = (uint32_t)j->n_pieces;
		ARRAY_GROW(j->pieces, j->cap_pieces, j->n_pieces);
		j->pieces[j->n_pieces++] = (struct json_piece){0};
	}
	j->once_start = j->text.len;
	j->is_once = true;
	put_char(j, '{');
	j->comma = false;
	return true;
}

void json_end_once(struct json *j)
{
	struct json_piece *p = j->n_pieces ? &j->pieces[j->n_pieces - 1] : NULL;

	put_char(j, '}');
	j->comma = true;
	j->is_once = false;
	if (!p || p->len) /* there is no room for it */
		return;
	*p = (struct json_piece){j->kept.len, j->text.len - j->once_start};
	buffer_append(&j->kept, j->text.data + j->once_start, p->len);
}

void json_string(struct json *j, const char *key, const char *value)
{
	lead(j, key);
	if (value)
		put_string(j, value);
	else
		put(j, "null", 4);
}

static void put_u64(struct json *j, uint64_t value)
{
	char digits[20], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	put(j, p, (size_t)(digits + sizeof(digits) - p));
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	lead(j, key);
	put_u64(j, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	lead(j, key);
	if (value < 0)
		put_char(j, '-');
	put_u64(j, value < 0 ? -(uint64_t)value : (uint64_t)value);
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
	put(j, value ? "true" : "false", value ? 4 : 5);
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
