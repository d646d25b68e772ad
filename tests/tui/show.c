/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens the screen and shows styles, characters, and the inputs that come. */
#include "config.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "ui/screen.h"

static const char *const style_names[STYLES] = {
	"text",	 "dim",	  "strong", "accent",	"head",	  "head sort", "bad",
	"match", "key",	  "key text", "heat 0", "heat 1", "heat 2",    "heat 3",
};

static char inputs[8][40];
static unsigned int n_inputs;

static void draw(struct canvas *c)
{
	static const double values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 4, 0};
	int col = canvas_put(c, 0, 0, "heaptrail ─│▸▾●…↑↓├└▲▼· ", STYLE_STRONG);
	char size[40];

	col += canvas_put(c, 0, col, "漢字 é e\xcc\x81 ", STYLE_TEXT);
	snprintf(size, sizeof(size), "%dx%d", c->rows, c->cols);
	canvas_text(c, 0, col, c->cols - col, size, STYLE_DIM, ALIGN_RIGHT, CUT_END);
	for (int i = 0; i < STYLES; i++) {
		canvas_text(c, 1 + i, 0, 12, style_names[i], i, ALIGN_LEFT, CUT_END);
		canvas_text(c, 1 + i, 14, 12, style_names[i], i, ALIGN_LEFT, CUT_END);
		canvas_select(c, 1 + i, 14, 12);
	}
	canvas_bar(c, 1, 30, 8, 0.33, STYLE_ACCENT);
	canvas_curve(c, 2, 30, 6, 2, values, 8, STYLE_ACCENT);
	/* the newest at the bottom */
	for (unsigned int i = 0; i < COUNT_OF(inputs); i++)
		canvas_text(c, 5 + (int)i, 30, c->cols - 30,
			    inputs[(n_inputs + i) % COUNT_OF(inputs)], STYLE_TEXT, ALIGN_LEFT,
			    CUT_END);
	canvas_fill(c, c->rows - 1, 0, c->cols, "─", STYLE_DIM);
}

/* Each with its number, so that a test knows that it is new. */
static void note(const struct input *in)
{
	char name[16];

	snprintf(inputs[n_inputs % COUNT_OF(inputs)], sizeof(inputs[0]), "%u:%s%s %d,%d.",
		 n_inputs + 1, in->is_double ? "double-" : "", input_name(name, in->key), in->row,
		 in->col);
	n_inputs++;
}

__attribute__((noinline)) static int overflow(volatile char *p)
{
	volatile char room[4096];

	room[0] = *p;
	return *p ? 0 : overflow(room) + room[0];
}

static void *crash_here(void *what)
{
	*(volatile int *)what = 1;
	return NULL;
}

static void fork_one(void)
{
	pid_t child = fork();

	if (child == 0)
		raise(SIGTERM); /* must leave our terminal alone */
	waitpid(child, NULL, 0);
	child = fork();
	if (child == 0)
		exit(0);
	waitpid(child, NULL, 0);
}

/* What the capital letters do. */
static void act(int key)
{
	struct rlimit none = {0, 0}, little = {64 << 20, 64 << 20};
	pthread_t thread;
	char start = 0;

	setrlimit(RLIMIT_CORE, &none);
	if (key == 'A')
		abort();
	if (key == 'S')
		crash_here(NULL);
	if (key == 'T' && !pthread_create(&thread, NULL, crash_here, NULL))
		pthread_join(thread, NULL);
	if (key == 'O')
		overflow(&start);
	if (key == 'M') {
		setrlimit(RLIMIT_AS, &little);
		for (;;)
			xmalloc(1 << 20);
	}
	if (key == 'X')
		exit(3);
	if (key == 'F')
		fork_one();
	if (key == 'C')
		screen_cursor(2, 3);
	if (key == 'H')
		screen_cursor(-1, 0);
}

int main(int argc, char **argv)
{
	struct screen_options options = {
		.no_color = argc > 1 && !strcmp(argv[1], "--no-color"),
		.no_mouse = argc > 1 && !strcmp(argv[1], "--no-mouse"),
	};
	int wait_ms = argc > 2 ? (int)strtol(argv[2], NULL, 10) : -1, also = -1, rows, cols;
	struct canvas canvas;
	struct input in;
	struct err err;

	setlocale(LC_CTYPE, "");
	if (argc > 3)
		also = (int)strtol(argv[3], NULL, 10);
	if (screen_open(&options, &err)) {
		fprintf(stderr, "show: %s\nhint: %s\n", err.what, err.hint);
		return (int)err.class;
	}
	screen_size(&rows, &cols);
	canvas_init(&canvas, rows, cols, screen_is_ascii());
	do {
		char bytes[16];

		canvas_clear(&canvas);
		draw(&canvas);
		screen_show(&canvas);
		in = screen_input(wait_ms, also);
		if (in.key == INPUT_NONE && also >= 0 && read(also, bytes, sizeof(bytes)) <= 0)
			also = -1;
		note(&in);
		if (in.key == INPUT_RESIZE)
			canvas_resize(&canvas, in.row, in.col);
		act(in.key);
	} while (in.key != 'q' && in.key != INPUT_EOF);
	canvas_release(&canvas);
	screen_close();
	return in.key == 'q' ? 0 : 5;
}
