/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xalloc.h"

/* So long at most a key waits for what is being read, and so often what grows is read … */
#define SLICE_NS 8000000
#define LIVE_NS 250000000ull
/* … at most: reading and drawing shall not take more than one part in so many of a CPU … */
#define LIVE_SHARE 25
/* … but nobody wants to wait longer. */
#define LIVE_NS_MAX 2000000000ull

/* After so much CPU time. */
static uint64_t rest_ns(uint64_t cpu_ns)
{
	uint64_t rest = cpu_ns * LIVE_SHARE;

	return rest < LIVE_NS ? LIVE_NS : rest > LIVE_NS_MAX ? LIVE_NS_MAX : rest;
}

int ui_run(struct ui *u, const struct screen_options *o, struct err *err)
{
	uint64_t next_read_ns = 0, next_show_ns = 0, rested_cpu_ns = clock_cpu_ns();
	struct canvas c;
	int row, col, r = screen_open(o, err);

	if (r)
		return r;
	screen_size(&row, &col);
	canvas_init(&c, row, col, ui_is_ascii(u) || screen_is_ascii());
	while (!ui_is_over(u)) {
		uint64_t now = clock_now_ns();
		bool more = false;
		struct input in;
		int wait = -1;

		if (now >= next_read_ns) {
			more = ui_read(u, SLICE_NS);
			now = clock_now_ns();
			next_read_ns = more || ui_is_live(u) ? 0 : UINT64_MAX;
		}
		/* while it reads, the numbers need not run */
		if (ui_is_changed(u) && (!more || now >= next_show_ns)) {
			ui_draw(u, &c, &row, &col);
			screen_show(&c);
			screen_cursor(row, col);
			next_show_ns = clock_now_ns() + LIVE_NS;
		}
		if (!more && !next_read_ns) {
			next_read_ns = now + rest_ns(clock_cpu_ns() - rested_cpu_ns);
			rested_cpu_ns = clock_cpu_ns();
		}
		if (more)
			wait = 0;
		else if (next_read_ns != UINT64_MAX)
			wait = next_read_ns > now ? (int)((next_read_ns - now) / 1000000) + 1 : 0;
		in = screen_input(wait, -1);
		if (in.key == INPUT_NONE)
			continue;
		if (in.key == INPUT_RESIZE)
			canvas_resize(&c, in.row, in.col);
		ui_input(u, &in);
		next_show_ns = next_read_ns = 0;
	}
	screen_close();
	canvas_release(&c);
	return 0;
}

static void read_all(struct ui *u)
{
	while (ui_read(u, UINT64_MAX / 2))
		;
}

int ui_run_script(struct ui *u, const char *script, int rows, int cols, bool styles,
		  struct err *err)
{
	struct input_script s;
	struct input in;
	struct canvas c;
	int row, col, r = 0;
	char *text;

	canvas_init(&c, rows, cols, ui_is_ascii(u));
	input_script_begin(&s, script);
	do {
		read_all(u);
		ui_draw(u, &c, &row, &col);
		if (!input_script_next(&s, &in)) {
			r = err_set(err, ERR_USAGE, 0, "not an input: '%.40s'", s.at);
			err_hint(err, "keys are words such as Down, Enter, F5 or 'text'; see "
				      "heaptrail(1)");
			break;
		}
		if (in.key == INPUT_RESIZE)
			canvas_resize(&c, in.row, in.col);
		if (in.key != INPUT_EOF)
			ui_input(u, &in);
	} while (in.key != INPUT_EOF && !ui_is_over(u));
	if (!r) {
		text = styles ? canvas_dump_styles(&c) : canvas_dump(&c);
		fputs(text, stdout);
		free(text);
	}
	canvas_release(&c);
	return r;
}
