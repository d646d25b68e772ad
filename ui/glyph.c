/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/glyph.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "common/format.h"
#include "common/xalloc.h"

int32_t glyph_decode(const char *text, int *ret_length)
{
	static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	size_t n = utf8_length(text);
	int32_t ch;

	*ret_length = n ? (int)n : 1;
	if (!n)
		return -1;
	ch = (unsigned char)text[0] & masks[n];
	for (size_t i = 1; i < n; i++)
		ch = ch << 6 | (text[i] & 0x3f);
	return ch;
}

int glyph_encode(char *buf, uint32_t character)
{
	static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
	int n = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

	buf[0] = '\0';
	if (!character || character > 0x10ffff || (character >= 0xd800 && character < 0xe000))
		return 0;
	for (int i = n - 1; i > 0; i--, character >>= 6)
		buf[i] = (char)(0x80 | (character & 0x3f));
	buf[0] = (char)(first[n] | character);
	buf[n] = '\0';
	return n;
}

/* ---- what the C library knows ------------------------------------------------------- */

/*
 * A locale whose wide characters are Unicode's; the process's own may be "C".  0 where the
 * system has none: glibc's wchar_t is Unicode anyway, what is not ASCII is "?" then.
 */
static locale_t utf8_locale(void)
{
	static locale_t locale;
	static bool has_tried;

	if (!has_tried) {
		has_tried = true;
		locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
		if (!locale && !strcmp(nl_langinfo(CODESET), "UTF-8"))
			locale = duplocale(LC_GLOBAL_LOCALE);
	}
	return locale;
}

static int columns_of(int32_t ch)
{
	locale_t locale = utf8_locale(), old;
	int n;

	if (!locale)
		return -1;
	old = uselocale(locale);
	n = wcwidth((wchar_t)ch);
	uselocale(old);
	return n;
}

static int32_t lower(int32_t ch)
{
	locale_t locale;

	if (ch < 0x80)
		return ch >= 'A' && ch <= 'Z' ? ch + 'a' - 'A' : ch;
	locale = utf8_locale();
	return locale ? (int32_t)towlower_l((wint_t)ch, locale) : ch;
}

bool glyph_is_same(const char *a, const char *b)
{
	int a_length, b_length;

	while (*a && *b) {
		if (lower(glyph_decode(a, &a_length)) != lower(glyph_decode(b, &b_length)))
			return false;
		a += a_length;
		b += b_length;
	}
	return *a == *b;
}

/* ---- what is shown ------------------------------------------------------------------ */

/* As format_safe() has it: controls, and what turns the direction of text. */
static bool is_unsafe(int32_t ch)
{
	return ch < 0x20 || (ch >= 0x7f && ch < 0xa0) || (ch >= 0x202a && ch <= 0x202e) ||
	       (ch >= 0x2066 && ch <= 0x2069) || ch == 0x2028 || ch == 0x2029;
}

/*
 * Draws nothing, and changes how terminals that know it count columns: joiners, direction
 * marks, variation selectors, tags.
 */
static bool is_invisible(int32_t ch)
{
	return ch == 0xad || ch == 0x34f || ch == 0x61c || (ch >= 0x200b && ch <= 0x200f) ||
	       (ch >= 0x2060 && ch <= 0x2065) || (ch >= 0xfe00 && ch <= 0xfe0f) || ch == 0xfeff ||
	       (ch >= 0xe0000 && ch <= 0xe0fff);
}

/* What views draw with, and what stands for it in ASCII. */
static const struct {
	int32_t first, last;
	char ascii;
} fallbacks[] = {
	{0x00b5, 0x00b5, 'u'},	/* µ */
	{0x00b7, 0x00b7, '.'},	/* · */
	{0x00d7, 0x00d7, 'x'},	/* × */
	{0x2010, 0x2015, '-'},	/* dashes */
	{0x2018, 0x2019, '\''}, /* ‘’ */
	{0x201c, 0x201d, '"'},	/* “” */
	{0x2022, 0x2022, '*'},	/* • */
	{0x2026, 0x2026, '~'},	/* … */
	{0x2190, 0x2190, '<'},	/* ← */
	{0x2191, 0x2191, '^'},	/* ↑ */
	{0x2192, 0x2192, '>'},	/* → */
	{0x2193, 0x2193, 'v'},	/* ↓ */
	{0x2500, 0x2501, '-'},	/* ─━ */
	{0x2502, 0x2503, '|'},	/* │┃ */
	{0x250c, 0x2513, '+'},	/* ┌┐ */
	{0x2514, 0x2517, '`'},	/* └ */
	{0x2518, 0x251b, '+'},	/* ┘ */
	{0x251c, 0x2523, '|'},	/* ├ */
	{0x2524, 0x254b, '+'},	/* ┤┬┴┼ */
	{0x2580, 0x259f, '#'},	/* blocks */
	{0x25a0, 0x25a0, '#'},	/* ■ */
	{0x25b2, 0x25b2, '^'},	/* ▲ */
	{0x25b6, 0x25b6, '>'},	/* ▶ */
	{0x25b8, 0x25b8, '+'},	/* ▸ */
	{0x25bc, 0x25bc, 'v'},	/* ▼ */
	{0x25be, 0x25be, '-'},	/* ▾ */
	{0x25c0, 0x25c0, '<'},	/* ◀ */
	{0x25cb, 0x25cb, 'o'},	/* ○ */
	{0x25cf, 0x25cf, '*'},	/* ● */
	{0x2801, 0x28ff, ':'},	/* braille */
};

static char fallback(int32_t ch)
{
	for (size_t i = 0; i < COUNT_OF(fallbacks); i++)
		if (ch >= fallbacks[i].first && ch <= fallbacks[i].last)
			return fallbacks[i].ascii;
	return '?';
}

static void set_ascii(struct glyph *g, char ch)
{
	g->text[0] = ch;
	g->text[1] = '\0';
	g->columns = 1;
}

/* Adds the marks that follow as far as there is room; in ASCII, or on a "?", there are none. */
static const char *take_marks(const char *text, bool keeps, struct glyph *g)
{
	size_t used = strlen(g->text);
	int length;

	/* no mark is ASCII: the usual text does not get further */
	while ((unsigned char)*text >= 0x80) {
		int32_t ch = glyph_decode(text, &length);

		if (ch < 0 || is_unsafe(ch))
			break;
		if (!is_invisible(ch)) {
			if (columns_of(ch) != 0)
				break;
			if (keeps && used + (size_t)length < CELL_BYTES) {
				memcpy(g->text + used, text, (size_t)length);
				used += (size_t)length;
				g->text[used] = '\0';
			}
		}
		text += length;
	}
	return text;
}

const char *glyph_next(const char *text, bool ascii, struct glyph *ret)
{
	int length, columns;
	int32_t ch = glyph_decode(text, &length);
	char replacement;

	while (ch >= 0x80 && is_invisible(ch)) {
		text += length;
		ch = glyph_decode(text, &length);
	}
	ret->columns = 0;
	ret->text[0] = '\0';
	if (!ch)
		return text;
	if (ch >= 0x20 && ch < 0x7f) {
		set_ascii(ret, (char)ch);
		return take_marks(text + length, !ascii, ret);
	}
	replacement = fallback(ch);
	if (replacement != '?') /* known here, whatever the C library has */
		columns = 1;
	else
		columns = ch < 0 || is_unsafe(ch) ? -1 : columns_of(ch);
	/* a mark on nothing has no columns */
	if (columns < 1) {
		set_ascii(ret, ch == '\t' ? ' ' : '?');
		return take_marks(text + length, false, ret);
	}
	if (ascii) {
		set_ascii(ret, replacement);
	} else {
		memcpy(ret->text, text, (size_t)length);
		ret->text[length] = '\0';
	}
	ret->columns = columns;
	return take_marks(text + length, !ascii, ret);
}
