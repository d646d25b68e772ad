/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/input.h"

#include <stdio.h>
#include <string.h>

#include "common/xalloc.h"
#include "ui/glyph.h"

static const struct {
	const char *name;
	int key;
} names[] = {
	{"Up", INPUT_UP},
	{"Down", INPUT_DOWN},
	{"Left", INPUT_LEFT},
	{"Right", INPUT_RIGHT},
	{"PageUp", INPUT_PAGE_UP},
	{"PageDown", INPUT_PAGE_DOWN},
	{"Home", INPUT_HOME},
	{"End", INPUT_END},
	{"Enter", INPUT_ENTER},
	{"Escape", INPUT_ESCAPE},
	{"Tab", INPUT_TAB},
	{"BackTab", INPUT_BACK_TAB},
	{"Backspace", INPUT_BACKSPACE},
	{"Delete", INPUT_DELETE},
	{"F1", INPUT_F1},
	{"F2", INPUT_F2},
	{"F3", INPUT_F3},
	{"F4", INPUT_F4},
	{"F5", INPUT_F5},
	{"F6", INPUT_F6},
	{"F7", INPUT_F7},
	{"F8", INPUT_F8},
	{"F9", INPUT_F9},
	{"F10", INPUT_F10},
	{"wheel-up", INPUT_WHEEL_UP},
	{"wheel-down", INPUT_WHEEL_DOWN},
	{"Space", ' '},
};

/* What has a place or a size, and no name alone. */
static const struct {
	const char *name;
	int key;
	char between; /* the two numbers */
	int least;
	bool is_double;
} pairs[] = {
	{"click", INPUT_MOUSE, ',', 0, false},
	{"double", INPUT_MOUSE, ',', 0, true},
	{"resize", INPUT_RESIZE, 'x', 1, false},
};

#define REPEATS_MAX 1000000
#define PLACE_MAX 10000

const char *input_name(char *buf, int key)
{
	const char *name = "?";

	if (key > 0 && key <= 26) {
		snprintf(buf, 16, "^%c", 'A' + key - 1);
		return buf;
	}
	if (key > ' ' && key < INPUT_NONE && (key < 0x7f || key > 0x9f) &&
	    glyph_encode(buf, (uint32_t)key))
		return buf;
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (names[i].key == key)
			name = names[i].name;
	for (size_t i = 0; i < COUNT_OF(pairs); i++)
		if (pairs[i].key == key && !pairs[i].is_double)
			name = pairs[i].name;
	if (key == INPUT_NONE)
		name = "none";
	else if (key == INPUT_EOF)
		name = "EOF";
	snprintf(buf, 16, "%s", name);
	return buf;
}

/* ---- words -------------------------------------------------------------------------- */

static bool is_blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static size_t word_length(const char *word)
{
	size_t n = 0;

	while (word[n] && !is_blank(word[n]))
		n++;
	return n;
}

static bool is_word(const char *word, size_t len, const char *name)
{
	return strlen(name) == len && !memcmp(word, name, len);
}

/* A decimal number from @least to @most; *@at gets behind it. */
static bool number(const char **at, int least, int most, int *ret)
{
	const char *p = *at;
	int n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (*p - '0');
		if (n > most)
			return false;
	}
	if (p == *at || n < least)
		return false;
	*at = p;
	*ret = n;
	return true;
}

/* A character that is a key: no control. */
static bool character(const char *at, int *ret_length, int *ret_key)
{
	int32_t ch = glyph_decode(at, ret_length);

	*ret_key = ch;
	return ch >= ' ' && (ch < 0x7f || ch > 0x9f);
}

static bool parse_pair(const char *word, size_t len, struct input *ret)
{
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		size_t n = strlen(pairs[i].name);
		const char *at = word + n + 1;

		if (len <= n || memcmp(word, pairs[i].name, n) || word[n] != ':')
			continue;
		if (!number(&at, pairs[i].least, PLACE_MAX, &ret->row) ||
		    *at++ != pairs[i].between ||
		    !number(&at, pairs[i].least, PLACE_MAX, &ret->col) || at != word + len)
			return false;
		ret->key = pairs[i].key;
		ret->is_double = pairs[i].is_double;
		return true;
	}
	return false;
}

/* Any word but one in quotes. */
static bool parse_word(const char *word, struct input *ret)
{
	size_t len = word_length(word);
	int length;

	*ret = (struct input){0};
	if (*word != '\'' && character(word, &length, &ret->key) && (size_t)length == len)
		return true;
	if (len == 2 && word[0] == '^' && word[1] >= 'A' && word[1] <= 'Z') {
		ret->key = word[1] - 'A' + 1;
		return true;
	}
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (is_word(word, len, names[i].name)) {
			ret->key = names[i].key;
			return true;
		}
	}
	return parse_pair(word, len, ret);
}

/* ---- words in quotes ---------------------------------------------------------------- */

/*
 * The next character of a word in quotes, and *@at behind it; 0 at its end, with *@at
 * behind the quote; -1 where it is none.  In quotes two of them are one.
 */
static int spell(const char **at)
{
	int length, key;

	if (**at == '\'' && (*at)[1] != '\'') {
		++*at;
		return !**at || is_blank(**at) ? 0 : -1;
	}
	if (!character(*at, &length, &key))
		return -1;
	*at += **at == '\'' ? 2 : length;
	return key;
}

/* "''" is one quote, though no character is in it. */
static bool is_lone_quote(const char *word)
{
	return word[0] == '\'' && word[1] == '\'' && (!word[2] || is_blank(word[2]));
}

static bool is_quoted_word(const char *word)
{
	const char *at = word + 1;
	int key;

	if (is_lone_quote(word))
		return true;
	do
		key = spell(&at);
	while (key > 0);
	return key == 0;
}

/* ---- scripts ------------------------------------------------------------------------ */

void input_script_begin(struct input_script *s, const char *text)
{
	*s = (struct input_script){.at = text};
}

/* Finds the next word, and how often it is wanted.  False where it is none. */
static bool begin_word(struct input_script *s)
{
	const char *word = s->at;
	struct input ignored;
	int times;

	if (number(&word, 1, REPEATS_MAX, &times) && *word == '*' && word[1] &&
	    !is_blank(word[1])) {
		word++;
	} else {
		times = 1;
		word = s->at;
	}
	if (*word == '\'' ? !is_quoted_word(word) : !parse_word(word, &ignored))
		return false;
	s->word = word;
	s->left = (unsigned int)times;
	if (*word == '\'')
		s->at = word + 1;
	return true;
}

/* Once more from its beginning, or on with what is behind it. */
static void end_of_round(struct input_script *s, const char *again, const char *behind)
{
	if (--s->left) {
		s->at = again;
	} else {
		s->at = behind;
		s->word = NULL;
	}
}

bool input_script_next(struct input_script *s, struct input *ret)
{
	*ret = (struct input){0};
	if (!s->word) {
		while (is_blank(*s->at))
			s->at++;
		if (!*s->at) {
			ret->key = INPUT_EOF;
			return true;
		}
		if (!begin_word(s))
			return false;
	}
	if (*s->word != '\'') {
		parse_word(s->word, ret);
		end_of_round(s, s->at, s->word + word_length(s->word));
	} else if (is_lone_quote(s->word)) {
		ret->key = '\'';
		end_of_round(s, s->at, s->word + 2);
	} else {
		const char *peek;

		ret->key = spell(&s->at);
		peek = s->at;
		if (spell(&peek) == 0)
			end_of_round(s, s->word + 1, peek);
	}
	return true;
}
