/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random keys, clicks and sizes.  random FILE N SEED: on a recording; with FILE ending in
 * "+" on one that grows meanwhile, which is made there.  After each the screen must have
 * its size, and no line may be longer.  Built with sanitizers.
 */
#include "config.h"

#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "store/slots.h"
#include "store/writer.h"
#include "ui/canvas.h"
#include "ui/ui.h"

static uint64_t state;

static uint32_t random_below(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % n;
}

/* ---- a recording that grows ---------------------------------------------------------- */

static struct store_writer *writer;
static const uint8_t families[] = {1, 40, 1, 41}; /* of the blocks in such slots */
static struct slots slots;
static uint32_t live[4096];
static size_t n_live;
static uint32_t n_stacks;
static uint64_t now_ns = 1000;

static void begin_growing(const char *path)
{
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	struct err err;

	if (store_writer_create(path, &o, &writer, &err)) {
		fprintf(stderr, "random: %s\n", err.what);
		exit(1);
	}
	store_writer_put_number(writer, "start_ns", 1000);
	store_writer_put_module(writer, &(struct module_record){{1}, "/bin/growing", NULL});
	store_writer_put_family(writer, &(struct family_record){40, "pool", "pool"});
	store_writer_put_family(writer, &(struct family_record){41, "files references", "files"});
}

static void put_stack(void)
{
	struct frame_id frame = {n_stacks + 1};
	char name[32];

	snprintf(name, sizeof(name), "function_%u", random_below(20));
	store_writer_put_frame(writer, frame, (struct module_id){random_below(2)}, 16 * frame.v);
	if (random_below(2))
		store_writer_put_symbol(writer, &(struct symbol_record){.frame = frame,
									.function = name,
									.file = "/src/growing.c",
									.line = frame.v});
	store_writer_put_stack(writer, (struct stack_id){n_stacks + 1},
			       (struct stack_id){random_below(n_stacks + 1)}, frame,
			       (enum stack_end)random_below(STACK_ENDS));
	n_stacks++;
}

static void put_event(void)
{
	struct event e = {.thread = {random_below(4)}, .t_ns = now_ns += 1000};

	if (n_live && random_below(100) < (n_live > 4000 ? 100 : 48)) {
		uint32_t at = random_below((uint32_t)n_live);

		e.kind = EVENT_FREE;
		e.slot = live[at];
		slots_give(&slots, live[at]);
		live[at] = live[--n_live];
	} else {
		e.kind = EVENT_ALLOC;
		e.size = random_below(100000);
		e.usable = e.size + random_below(16);
		e.stack.v = random_below(n_stacks + 2);
		live[n_live++] = e.slot = slots_take(&slots);
	}
	e.family = families[e.slot % COUNT_OF(families)];
	store_writer_put_event(writer, (struct space_id){1}, &e);
}

static void grow(void)
{
	struct timeline_bucket buckets[4] = {{.allocs = 5, .live_bytes = random_below(1 << 20)}};
	struct err err;

	for (uint32_t i = random_below(3); i; i--)
		put_stack();
	for (uint32_t i = random_below(200); i; i--)
		put_event();
	store_writer_put_timeline(writer, buckets, 1 + random_below(4), 1000, 1 + now_ns / 4);
	store_writer_flush(writer, &err);
}

static void end_growing(void)
{
	struct err err;

	store_writer_seal(writer);
	store_writer_close(writer, &err);
	writer = NULL;
	slots_release(&slots);
}

/* ---- keys ---------------------------------------------------------------------------- */

/* What could write a file is left out. */
static bool is_harmless(int key)
{
	return key != 'e' && key != INPUT_F9 && key != 'Q' && key != 3 && key != INPUT_F10 &&
	       key != 'q' && key != INPUT_EOF && key != 'w';
}

static struct input random_input(const struct canvas *c)
{
	static const int letters[] = {'1', '2', '3', '4', '5', '6', '7', '8', '[', ']', '{', '}', 'P',
				      'f', 'm', '/', '\\', 'n', 'N', '<', '>', 'r', 'b', 'c', ' ', '+',
				      '-', 'i', 'g', 'G', '?', 'L', 'L', 0x65e5, 0x301};
	struct input in = {0};

	do {
		switch (random_below(10)) {
		case 0:
			in.key = (int)random_below(256);
			break;
		case 1:
		case 2:
		case 3:
			in.key = letters[random_below(COUNT_OF(letters))];
			break;
		case 4:
			in.key = INPUT_MOUSE;
			break;
		case 5:
			in.key = random_below(4) ? INPUT_ENTER : INPUT_ESCAPE;
			break;
		default:
			in.key = INPUT_UP + (int)random_below(INPUT_EOF - INPUT_UP);
			break;
		}
	} while (!is_harmless(in.key));
	if (in.key == INPUT_RESIZE) {
		in.row = 1 + (int)random_below(random_below(8) ? 60 : 300);
		in.col = 1 + (int)random_below(random_below(8) ? 120 : 500);
	} else {
		in.row = (int)random_below((uint32_t)c->rows + 2);
		in.col = (int)random_below((uint32_t)c->cols + 2);
		in.is_double = random_below(3) == 0;
	}
	return in;
}

/* Every line of the screen has the columns it should. */
static void check_screen(const struct canvas *c)
{
	char *text = canvas_dump(c), *line = text;
	int rows = 0;

	for (char *end; (end = strchr(line, '\n')); line = end + 1, rows++) {
		*end = '\0';
		if (canvas_columns(line) <= c->cols && !strchr(line, '\033'))
			continue;
		fprintf(stderr, "random: line %d is too long: '%s'\n", rows, line);
		exit(1);
	}
	if (rows != c->rows) {
		fprintf(stderr, "random: %d rows instead of %d\n", rows, c->rows);
		exit(1);
	}
	free(text);
}

static void run(struct ui *u, unsigned long n)
{
	struct canvas c;
	int row, col;

	canvas_init(&c, 24, 80, false);
	for (unsigned long i = 0; i < n; i++) {
		struct input in = random_input(&c);

		if (writer && i % 16 == 0)
			grow();
		if (writer && i == n / 4 * 3)
			end_growing();
		ui_read(u, random_below(4) ? 2000000 : 0);
		if (in.key == INPUT_RESIZE)
			canvas_resize(&c, in.row, in.col);
		ui_input(u, &in);
		ui_draw(u, &c, &row, &col);
		check_screen(&c);
	}
	canvas_release(&c);
}

int main(int argc, char **argv)
{
	struct ui_options o = {0};
	unsigned long n = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
	char *path = xstrdup(argc > 3 ? argv[1] : "");
	size_t len = strlen(path);
	struct err err;
	struct ui *u;

	setlocale(LC_CTYPE, "C.UTF-8");
	state = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;
	if (len && path[len - 1] == '+') {
		path[len - 1] = '\0';
		begin_growing(path);
		grow();
	}
	o.path = path;
	if (ui_new(&o, &u, &err)) {
		fprintf(stderr, "random: %s\n", err.what);
		return 1;
	}
	run(u, n);
	ui_free(u);
	if (writer)
		end_growing();
	free(path);
	printf("%lu inputs\n", n);
	return 0;
}
