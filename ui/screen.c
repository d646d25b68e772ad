/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/screen.h"

#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "ui/glyph.h"
#include "ui/keyboard.h"
#include "ui/restore.h"
/* last: its capabilities are macros with names such as "columns" */
#include <term.h>

/* ---- how styles look ---------------------------------------------------------------- */

struct look {
	short fg, bg; /* -1: the terminal's own */
	attr_t attributes;
};

/*
 * Where the background is the terminal's, the colour is read on black as well as on white
 * (the greys and hues here have a contrast of about 4 or more with both); where it is ours,
 * so is the foreground.  The line of the cursor is white on a deep blue: reversed, it would
 * take each word's colour for its background, and a grey that suits dark terminals hides
 * the dark text of light ones.  That blue has a contrast of 6 with white.
 */
#define CURSOR_BG 24
#define ON_CURSOR(foreground, attributes) {foreground, CURSOR_BG, attributes}

static const struct theme {
	struct look rich, rich_cursor; /* of 256 colours */
	struct look poor, poor_cursor; /* of the first 8 */
	attr_t plain, plain_cursor;    /* of none */
} themes[STYLES] = {
	[STYLE_TEXT] = {{-1, -1, 0}, ON_CURSOR(231, 0),
			{-1, -1, 0}, {COLOR_BLACK, COLOR_CYAN, 0},
			0, A_REVERSE},
	[STYLE_DIM] = {{243, -1, 0}, ON_CURSOR(153, 0),
		       {-1, -1, A_DIM}, {COLOR_BLACK, COLOR_CYAN, 0},
		       A_DIM, A_REVERSE},
	[STYLE_STRONG] = {{-1, -1, A_BOLD}, ON_CURSOR(231, A_BOLD),
			  {-1, -1, A_BOLD}, {COLOR_WHITE, COLOR_BLUE, A_BOLD},
			  A_BOLD, A_REVERSE | A_BOLD},
	[STYLE_ACCENT] = {{32, -1, 0}, ON_CURSOR(117, 0),
			  {COLOR_CYAN, -1, 0}, {COLOR_BLUE, COLOR_CYAN, 0},
			  A_BOLD, A_REVERSE | A_BOLD},
	[STYLE_HEAD] = {{243, -1, A_UNDERLINE}, ON_CURSOR(153, A_UNDERLINE),
			{-1, -1, A_UNDERLINE}, {COLOR_BLACK, COLOR_CYAN, A_UNDERLINE},
			A_UNDERLINE, A_REVERSE | A_UNDERLINE},
	[STYLE_HEAD_SORT] = {{32, -1, A_BOLD | A_UNDERLINE}, ON_CURSOR(117, A_BOLD | A_UNDERLINE),
			     {COLOR_CYAN, -1, A_BOLD | A_UNDERLINE},
			     {COLOR_BLUE, COLOR_CYAN, A_UNDERLINE},
			     A_BOLD | A_UNDERLINE, A_REVERSE | A_BOLD | A_UNDERLINE},
	[STYLE_BAD] = {{196, -1, A_BOLD}, ON_CURSOR(217, A_BOLD),
		       {COLOR_RED, -1, A_BOLD}, {COLOR_RED, COLOR_CYAN, 0},
		       A_BOLD, A_REVERSE | A_BOLD},
	[STYLE_MATCH] = {{16, 220, 0}, {16, 220, A_BOLD},
			 {COLOR_BLACK, COLOR_YELLOW, 0}, {COLOR_BLACK, COLOR_YELLOW, A_UNDERLINE},
			 A_REVERSE, A_BOLD | A_UNDERLINE},
	[STYLE_KEY] = {{-1, -1, A_BOLD}, ON_CURSOR(231, A_BOLD),
		       {-1, -1, A_BOLD}, {COLOR_BLACK, COLOR_CYAN, 0},
		       A_BOLD, A_REVERSE | A_BOLD},
	[STYLE_KEY_TEXT] = {{16, 110, 0}, ON_CURSOR(231, 0),
			    {COLOR_BLACK, COLOR_CYAN, 0}, {COLOR_BLACK, COLOR_CYAN, A_UNDERLINE},
			    A_REVERSE, A_REVERSE | A_UNDERLINE},
	[STYLE_HEAT_0] = {{16, 223, 0}, ON_CURSOR(231, 0),
			  {COLOR_BLACK, COLOR_WHITE, 0}, {COLOR_BLACK, COLOR_CYAN, 0},
			  A_UNDERLINE, A_REVERSE | A_UNDERLINE},
	[STYLE_HEAT_1] = {{16, 216, 0}, ON_CURSOR(231, 0),
			  {COLOR_BLACK, COLOR_YELLOW, 0}, {COLOR_BLACK, COLOR_CYAN, 0},
			  A_BOLD | A_UNDERLINE, A_REVERSE | A_UNDERLINE},
	[STYLE_HEAT_2] = {{16, 209, 0}, ON_CURSOR(231, 0),
			  {COLOR_WHITE, COLOR_RED, 0}, {COLOR_BLACK, COLOR_CYAN, 0},
			  A_REVERSE, A_BOLD | A_UNDERLINE},
	[STYLE_HEAT_3] = {{16, 166, 0}, ON_CURSOR(231, 0),
			  {COLOR_WHITE, COLOR_RED, A_BOLD}, {COLOR_BLACK, COLOR_CYAN, 0},
			  A_REVERSE | A_BOLD, A_BOLD | A_UNDERLINE},
};

/* What of the table this terminal gets; [style][selected]. */
static struct {
	attr_t attributes;
	short pair;
} looks[STYLES][2];

static void set_look(int style, bool selected, struct look look, bool has_default)
{
	short pair = (short)(1 + 2 * style + selected);

	if (!has_default && look.fg < 0)
		look.fg = COLOR_WHITE;
	if (!has_default && look.bg < 0)
		look.bg = COLOR_BLACK;
	init_pair(pair, look.fg, look.bg);
	looks[style][selected].pair = pair;
	looks[style][selected].attributes = look.attributes;
}

static void choose_looks(bool no_color)
{
	const char *wish = getenv("NO_COLOR"); /* https://no-color.org: if not empty */
	bool has_colors_here = !no_color && !(wish && *wish) && has_colors() &&
			       start_color() == OK && COLORS >= 8 && COLOR_PAIRS > 2 * STYLES;
	bool has_default = has_colors_here && use_default_colors() == OK;

	for (int i = 0; i < STYLES; i++) {
		const struct theme *t = &themes[i];
		bool is_rich = COLORS >= 256;

		if (has_colors_here) {
			set_look(i, false, is_rich ? t->rich : t->poor, has_default);
			set_look(i, true, is_rich ? t->rich_cursor : t->poor_cursor, has_default);
			continue;
		}
		looks[i][false].pair = looks[i][true].pair = 0;
		looks[i][false].attributes = t->plain;
		looks[i][true].attributes = t->plain_cursor;
	}
}

/* ---- open and close ----------------------------------------------------------------- */

static SCREEN *terminal;
static struct canvas shown; /* what curses has got */
static int cursor_row = -1, cursor_col;

/* Adds @what of the terminal's description, without the pauses in it; up to @size bytes. */
static unsigned int append(char *buf, unsigned int len, unsigned int size, const char *what)
{
	while (what && what != (const char *)-1 && *what && len < size) {
		const char *end = what[0] == '$' && what[1] == '<' ? strchr(what, '>') : NULL;

		if (end)
			what = end + 1;
		else
			buf[len++] = *what++;
	}
	return len;
}

/* All that endwin() would send, for who may not call it. */
static void tell_restore(bool has_mouse)
{
	char name[][6] = {"rmcup", "cup", "sgr0", "op", "rmkx", "cnorm", "XM", "kmous"};
	enum { RMCUP, CUP, SGR0, OP, RMKX, CNORM, XM, KMOUS, NAMES };
	const char *has[NAMES];
	char buf[256];
	unsigned int len = 0;

	for (int i = 0; i < NAMES; i++) {
		has[i] = tigetstr(name[i]);
		if (has[i] == (const char *)-1)
			has[i] = NULL;
	}
	if (has_mouse && has[KMOUS])
		len = append(buf, len, sizeof(buf),
			     has[XM] ? tiparm(has[XM], 0) : "\033[?1006l\033[?1000l");
	if (!has[RMCUP]) /* below what is there; all terminals stop at the last line */
		len = append(buf, len, sizeof(buf), tiparm(has[CUP], 998, 0));
	len = append(buf, len, sizeof(buf), has[SGR0]);
	len = append(buf, len, sizeof(buf), has[OP]);
	len = append(buf, len, sizeof(buf), has[RMKX]);
	len = append(buf, len, sizeof(buf), has[RMCUP] ? has[RMCUP] : "\r\n");
	len = append(buf, len, sizeof(buf), has[CNORM]);
	restore_with(buf, len, !has[RMCUP]);
}

int screen_check(struct err *err)
{
	const char *name = getenv("TERM"), *cup;
	int found;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		err_set(err, ERR_USAGE, 0, "cannot open the screen: standard %s is no terminal",
			isatty(STDIN_FILENO) ? "output" : "input");
		err_hint(err, "run it in a terminal");
		return -1;
	}
	if (!name || !*name) {
		err_set(err, ERR_USAGE, 0, "cannot open the screen: TERM is not set");
		err_hint(err, "set it to the terminal's name, as in TERM=xterm-256color");
		return -1;
	}
	if (setupterm(NULL, STDOUT_FILENO, &found) != OK) {
		err_set(err, ERR_FAILED, 0,
			"cannot open the screen: the terminal '%s' is not known", name);
		err_hint(err, "install what describes it (ncurses-term), or try TERM=xterm");
		return -1;
	}
	cup = tigetstr("cup");
	del_curterm(cur_term);
	if (!cup || cup == (const char *)-1) {
		err_set(err, ERR_FAILED, 0,
			"cannot open the screen: the terminal '%s' cannot place its cursor", name);
		err_hint(err, "set TERM to what the terminal is, as in TERM=xterm");
		return -1;
	}
	return 0;
}

int screen_open(const struct screen_options *o, struct err *err)
{
	static bool has_exit;

	if (screen_check(err))
		return -1;
	fflush(stdout);
	/* before curses, which sets handlers only where there are none */
	restore_begin();
	use_tioctl(TRUE); /* LINES and COLUMNS may be those of another terminal */
	set_escdelay(25);
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		err_set(err, ERR_FAILED, 0,
			"cannot open the screen: curses cannot use the terminal");
		return -1;
	}
	tell_restore(!o->no_mouse);
	if (!has_exit)
		atexit(screen_close);
	has_exit = true;
	raw(); /* Ctrl-C and Ctrl-Z are keys */
	noecho();
	nonl();
	choose_looks(o->no_color);
	curs_set(0);
	cursor_row = -1;
	canvas_init(&shown, 0, 0, false);
	keyboard_open(!o->no_mouse);
	return 0;
}

void screen_close(void)
{
	if (!terminal || !restore_is_ours())
		return;
	keyboard_close();
	endwin();
	restore_end();
	xalloc_set_hook(NULL);
	delscreen(terminal);
	terminal = NULL;
	canvas_release(&shown);
}

void screen_size(int *ret_rows, int *ret_cols)
{
	getmaxyx(stdscr, *ret_rows, *ret_cols);
}

bool screen_is_ascii(void)
{
	/* they show bytes, or have fonts of a few hundred characters: no braille, no eighths */
	static const char *const few[] = {"linux", "vt", "ansi", "cons25", "dumb", "cygwin"};
	const char *name = getenv("TERM");

	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		return true;
	for (size_t i = 0; name && i < COUNT_OF(few); i++)
		if (!strncmp(name, few[i], strlen(few[i])) && strcmp(name, "vte") != 0 &&
		    strncmp(name, "vte-", 4) != 0)
			return true;
	return false;
}

/* ---- show --------------------------------------------------------------------------- */

static void show_cell(int row, int col, const struct cell *cell, bool is_cut)
{
	wchar_t text[CCHARW_MAX + 1];
	const char *at = is_cut ? " " : cell->text;
	int n = 0, length;
	cchar_t ch;

	while (*at && n < CCHARW_MAX) {
		int32_t c = glyph_decode(at, &length);

		text[n++] = c < 0 ? L'?' : (wchar_t)c;
		at += length;
	}
	text[n] = L'\0';
	setcchar(&ch, text, looks[cell->style][cell->selected].attributes,
		 looks[cell->style][cell->selected].pair, NULL);
	mvadd_wch(row, col, &ch); /* the last cell of all says ERR: the cursor cannot go on */
}

static void show_row(int row, const struct cell *cells, int n, int cols)
{
	for (int i = 0; i < n && i < cols; i++)
		if (cells[i].text[0])
			show_cell(row, i, &cells[i],
				  i + 1 == cols && i + 1 < n && !cells[i + 1].text[0]);
}

static void place_cursor(void)
{
	if (cursor_row >= 0)
		move(cursor_row, cursor_col);
}

void screen_show(const struct canvas *c)
{
	static int last_rows, last_cols;
	int rows, cols;

	screen_size(&rows, &cols);
	if (shown.rows != c->rows || shown.cols != c->cols || rows != last_rows ||
	    cols != last_cols) {
		canvas_resize(&shown, c->rows, c->cols);
		clear(); /* what the terminal made of the old screen is not known */
		last_rows = rows;
		last_cols = cols;
	}
	for (int row = 0; row < c->rows && row < rows; row++) {
		size_t at = (size_t)row * (size_t)c->cols;
		size_t bytes = (size_t)c->cols * sizeof(*c->cells);

		if (!memcmp(shown.cells + at, c->cells + at, bytes))
			continue;
		show_row(row, c->cells + at, c->cols, cols);
		memcpy(shown.cells + at, c->cells + at, bytes);
	}
	place_cursor();
	refresh();
}

void screen_cursor(int row, int col)
{
	if ((row < 0) != (cursor_row < 0))
		curs_set(row < 0 ? 0 : 1);
	cursor_row = row;
	cursor_col = col;
	place_cursor();
	refresh();
}
