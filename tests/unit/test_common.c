/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "common/buffer.h"
#include "common/err.h"
#include "common/format.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/xalloc.h"
#include "tests/unit/tap.h"

static void test_buffer(void)
{
	struct buffer b = {0};
	bool same = true;

	buffer_append(&b, NULL, 0);
	ok(b.len == 0, "appending nothing to an empty buffer");
	for (int i = 0; i < 10000; i++) {
		uint8_t bytes[3] = {(uint8_t)i, (uint8_t)(i >> 8), 7};

		buffer_append(&b, bytes, sizeof(bytes));
	}
	for (int i = 0; i < 10000; i++)
		same = same && b.data[3 * i] == (uint8_t)i &&
		       b.data[3 * i + 1] == (uint8_t)(i >> 8) && b.data[3 * i + 2] == 7;
	ok(b.len == 30000 && b.len <= b.cap && same, "a buffer keeps what is appended");
	buffer_reset(&b);
	ok(b.len == 0 && b.cap >= 30000, "a reset buffer is empty and keeps its memory");
	buffer_release(&b);
	ok(!b.data && !b.len && !b.cap, "a released buffer is empty");
}

static void test_varint(void)
{
	static const struct {
		uint64_t value;
		size_t len;
	} cases[] = {
		{0, 1},		     {1, 1},		   {127, 1},
		{128, 2},	     {16383, 2},	   {16384, 3},
		{UINT32_MAX, 5},     {1ull << 35, 6},	   {(1ull << 56) - 1, 8},
		{1ull << 56, 9},     {(1ull << 63) - 1, 9}, {1ull << 63, 10},
		{UINT64_MAX, 10},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buffer b = {0};
		struct cursor c;
		size_t cut;

		buffer_append_varint(&b, cases[i].value);
		c = (struct cursor){.p = b.data, .end = b.data + b.len};
		ok(b.len == cases[i].len && cursor_varint(&c) == cases[i].value && !c.bad &&
			   c.p == c.end,
		   "LEB128 of %" PRIu64 " has %zu bytes and reads back", cases[i].value,
		   cases[i].len);
		for (cut = 0; cut < b.len; cut++) {
			c = (struct cursor){.p = b.data, .end = b.data + cut};
			cursor_varint(&c);
			if (!c.bad || c.p != c.end || cursor_varint(&c))
				break;
		}
		ok(cut == b.len, "LEB128 of %" PRIu64 ", cut off, is bad", cases[i].value);
		buffer_release(&b);
	}
}

static void test_cursor(void)
{
	static const uint8_t too_large[] = {0xff, 0xff, 0xff, 0xff, 0xff,
					    0xff, 0xff, 0xff, 0xff, 0x02};
	static const uint8_t too_long[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
					   0x80, 0x80, 0x80, 0x81, 0x00};
	static const uint8_t bytes[] = {5, 6};
	struct cursor c = {.p = bytes, .end = bytes + 2};

	ok(cursor_byte(&c) == 5 && cursor_byte(&c) == 6 && !c.bad, "a cursor reads bytes");
	ok(cursor_byte(&c) == 0 && c.bad && c.p == c.end, "a byte past the end is bad");
	ok(cursor_varint(&c) == 0 && cursor_byte(&c) == 0 && c.bad && c.p == c.end,
	   "and so is all after it");
	c = (struct cursor){.p = too_large, .end = too_large + sizeof(too_large)};
	ok(cursor_varint(&c) == 0 && c.bad, "a LEB128 of 65 bits is bad");
	c = (struct cursor){.p = too_long, .end = too_long + sizeof(too_long)};
	ok(cursor_varint(&c) == 0 && c.bad, "a LEB128 of eleven bytes is bad");
	c = (struct cursor){0};
	ok(cursor_varint(&c) == 0 && c.bad, "an empty cursor is at its end");
}

static void test_zigzag(void)
{
	static const int64_t values[] = {0, -1, 1, -2, 63, -64, INT32_MIN, INT64_MAX, INT64_MIN};
	bool same = true;

	for (size_t i = 0; i < COUNT_OF(values); i++)
		same = same && unzigzag(zigzag(values[i])) == values[i];
	for (int i = 0; i < 1000; i++) {
		int64_t v = (int64_t)random_u64();

		same = same && unzigzag(zigzag(v)) == v;
	}
	ok(same, "zig-zag there and back");
	ok(zigzag(0) == 0 && zigzag(-1) == 1 && zigzag(1) == 2 && zigzag(INT64_MIN) == UINT64_MAX,
	   "zig-zag puts small numbers first");
}

static void test_hashmap(void)
{
	enum { N = 20000 };
	struct hashmap m = {0};
	size_t good = 0;

	ok(hashmap_get(&m, 0) == HASHMAP_NONE, "nothing is in an empty map");
	hashmap_clear(&m);
	/* keys 0 and UINT64_MAX are as good as any; multiples of a page collide in bad hashes */
	for (uint32_t i = 0; i < N; i++) {
		uint32_t *value = hashmap_put(&m, (uint64_t)i << 12);

		good += *value == HASHMAP_NONE;
		*value = i;
	}
	*hashmap_put(&m, UINT64_MAX) = N;
	ok(good == N, "a new key has no value yet");
	ok(m.n == N + 1 && (m.cap & (m.cap - 1)) == 0 && m.cap >= m.n, "the map counts its keys");
	good = 0;
	for (uint32_t i = 0; i < N; i++)
		good += hashmap_get(&m, (uint64_t)i << 12) == i &&
			hashmap_get(&m, ((uint64_t)i << 12) + 1) == HASHMAP_NONE;
	ok(good == N && hashmap_get(&m, UINT64_MAX) == N, "the map finds what was put, no other");
	*hashmap_put(&m, 4096) = 99;
	ok(hashmap_get(&m, 4096) == 99 && m.n == N + 1, "a value can be replaced");
	hashmap_clear(&m);
	ok(m.n == 0 && hashmap_get(&m, 4096) == HASHMAP_NONE &&
		   hashmap_get(&m, UINT64_MAX) == HASHMAP_NONE,
	   "a cleared map is empty");
	*hashmap_put(&m, 4096) = 7;
	ok(hashmap_get(&m, 4096) == 7 && m.n == 1, "and can be filled again");
	hashmap_release(&m);
	ok(hashmap_get(&m, 4096) == HASHMAP_NONE, "a released map is empty");
	ok(hash_bytes("ab", 2) != hash_bytes("ba", 2) && hash_bytes("", 0) == hash_bytes("x", 0),
	   "a hash depends on the bytes, and on nothing else");
}

static void test_numbers(void)
{
	static const struct {
		const char *(*format)(char *buf, uint64_t v);
		uint64_t v;
		const char *text;
	} cases[] = {
		{format_bytes, 0, "0 B"},
		{format_bytes, 17, "17 B"},
		{format_bytes, 1023, "1023 B"},
		{format_bytes, 1024, "1.00 KiB"},
		{format_bytes, 1536, "1.50 KiB"},
		{format_bytes, 10239, "10.0 KiB"},
		{format_bytes, 102399, "100 KiB"},
		{format_bytes, (1 << 20) - 1, "1.00 MiB"},
		{format_bytes, 183ull << 20, "183 MiB"},
		{format_bytes, 5ull << 30, "5.00 GiB"},
		{format_bytes, 7ull << 40, "7.00 TiB"},
		{format_bytes, UINT64_MAX, "16.0 EiB"},
		{format_count, 0, "0"},
		{format_count, 999, "999"},
		{format_count, 1000, "1,000"},
		{format_count, 1234567, "1,234,567"},
		{format_count, UINT64_MAX, "18,446,744,073,709,551,615"},
		{format_duration, 0, "0 ns"},
		{format_duration, 950, "950 ns"},
		{format_duration, 1500, "1.5 us"},
		{format_duration, 12300000, "12.3 ms"},
		{format_duration, 999500000, "1 s"},
		{format_duration, 4560000000, "4.56 s"},
		{format_duration, 99400000000, "99.4 s"},
		{format_duration, 100000000000, "1 min 40 s"},
		{format_duration, 200000000000, "3 min 20 s"},
		{format_duration, 3599000000000, "59 min 59 s"},
		{format_duration, 7500000000000, "2 h 05 min"},
		{format_duration, UINT64_MAX, "5124095 h 34 min"},
		{format_utc, 0, "1970-01-01 00:00:00 UTC"},
		{format_utc, 1795238411999999999, "2026-11-21 05:20:11 UTC"},
	};
	char buf[FORMAT_MAX];

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *text = cases[i].format(buf, cases[i].v);

		if (!ok(text == buf && !strcmp(text, cases[i].text), "%" PRIu64 " is '%s'",
			cases[i].v, cases[i].text))
			diag("it was '%s'", text);
	}
	ok(!strcmp(format_percent(buf, 123, 1000), "12.3 %"), "percent of a thousand");
	ok(!strcmp(format_percent(buf, 0, 5), "0.0 %"), "no percent");
	ok(!strcmp(format_percent(buf, UINT64_MAX, UINT64_MAX), "100.0 %"), "all percent");
	ok(!strcmp(format_percent(buf, 5, 0), "-"), "percent of nothing");
}

static void test_safe(void)
{
	static const struct {
		const char *name, *in, *out;
	} cases[] = {
		{"nothing", "", ""},
		{"plain text", "operator new[](unsigned long) ~ 100 %", NULL},
		{"letters of two, three and four bytes", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
		 NULL},
		{"an escape sequence", "\x1b[31mred\x1b]0;title\x07", "?[31mred?]0;title?"},
		{"control characters", "a\tb\nc\rd\be", "a?b?c?d?e"},
		{"delete", "a\x7f", "a?"},
		{"C1 in UTF-8", "a\xc2\x9b" "31m\xc2\x80", "a?31m?"},
		{"what follows C1", "\xc2\xa0", NULL},
		{"C1 as a bare byte", "a\x9b" "b", "a?b"},
		{"a continuation byte alone", "\x80z", "?z"},
		{"a sequence that is cut off", "\xe2\x82", "??"},
		{"a sequence cut short by a letter", "\xe2\x82z", "??z"},
		{"an overlong slash", "\xc0\xaf", "??"},
		{"an overlong of three bytes", "\xe0\x80\xaf", "???"},
		{"an overlong of four bytes", "\xf0\x80\x80\xaf", "????"},
		{"a surrogate", "\xed\xa0\x80", "???"},
		{"what stands before the surrogates", "\xed\x9f\xbf", NULL},
		{"beyond the last character", "\xf4\x90\x80\x80", "????"},
		{"the last character", "\xf4\x8f\xbf\xbf", NULL},
		{"bytes UTF-8 does not have", "\xfe\xff\xf8", "???"},
		{"bidirectional embeddings and overrides",
		 "\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae", "?????"},
		{"bidirectional isolates", "\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9",
		 "????"},
		{"the neighbours of those", "\xe2\x80\xaf\xe2\x81\xaa\xe2\x81\xa5", NULL},
	};
	char buf[64];
	size_t same = 0;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *expected = cases[i].out ? cases[i].out : cases[i].in;

		ok(format_safe(buf, sizeof(buf), cases[i].in) == buf && !strcmp(buf, expected),
		   "safe text: %s", cases[i].name);
	}
	/* never half of a letter, never beyond the size */
	for (size_t size = 0; size <= 8; size++) {
		memset(buf, 'X', sizeof(buf));
		format_safe(buf, size, "a\xe2\x82\xac" "b\x1b");
		same += !strcmp(size == 0   ? "XXXXXXXX"
				: size == 1 ? ""
				: size < 5  ? "a"
				: size == 5 ? "a\xe2\x82\xac"
				: size == 6 ? "a\xe2\x82\xac" "b"
					    : "a\xe2\x82\xac" "b?",
				size ? buf : (buf[8] = '\0', buf)) &&
			buf[size < 8 ? 9 : size] == 'X';
	}
	ok(same == 9, "safe text is cut between letters");
}

static void test_safe_random(void)
{
	int good = 0;

	for (int i = 0; i < 20000; i++) {
		char in[24], out[24];
		size_t n = random_below(sizeof(in));
		bool valid = true;

		for (size_t j = 0; j < n; j++) {
			uint64_t r = random_u64();

			/* mostly bytes that UTF-8 puts together */
			in[j] = (char)(r & 3 ? 0x80 | r >> 8 : 1 + (r >> 8) % 127);
			if (!in[j])
				in[j] = 'a';
		}
		in[n < sizeof(in) ? n : sizeof(in) - 1] = '\0';
		format_safe(out, 1 + random_below(sizeof(out)), in);
		for (const char *p = out; *p; p += utf8_length(p))
			if (!utf8_length(p) || (unsigned char)*p < 0x20) {
				valid = false;
				break;
			}
		good += valid;
	}
	ok(good == 20000, "safe text of random bytes is UTF-8 without control characters");
}

static void test_parse(void)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} durations[] = {
		{"10s", 10000000000},	{"10", 10000000000},   {"0", 0},
		{"1.5m", 90000000000},	{"200ms", 200000000},  {"2h", 7200000000000},
		{"3min", 180000000000}, {".5s", 500000000},    {"7us", 7000},
		{"8ns", 8},		{"1d", 86400000000000},
	};
	static const char *const no_durations[] = {
		"", "s", "-1s", "+1s", " 1s", "1 s", "1s ", "1x", "1ss", "1s1", "nan", "inf",
		"infinity", ".", ".s", "1e400", "9999999999999999999h", "1,5s", "s1", "1M", "1S",
	};
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{"0", 0}, {"4096", 4096}, {"100K", 102400}, {"512M", 512ull << 20},
		{"2GiB", 2ull << 30}, {"3TiB", 3ull << 40}, {"18446744073709551615", UINT64_MAX},
	};
	static const char *const no_sizes[] = {
		"", "-1", "+1", " 1", "1 ", "1x", "M", "1MB", "1MiBi", "1.5M", "0x10", "1k", "1KM",
		"18446744073709551616", "16777216T", "18446744073709551615K", "1i", "1iB",
	};
	static const char *const no_numbers[] = {
		"", "-1", "+1", " 1", "1 ", "1x", "x", "0x10", "18446744073709551616", "1.0",
		"99999999999999999999999",
	};
	uint64_t v;

	for (size_t i = 0; i < COUNT_OF(durations); i++) {
		v = 1;
		ok(parse_duration(durations[i].text, &v) && v == durations[i].ns,
		   "the duration '%s'", durations[i].text);
	}
	for (size_t i = 0; i < COUNT_OF(no_durations); i++) {
		v = 42;
		ok(!parse_duration(no_durations[i], &v) && v == 42, "'%s' is no duration",
		   no_durations[i]);
	}
	ok(parse_u64("0", 0, &v) && v == 0, "the number 0");
	ok(parse_u64("18446744073709551615", UINT64_MAX, &v) && v == UINT64_MAX,
	   "the largest number");
	ok(parse_u64("007", 7, &v) && v == 7, "zeros in front are decimal");
	v = 42;
	ok(!parse_u64("8", 7, &v) && v == 42, "a number beyond the largest allowed");
	for (size_t i = 0; i < COUNT_OF(no_numbers); i++) {
		v = 42;
		ok(!parse_u64(no_numbers[i], UINT64_MAX, &v) && v == 42, "'%s' is no number",
		   no_numbers[i]);
	}
	ok(!parse_duration("0x10s", &v), "'0x10s' is no duration");
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		v = 1;
		ok(parse_bytes(sizes[i].text, &v) && v == sizes[i].bytes, "the size '%s'",
		   sizes[i].text);
	}
	for (size_t i = 0; i < COUNT_OF(no_sizes); i++) {
		v = 42;
		ok(!parse_bytes(no_sizes[i], &v) && v == 42, "'%s' is no size", no_sizes[i]);
	}
}

static void test_err(void)
{
	struct err e;

	errno = EPIPE;
	ok(err_set(&e, ERR_FAILED, ENOENT, "cannot open '%s'", "x") == -ENOENT &&
		   e.class == ERR_FAILED &&
		   !strcmp(e.what, "cannot open 'x': no such file or directory"),
	   "an error with its reason");
	err_hint(&e, "try %d", 2);
	ok(!strcmp(e.hint, "try 2") && errno == EPIPE, "a hint, which keeps errno");
	ok(err_set(&e, ERR_USAGE, 0, "no") == -EINVAL && !strcmp(e.what, "no") && !e.hint[0],
	   "an error without a reason; the hint before it is gone");
	ok(err_set(&e, ERR_FAILED, EIO, "%0600d", 1) == -EIO && strlen(e.what) < 512 &&
		   strstr(e.what, "000...': input/output error"),
	   "an error that is too long is cut, its reason stays");
	ok(err_set(&e, ERR_FAILED, EIO, "%0510d", 1) == -EIO && strlen(e.what) < 512 &&
		   strstr(e.what, "000...': input/output error"),
	   "so is one whose reason would not fit");
	ok(err_set(&e, ERR_FAILED, 0, "%0600d", 1) == -EINVAL && strlen(e.what) == 511,
	   "one without a reason is just cut");
	ok(err_set(NULL, ERR_FAILED, EIO, "x") == -EIO, "an error that nobody reads");
	err_hint(NULL, "x");
}

static void test_json_writer(void)
{
	static const char expected[] =
		"{\n"
		"  \"none\": null,\n"
		"  \"text\": \"a\\\"b\\\\c\\n\\t\\u0001\\u007f\xc3\xa9\\ufffd\",\n"
		"  \"k\\\"ey\": 18446744073709551615,\n"
		"  \"low\": -9223372036854775808,\n"
		"  \"array\": [\n"
		"    true,\n"
		"    false,\n"
		"    {},\n"
		"    [],\n"
		"    \"x\"\n"
		"  ],\n"
		"  \"last\": {\n"
		"    \"a\": 1\n"
		"  }\n"
		"}\n";
	char *text = NULL;
	size_t len;
	struct json j = {.out = open_memstream(&text, &len)};

	json_begin_object(&j, NULL);
	json_string(&j, "none", NULL);
	json_string(&j, "text", "a\"b\\c\n\t\x01\x7f\xc3\xa9\xff");
	json_u64(&j, "k\"ey", UINT64_MAX);
	json_i64(&j, "low", INT64_MIN);
	json_begin_array(&j, "array");
	json_bool(&j, NULL, true);
	json_bool(&j, NULL, false);
	json_begin_object(&j, NULL);
	json_end_object(&j);
	json_begin_array(&j, NULL);
	json_end_array(&j);
	json_string(&j, NULL, "x");
	json_end_array(&j);
	json_begin_object(&j, "last");
	json_u64(&j, "a", 1);
	json_end_object(&j);
	json_end_object(&j);
	fclose(j.out);
	if (!ok(!strcmp(text, expected), "JSON is written as it should be"))
		diag("%zu bytes were written, not %zu", strlen(text), sizeof(expected) - 1);
	free(text);
}

/* Writes @strings, reads them back into *@ret. */
static int there_and_back(const char *const *strings, size_t n, char ***ret)
{
	char *text = NULL;
	size_t len;
	struct json j = {.out = open_memstream(&text, &len)};
	int read;

	json_begin_array(&j, NULL);
	for (size_t i = 0; i < n; i++)
		json_string(&j, NULL, strings[i]);
	json_end_array(&j);
	fclose(j.out);
	read = json_parse_strings(text, ret);
	free(text);
	return read;
}

static void put_place(struct json *j, uint64_t id, const char *name)
{
	if (!json_begin_once(j, id))
		return;
	json_string(j, "name", name);
	json_u64(j, "n", id);
	json_end_once(j);
}

/* Far more than is written at once: parts, and objects that come again, at any place in them. */
static void test_json_parts(void)
{
	char *text = NULL, *expected = NULL;
	char name[300];
	size_t len, expected_len;
	FILE *f = open_memstream(&expected, &expected_len);
	struct json j = {.out = open_memstream(&text, &len)};

	json_begin_object(&j, NULL);
	json_begin_array(&j, "all");
	for (uint64_t i = 0; i < 20000; i++) {
		memset(name, 'x', sizeof(name));
		name[i % 7 * 40] = '\0';
		put_place(&j, i % 7, name);
		if (i % 3 == 0) {
			json_begin_object(&j, NULL);
			json_string(&j, "quote", "\"");
			json_end_object(&j);
		}
	}
	json_end_array(&j);
	json_end_object(&j);
	fclose(j.out);
	ok(!j.text.data && !j.kept.data && !j.pieces && !j.places.n, "nothing is left of it");
	fprintf(f, "{\n  \"all\": [");
	for (uint64_t i = 0; i < 20000; i++) {
		memset(name, 'x', sizeof(name));
		name[i % 7 * 40] = '\0';
		fprintf(f, "%s\n    {\"name\": \"%s\", \"n\": %" PRIu64 "}", i ? "," : "",
			name, i % 7);
		if (i % 3 == 0)
			fprintf(f, ",\n    {\n      \"quote\": \"\\\"\"\n    }");
	}
	fprintf(f, "\n  ]\n}\n");
	fclose(f);
	ok(!strcmp(text, expected), "many objects, most of which come again");
	free(expected);
	free(text);
}

static void test_json_strings(void)
{
	static const char *const strings[] = {
		"", "plain", "a\"b\\c/d", "\b\f\n\r\t\x01\x1f\x7f",
		"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		"], [", "\\u0041", "\\",
	};
	static const char *const bytes[] = {"a\xff" "b"};
	char **got = NULL;
	int n = there_and_back(strings, COUNT_OF(strings), &got);
	bool same = n == (int)COUNT_OF(strings);

	for (int i = 0; same && i < n; i++)
		same = !strcmp(got[i], strings[i]);
	ok(same && !got[n], "strings there and back");
	json_free_strings(n < 0 ? NULL : got);

	n = there_and_back(NULL, 0, &got);
	ok(n == 0 && !got[0], "no strings there and back");
	json_free_strings(n < 0 ? NULL : got);

	n = there_and_back(bytes, 1, &got);
	ok(n == 1 && !strcmp(got[0], "a\xef\xbf\xbd" "b"),
	   "a byte that is no UTF-8 comes back as U+FFFD");
	json_free_strings(n < 0 ? NULL : got);

	n = json_parse_strings(" [ \"\\u0041\\/\\b\" , \"\\u00e9\\ud83d\" ]\n", &got);
	ok(n == 2 && !strcmp(got[0], "A/\b") && !strcmp(got[1], "\xef\xbf\xbd\xef\xbf\xbd"),
	   "escapes that others write");
	json_free_strings(n < 0 ? NULL : got);
	json_free_strings(NULL);
}

static void test_json_malformed(void)
{
	static const char *const texts[] = {
		"", " ", "null", "{}", "\"a\"", "[", "[\"", "[\"a", "[\"a\"", "[\"a\",", "[,]",
		"[\"a\" \"b\"]", "[1]", "[null]", "[[]]", "[\"a\",,\"b\"]", "[\"\\", "[\"\\\"]",
		"[\"\\x\"]", "[\"\\u", "[\"\\u12\"]", "[\"\\u12g4\"]", "[\"\\u-123\"]", "]",
		"[\"a\",]", "[\"a\"]x", "[\"a\"] [", "[\"\n\"]",
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		char *mark = NULL, **got = &mark;
		int n = json_parse_strings(texts[i], &got);

		ok(n == -1 && got == &mark, "not an array of strings: %s", texts[i]);
		if (n >= 0)
			json_free_strings(got);
	}
}

int main(void)
{
	seed_random();
	test_buffer();
	test_varint();
	test_cursor();
	test_zigzag();
	test_hashmap();
	test_numbers();
	test_safe();
	test_safe_random();
	test_parse();
	test_err();
	test_json_writer();
	test_json_parts();
	test_json_strings();
	test_json_malformed();
	return done();
}
