/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a key takes to its finished frame.  latency FILE: opens the recording, presses
 * keys in every view, goes to moments all over it, and prints a line for each: median, 99th
 * percentile and the longest, in milliseconds, how many, and the same three of CPU time; and how
 * long the first screen, all of the events, and the index of moments took.
 */
#include "config.h"

#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "ui/page.h"
#include "ui/ui.h"

#define ROWS 50
#define COLS 200
#define ROUNDS 12
#define MOMENTS 30

static struct ui *ui;
static struct canvas canvas;
static double *times, *cpu_times;
static size_t n_times, cap_times, cap_cpu_times;

static double since_ms(uint64_t begin_ns)
{
	return (double)(clock_now_ns() - begin_ns) / 1e6;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void note(uint64_t begin_ns, uint64_t begin_cpu_ns)
{
	ARRAY_GROW(times, cap_times, n_times);
	ARRAY_GROW(cpu_times, cap_cpu_times, n_times);
	cpu_times[n_times] = (double)(cpu_ns() - begin_cpu_ns) / 1e6;
	times[n_times++] = since_ms(begin_ns);
}

static void press(int key)
{
	struct input in = {.key = key};
	uint64_t begin = clock_now_ns(), begin_cpu = cpu_ns();
	int row, col;

	ui_input(ui, &in);
	ui_draw(ui, &canvas, &row, &col);
	note(begin, begin_cpu);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *name)
{
	qsort(times, n_times, sizeof(*times), compare);
	qsort(cpu_times, n_times, sizeof(*cpu_times), compare);
	printf("%s %.3f %.3f %.3f %zu %.3f %.3f %.3f\n", name, times[n_times / 2],
	       times[n_times * 99 / 100], times[n_times - 1], n_times, cpu_times[n_times / 2],
	       cpu_times[n_times * 99 / 100], cpu_times[n_times - 1]);
	n_times = 0;
}

/* There these lead to single blocks, of which there may be a million. */
static bool leads_to_blocks(int key)
{
	enum view_kind view = ui_page(ui)->view;

	return (key == INPUT_ENTER || key == INPUT_RIGHT) && !ui->prompt &&
	       (view == VIEW_SIZES || view == VIEW_THREADS);
}

static void press_all(const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!leads_to_blocks(list[i]))
			press(list[i]);
}

/* What one does in any view. */
static void look_around(void)
{
	static const int list[] = {
		INPUT_DOWN, INPUT_DOWN, INPUT_PAGE_DOWN, INPUT_UP, 'G', 'g', '>', '>', 'r', 'r', '<',
		'<', '/', 'a', 'l', INPUT_ENTER, 'n', 'N', '\\', 'm', 'a', INPUT_ENTER, INPUT_ESCAPE,
		INPUT_ENTER, INPUT_DOWN, 'q', INPUT_RIGHT, INPUT_RIGHT, INPUT_LEFT};

	press_all(list, COUNT_OF(list));
}

/* To moments all over the recording, until the screen shows them, in what is shown now. */
static void move_in_time(const char *name)
{
	uint64_t start = history_start_ns(ui->history), length, state = 42;
	int row, col;

	length = history_end_ns(ui->history) - start;
	n_times = 0;
	for (int i = 0; i < MOMENTS && length; i++) {
		uint64_t begin = clock_now_ns(), begin_cpu = cpu_ns();

		state = state * 6364136223846793005ull + 1442695040888963407ull;
		history_show(ui->history, 0, start + (state >> 20) % length);
		while (ui_read(ui, UINT64_MAX / 2))
			;
		ui_draw(ui, &canvas, &row, &col);
		note(begin, begin_cpu);
	}
	history_show_end(ui->history);
	if (n_times)
		report(name);
}

static int key_of(int view)
{
	return '0' + (view + 1) % 10;
}

int main(int argc, char **argv)
{
	struct ui_options o = {.path = argc > 1 ? argv[1] : ""};
	uint64_t begin = clock_now_ns();
	double longest = 0;
	struct err err;
	int row, col;

	setlocale(LC_CTYPE, "C.UTF-8");
	if (ui_new(&o, &ui, &err)) {
		fprintf(stderr, "latency: %s\n", err.what);
		return 1;
	}
	canvas_init(&canvas, ROWS, COLS, false);
	ui_draw(ui, &canvas, &row, &col);
	printf("first-screen %.3f\n", since_ms(begin));
	while (ui_read(ui, 8000000))
		;
	ui_draw(ui, &canvas, &row, &col);
	printf("all-read %.3f\n", since_ms(begin));
	for (int view = 0; view < ROOT_VIEWS; view++) {
		press(key_of(view)); /* the first time it is made */
		for (int i = 0; i < ROUNDS; i++) {
			press(key_of((view + 1) % ROOT_VIEWS));
			press(key_of(view));
			look_around();
			while (ui_page(ui)->view >= ROOT_VIEWS)
				press('q');
		}
		report(views[view].name);
	}
	begin = clock_now_ns();
	for (uint64_t slice = begin; ui_prepare(ui, 1000000); slice = clock_now_ns())
		if (since_ms(slice) > longest)
			longest = since_ms(slice);
	printf("prepared %.3f\n", since_ms(begin));
	printf("prepared-at-most-at-once %.3f\n", longest);
	for (int view = 0; view < ROOT_VIEWS; view++) {
		char name[32];

		snprintf(name, sizeof(name), "Time-%s", views[view].name);
		press(key_of(view));
		move_in_time(name);
	}
	ui_push(ui, VIEW_BLOCKS, NULL);
	move_in_time("Time-Blocks");
	canvas_release(&canvas);
	ui_free(ui);
	free(times);
	free(cpu_times);
	return 0;
}
