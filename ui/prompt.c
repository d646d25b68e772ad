/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xalloc.h"

/* The line at the bottom in which one types. */

const char *prompt_label(enum prompt_kind kind)
{
	static const char *const labels[] = {
		[PROMPT_NONE] = "", [PROMPT_SEARCH] = "Search: ", [PROMPT_FILTER] = "Filter: ",
		[PROMPT_EXPORT] = "Export to: ", [PROMPT_SAVE] = "Save as: "};

	return labels[kind];
}

void prompt_begin(struct ui *u, enum prompt_kind kind, const char *text)
{
	const struct table_state *s = &ui_page(u)->state;

	u->prompt = kind;
	snprintf(u->text, sizeof(u->text), "%s", text);
	snprintf(u->before, sizeof(u->before), "%s",
		 kind == PROMPT_FILTER ? s->filter : s->search);
}

/* As one types: the filter filters, the search goes to the first from here. */
static void preview(struct ui *u)
{
	struct page *p = ui_page(u);
	int max = TABLE_TEXT_MAX - 1;

	if (u->prompt == PROMPT_FILTER) {
		snprintf(p->state.filter, sizeof(p->state.filter), "%.*s", max, u->text);
		table_arrange(&p->table, &p->state);
	} else if (u->prompt == PROMPT_SEARCH) {
		snprintf(p->state.search, sizeof(p->state.search), "%.*s", max, u->text);
		if (p->view != VIEW_FLAME)
			table_search(&p->table, &p->state, false, true);
	}
}

/* Never over a file that is there. */
static int write_new(const char *path, const char *text)
{
	size_t len = strlen(text), done = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666), r = 0;

	if (fd < 0)
		return -errno;
	while (done < len && !r) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0)
			r = -errno;
		else
			done += (size_t)n;
	}
	if (close(fd) && !r)
		r = -errno;
	if (r)
		unlink(path);
	return r;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

static char *screen_text(struct ui *u)
{
	struct canvas c;
	int row, col;
	char *text;

	canvas_init(&c, u->rows, u->cols, u->options.ascii);
	ui_draw(u, &c, &row, &col);
	text = canvas_dump(&c);
	canvas_release(&c);
	return text;
}

static void export(struct ui *u)
{
	struct page *p = ui_page(u);
	char *text = ends_with(u->text, ".csv") ? table_csv(&p->table, &p->state) : screen_text(u);
	int r = write_new(u->text, text);

	if (r)
		ui_say(u, true, "cannot write '%s': %s", u->text, strerror(-r));
	else
		ui_say(u, false, "written to '%s'", u->text);
	free(text);
}

static void finish(struct ui *u)
{
	enum prompt_kind kind = u->prompt;
	struct page *p = ui_page(u);
	const char *said = NULL;

	u->prompt = PROMPT_NONE;
	switch (kind) {
	case PROMPT_SEARCH:
		if (p->state.search[0] &&
		    (p->view == VIEW_FLAME ? !flame_search(u, p, false)
					   : !table_search(&p->table, &p->state, false, true)))
			ui_say(u, true, "'%s' is not there", p->state.search);
		break;
	case PROMPT_EXPORT:
		if (u->text[0])
			export(u);
		break;
	case PROMPT_SAVE:
		if (u->text[0] && u->options.command)
			said = u->options.command(u->options.arg, UI_SAVE, u->text);
		if (said)
			ui_say(u, false, "%s", said);
		break;
	case PROMPT_FILTER:
	case PROMPT_NONE:
		break;
	}
}

static void give_up(struct ui *u)
{
	snprintf(u->text, sizeof(u->text), "%s", u->before);
	preview(u);
	u->prompt = PROMPT_NONE;
}

/* The last character goes, all of its bytes. */
static void erase(struct ui *u)
{
	size_t n = strlen(u->text);

	while (n && (u->text[n - 1] & 0xc0) == 0x80)
		n--;
	if (n)
		n--;
	u->text[n] = '\0';
}

static void append(struct ui *u, int c)
{
	char text[5] = "";
	size_t room = sizeof(u->text) - strlen(u->text) - 1;

	if (c < 0x80) {
		text[0] = (char)c;
	} else if (c < 0x800) {
		text[0] = (char)(0xc0 | c >> 6);
		text[1] = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		text[0] = (char)(0xe0 | c >> 12);
		text[1] = (char)(0x80 | (c >> 6 & 63));
		text[2] = (char)(0x80 | (c & 63));
	} else {
		text[0] = (char)(0xf0 | c >> 18);
		text[1] = (char)(0x80 | (c >> 12 & 63));
		text[2] = (char)(0x80 | (c >> 6 & 63));
		text[3] = (char)(0x80 | (c & 63));
	}
	if (strlen(text) <= room)
		strncat(u->text, text, room);
}

void prompt_input(struct ui *u, const struct input *in)
{
	switch (in->key) {
	case INPUT_ENTER:
		finish(u);
		return;
	case INPUT_ESCAPE:
	case 3: /* Ctrl-C */
		give_up(u);
		return;
	case INPUT_BACKSPACE:
	case INPUT_DELETE:
		erase(u);
		break;
	case 21: /* Ctrl-U */
		u->text[0] = '\0';
		break;
	default:
		if (in->key < ' ' || in->key == 127 || in->key >= INPUT_NONE)
			return;
		append(u, in->key);
		break;
	}
	preview(u);
}
