/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/run.h"

#include "common/clock.h"
#include "ui/script.h"

/* So long at most a key waits for what is being read, and so often what grows is read … */
#define SLICE_NS 8000000
#define LIVE_NS 250000000ull
/* What may be asked next is prepared while there is no key, of which none shall wait for it. */
#define PREPARE_NS 1000000
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
		if (more || ui_prepare(u, PREPARE_NS))
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

static void draw_all(void *arg, struct canvas *c)
{
	int row, col;

	while (ui_read(arg, UINT64_MAX / 2))
		;
	ui_draw(arg, c, &row, &col);
}

static void take_input(void *arg, const struct input *in)
{
	ui_input(arg, in);
}

static bool is_over(void *arg)
{
	return ui_is_over(arg);
}

int ui_run_script(struct ui *u, const char *script, int rows, int cols, bool styles,
		  struct err *err)
{
	const struct script_target s = {u, draw_all, take_input, is_over};

	return script_run(&s, ui_is_ascii(u), script, rows, cols, styles, err);
}
