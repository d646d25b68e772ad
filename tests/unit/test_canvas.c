/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is drawn on a canvas, as text. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"
#include "ui/canvas.h"

static struct canvas canvas;

static void begin(int rows, int cols, bool ascii)
{
	canvas_release(&canvas);
	canvas_init(&canvas, rows, cols, ascii);
}

/* Each cell has one character, and halves of wide ones are together. */
static bool is_whole(void)
{
	for (int i = 0; i < canvas.rows * canvas.cols; i++) {
		const struct cell *cell = &canvas.cells[i];
		bool is_last = i % canvas.cols == canvas.cols - 1;
		int columns = is_last || cell[1].text[0] ? 1 : 2;

		if (!memchr(cell->text, '\0', CELL_BYTES) || cell->style >= STYLES)
			return false;
		if (!cell->text[0] && (i % canvas.cols == 0 || !cell[-1].text[0] ||
				       cell[-1].style != cell->style ||
				       cell[-1].selected != cell->selected))
			return false;
		if (cell->text[0] && canvas_columns(cell->text) != columns)
			return false;
	}
	return true;
}

__attribute__((format(printf, 2, 3))) static void is(const char *wanted, const char *fmt, ...)
{
	char *got = canvas_dump(&canvas), name[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (!ok(!strcmp(got, wanted) && is_whole(), "%s", name))
		diag("'%s', not '%s'%s", got, wanted, is_whole() ? "" : "; halves");
	free(got);
}

static void styles_are(const char *wanted, const char *name)
{
	char *got = canvas_dump_styles(&canvas);

	if (!ok(!strcmp(got, wanted) && is_whole(), "%s", name))
		diag("'%s', not '%s'", got, wanted);
	free(got);
}

/* ---- text --------------------------------------------------------------------------- */

static void test_text(void)
{
	static const struct {
		const char *text;
		int width;
		enum align align;
		enum cut cut;
		const char *wanted, *ascii; /* between "[" and "]" */
	} cases[] = {
		{"main", 6, ALIGN_LEFT, CUT_END, "[main  ]", NULL},
		{"main", 6, ALIGN_RIGHT, CUT_END, "[  main]", NULL},
		{"main", 4, ALIGN_LEFT, CUT_END, "[main]", NULL},
		{"main", 3, ALIGN_LEFT, CUT_END, "[ma…]", "[ma~]"},
		{"main", 3, ALIGN_LEFT, CUT_START, "[…in]", "[~in]"},
		{"main", 3, ALIGN_LEFT, CUT_MIDDLE, "[m…n]", "[m~n]"},
		{"abcdefgh", 6, ALIGN_LEFT, CUT_MIDDLE, "[abc…gh]", "[abc~gh]"},
		{"main", 1, ALIGN_LEFT, CUT_MIDDLE, "[…]", "[~]"},
		{"main", 2, ALIGN_LEFT, CUT_MIDDLE, "[m…]", "[m~]"},
		{"main", 1, ALIGN_LEFT, CUT_START, "[…]", "[~]"},
		{"", 3, ALIGN_LEFT, CUT_END, "[   ]", NULL},
		{"漢字", 5, ALIGN_LEFT, CUT_END, "[漢字 ]", "[???? ]"},
		{"漢字", 5, ALIGN_RIGHT, CUT_END, "[ 漢字]", "[ ????]"},
		{"漢字", 4, ALIGN_LEFT, CUT_END, "[漢字]", "[????]"},
		{"漢字", 3, ALIGN_LEFT, CUT_END, "[漢…]", "[??~]"},
		{"漢字漢", 4, ALIGN_LEFT, CUT_END, "[漢… ]", "[??~ ]"},
		{"漢字漢", 4, ALIGN_RIGHT, CUT_END, "[ 漢…]", "[ ??~]"},
		{"漢字漢", 4, ALIGN_LEFT, CUT_START, "[…漢 ]", "[~?? ]"},
		{"漢字漢", 4, ALIGN_LEFT, CUT_MIDDLE, "[漢… ]", "[??~ ]"},
		{"漢字漢", 5, ALIGN_LEFT, CUT_MIDDLE, "[漢…漢]", "[??~??]"},
		{"漢字", 2, ALIGN_LEFT, CUT_END, "[… ]", "[~ ]"},
		{"😀x", 3, ALIGN_LEFT, CUT_END, "[😀x]", "[??x]"},
		{"e\u0301x", 3, ALIGN_LEFT, CUT_END, "[e\u0301x ]", "[ex ]"},
		{"漢\u0301x", 3, ALIGN_LEFT, CUT_END, "[漢\u0301x]", "[??x]"},
		{"\u0301x", 3, ALIGN_LEFT, CUT_END, "[?x ]", NULL},
		{"a\033[31mb", 8, ALIGN_LEFT, CUT_END, "[a?[31mb ]", NULL},
		{"a\tb\nc\x7f", 6, ALIGN_LEFT, CUT_END, "[a b?c?]", NULL},
		{"a\xc2\x85" "b\u202eg\u2066", 6, ALIGN_LEFT, CUT_END, "[a?b?g?]", NULL},
		{"a\u2028b\u2029", 4, ALIGN_LEFT, CUT_END, "[a?b?]", NULL},
		{"\xff" "a\xc3", 3, ALIGN_LEFT, CUT_END, "[?a?]", NULL},
		{"\xed\xa0\x80", 3, ALIGN_LEFT, CUT_END, "[???]", NULL}, /* a surrogate */
		{"\u0378", 2, ALIGN_LEFT, CUT_END, "[? ]", NULL}, /* no character yet */
		{"a\u200d\ufe0f\u00ad" "b\ufeff", 3, ALIGN_LEFT, CUT_END, "[ab ]", NULL},
		{"\u200e", 2, ALIGN_LEFT, CUT_END, "[  ]", NULL},
		{"─│▸▾●…↑↓├└▲▼·█▌", 15, ALIGN_LEFT, CUT_END, "[─│▸▾●…↑↓├└▲▼·█▌]",
		 "[-|+-*~^v|`^v.##]"},
		{"é µ ⣿ €", 7, ALIGN_LEFT, CUT_END, "[é µ ⣿ €]", "[? u : ?]"},
	};

	for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
		const char *wanted = cases[i / 2].wanted;
		char line[128];

		begin(1, 24, i & 1);
		if (canvas.ascii && cases[i / 2].ascii)
			wanted = cases[i / 2].ascii;
		canvas_put(&canvas, 0, 0, "[", STYLE_TEXT);
		canvas_put(&canvas, 0, 1 + cases[i / 2].width, "]", STYLE_TEXT);
		canvas_text(&canvas, 0, 1, cases[i / 2].width, cases[i / 2].text, STYLE_DIM,
			    cases[i / 2].align, cases[i / 2].cut);
		snprintf(line, sizeof(line), "%s\n", wanted);
		is(line, "text %zu%s: %s", i / 2, canvas.ascii ? " in ASCII" : "", wanted);
	}
}

static void test_marks(void)
{
	char text[64] = "a";

	for (int i = 0; i < 20; i++)
		memcpy(text + 1 + 2 * i, "\u0301", 3);
	begin(1, 4, false);
	ok(canvas_put(&canvas, 0, 0, text, STYLE_TEXT) == 1 &&
		   strlen(canvas.cells[0].text) == 23 && !strcmp(canvas.cells[1].text, " "),
	   "marks for which there is no room");
	ok(canvas_columns("漢e\u0301\n\xff") == 5 && canvas_columns("") == 0, "columns");
}

static void test_outside(void)
{
	begin(2, 6, false);
	canvas_text(&canvas, -1, 0, 6, "above", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(&canvas, 2, 0, 6, "below", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(&canvas, 0, 6, 6, "right", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(&canvas, 0, -6, 6, "left", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(&canvas, 0, 0, 0, "none", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(&canvas, 0, 0, -3, "none", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_fill(&canvas, 5, 0, 6, "x", STYLE_TEXT);
	canvas_fill(&canvas, 0, 0, 6, "", STYLE_TEXT);
	canvas_fill(&canvas, 0, 0, 6, "\u200b", STYLE_TEXT);
	canvas_set_style(&canvas, 0, 9, 6, STYLE_BAD);
	canvas_select(&canvas, -1, 0, 6);
	is("\n\n", "what is outside");
	canvas_text(&canvas, 0, -2, 6, "abcdef", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(&canvas, 1, 4, 6, "abcdef", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	is("cdef\n    ab\n", "what is half outside");
	begin(2, 4, false);
	canvas_put(&canvas, 0, -1, "漢x", STYLE_TEXT);
	canvas_put(&canvas, 1, 3, "漢", STYLE_TEXT);
	is(" x\n\n", "halves of wide characters");
	ok(canvas_put(&canvas, 0, 1, "abcdef", STYLE_TEXT) == 3 &&
		   canvas_put(&canvas, 0, 1, "漢字", STYLE_TEXT) == 3 &&
		   canvas_put(&canvas, 9, 1, "ab", STYLE_TEXT) == 2 &&
		   canvas_put(&canvas, 0, 4, "ab", STYLE_TEXT) == 0 &&
		   canvas_put(&canvas, 0, 7, "ab", STYLE_TEXT) == 0 &&
		   canvas_put(&canvas, 0, -1, "ab", STYLE_TEXT) == 2,
	   "columns that were put");
	begin(0, 0, false);
	canvas_text(&canvas, 0, 0, 6, "none", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	is("", "no canvas at all");
	begin(-1, -1, false);
	canvas_fill(&canvas, 0, 0, 6, "x", STYLE_TEXT);
	is("", "less than none");
}

static void test_halves(void)
{
	begin(1, 6, false);
	canvas_put(&canvas, 0, 0, "漢字漢", STYLE_ACCENT);
	canvas_put(&canvas, 0, 1, "x", STYLE_TEXT);
	is(" x字漢\n", "over the right half");
	canvas_put(&canvas, 0, 2, "y", STYLE_TEXT);
	is(" xy 漢\n", "over the left half");
	styles_are("a..aaa\n", "what is left keeps its style");
	canvas_put(&canvas, 0, 3, "漢", STYLE_TEXT);
	is(" xy漢\n", "a wide one over the half of another");
	canvas_text(&canvas, 0, 4, 1, "", STYLE_TEXT, ALIGN_LEFT, CUT_END);
	is(" xy\n", "a blank over a half");
	canvas_fill(&canvas, 0, 0, 5, "字", STYLE_TEXT);
	is("字字\n", "filled with wide ones");
	canvas_fill(&canvas, 0, 1, 3, "─", STYLE_TEXT);
	is(" ───\n", "filled over halves");
	canvas_bar(&canvas, 0, 0, 6, 1, STYLE_TEXT);
	canvas_put(&canvas, 0, 0, "漢漢漢", STYLE_TEXT);
	canvas_bar(&canvas, 0, 1, 4, 1, STYLE_TEXT);
	is(" ████\n", "a bar over halves");
}

/* ---- styles ------------------------------------------------------------------------- */

static void test_styles(void)
{
	begin(2, STYLES, false);
	for (int i = 0; i < STYLES; i++)
		canvas_put(&canvas, 0, i, "x", i);
	styles_are(".dsahobmkewxyz\n\n", "a letter for each");
	canvas_select(&canvas, 0, 0, STYLES);
	styles_are("TDSAHOBMKEWXYZ\n\n", "upper case where selected");
	canvas_put(&canvas, 0, 3, "y", STYLE_DIM);
	styles_are("TDSdHOBMKEWXYZ\n\n", "what is drawn later is not selected");
	canvas_clear(&canvas);
	styles_are("\n\n", "nothing of it is left");
	begin(1, 6, false);
	canvas_put(&canvas, 0, 0, "a漢字b", STYLE_TEXT);
	canvas_set_style(&canvas, 0, 2, 2, STYLE_BAD);
	styles_are("...bb\n", "halves have one style");
	canvas_select(&canvas, 0, 0, 2);
	styles_are("TTTbb\n", "halves are selected together");
	is("a漢字b\n", "the text is kept");
}

static void test_mark(void)
{
	begin(1, 20, false);
	canvas_put(&canvas, 0, 0, "Main mAIN ÉÈ 漢字 aa", STYLE_TEXT);
	canvas_mark(&canvas, 0, 0, 20, "main");
	styles_are("mmmm.mmmm\n", "whatever its case");
	canvas_mark(&canvas, 0, 0, 20, "é");
	styles_are("mmmm.mmmm.m\n", "of any letter");
	canvas_mark(&canvas, 0, 0, 20, "字 A");
	styles_are("mmmm.mmmm.m....mmmm\n", "wide ones");
	canvas_set_style(&canvas, 0, 0, 20, STYLE_TEXT);
	canvas_mark(&canvas, 0, 1, 6, "main");
	canvas_mark(&canvas, 0, 0, 20, "");
	canvas_mark(&canvas, 0, 0, 20, "\u200b");
	canvas_mark(&canvas, 0, 0, 20, "x");
	canvas_mark(&canvas, 4, 0, 20, "a");
	styles_are("\n", "neither outside of the place nor what is not there");
	canvas_mark(&canvas, 0, 18, 9, "a");
	canvas_mark(&canvas, 0, 18, 9, "a\u200b");
	styles_are("..................mm\n", "at the end");
	begin(1, 6, true);
	canvas_put(&canvas, 0, 0, "?a漢x", STYLE_TEXT);
	canvas_mark(&canvas, 0, 0, 6, "漢");
	styles_are("..mm\n", "wide ones in ASCII");
	begin(1, 6, false);
	canvas_put(&canvas, 0, 0, "aaaaa", STYLE_TEXT);
	canvas_mark(&canvas, 0, 0, 6, "aa");
	styles_are("mmmm\n", "one after another");
}

/* ---- bars and curves ---------------------------------------------------------------- */

static void test_bar(void)
{
	static const struct {
		double share;
		const char *wanted, *ascii;
	} cases[] = {
		{0, "|    |\n", "|    |\n"},
		{1, "|████|\n", "|####|\n"},
		{0.5, "|██  |\n", "|##  |\n"},
		{1 / 32.0, "|▏   |\n", "|#   |\n"},
		{1e-9, "|▏   |\n", "|#   |\n"},
		{7 / 32.0, "|▉   |\n", "|#   |\n"},
		{13 / 32.0, "|█▋  |\n", "|##  |\n"},
		{31 / 32.0, "|███▉|\n", "|####|\n"},
		{2, "|████|\n", "|####|\n"},
		{-1, "|    |\n", "|    |\n"},
		{NAN, "|    |\n", "|    |\n"},
		{INFINITY, "|████|\n", "|####|\n"},
	};

	for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
		begin(1, 6, i & 1);
		canvas_fill(&canvas, 0, 0, 6, "|", STYLE_TEXT);
		canvas_bar(&canvas, 0, 1, 4, cases[i / 2].share, STYLE_ACCENT);
		is(canvas.ascii ? cases[i / 2].ascii : cases[i / 2].wanted, "bar of %g",
		   cases[i / 2].share);
	}
	begin(1, 4, false);
	canvas_bar(&canvas, 0, -2, 8, 0.5, STYLE_ACCENT);
	canvas_bar(&canvas, 0, 0, 0, 1, STYLE_ACCENT);
	canvas_bar(&canvas, 0, 0, -1, 1, STYLE_ACCENT);
	is("██\n", "a bar that is partly outside");
}

static void test_curve(void)
{
	static const double rising[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	static const double odd[] = {1e-9, NAN, INFINITY, -1, 0, 0, 1, 0};

	begin(2, 6, false);
	canvas_curve(&canvas, 0, 0, 5, 2, rising, 8, STYLE_ACCENT);
	is("  ⢀⣴⣿\n⢀⣴⣿⣿⣿\n", "a curve");
	begin(2, 6, true);
	canvas_curve(&canvas, 0, 0, 5, 2, rising, 8, STYLE_ACCENT);
	is("  .:#\n.:###\n", "a curve in ASCII");
	begin(1, 6, false);
	canvas_curve(&canvas, 0, 0, 4, 1, odd, 1, STYLE_ACCENT);
	is("⡀⡇ ⡇\n", "little is a dot, what is no number nothing");
	styles_are("aaaa\n", "a curve's style");
	begin(1, 6, false);
	canvas_curve(&canvas, 0, 0, 4, 1, odd, 0, STYLE_ACCENT);
	is("⡀⡀ ⡀\n", "nothing is the most");
	begin(2, 2, false);
	canvas_curve(&canvas, 1, -1, 5, 2, rising, 8, STYLE_ACCENT);
	canvas_curve(&canvas, 0, 0, 0, 2, rising, 8, STYLE_ACCENT);
	canvas_curve(&canvas, 0, 0, 2, 0, rising, 8, STYLE_ACCENT);
	is("\n ⢀\n", "a curve that is partly outside");
}

/* ---- all of it ---------------------------------------------------------------------- */

/* Whatever is drawn wherever: characters stay whole. */
static void test_random(void)
{
	static const char *const pieces[] = {"a", "漢", "é", "e\u0301", "😀", "\xff", "\t", "─",
					     "\u200d", "\u0301", "\x80", "\033", "\u202e", "ff"};
	static const double values[64] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
	bool whole = true;

	begin(3, 9, false);
	for (int i = 0; i < 50000 && whole; i++) {
		int row = (int)random_below(5) - 1, col = (int)random_below(16) - 4;
		int width = (int)random_below(14) - 2;
		enum style style = (enum style)random_below(STYLES);
		char text[256];
		size_t len = 0;

		for (uint64_t n = random_below(10); n; n--)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
						pieces[random_below(COUNT_OF(pieces))]);
		text[len] = '\0';
		switch (random_below(9)) {
		case 0:
			canvas_put(&canvas, row, col, text, style);
			break;
		case 1:
			canvas_fill(&canvas, row, col, width, text, style);
			break;
		case 2:
			canvas_set_style(&canvas, row, col, width, style);
			break;
		case 3:
			canvas_select(&canvas, row, col, width);
			break;
		case 4:
			canvas_mark(&canvas, row, col, width, text);
			break;
		case 5:
			canvas_bar(&canvas, row, col, width, (double)width / 7, style);
			break;
		case 6:
			canvas_curve(&canvas, row, col, width, 2, values, 5, style);
			break;
		case 7:
			canvas.ascii = !canvas.ascii;
			break;
		default:
			canvas_text(&canvas, row, col, width, text, style,
				    (enum align)random_below(2), (enum cut)random_below(3));
		}
		whole = is_whole();
	}
	ok(whole, "whatever is drawn, characters are whole");
}

int main(void)
{
	seed_random();
	test_text();
	test_marks();
	test_outside();
	test_halves();
	test_styles();
	test_mark();
	test_bar();
	test_curve();
	test_random();
	canvas_release(&canvas);
	canvas_release(&canvas);
	canvas_release(NULL);
	return done();
}
