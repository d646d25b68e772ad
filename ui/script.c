/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/script.h"

#include <stdio.h>
#include <stdlib.h>

int script_run(const struct script_target *s, bool ascii, const char *script, int rows,
	       int cols, bool styles, struct err *err)
{
	struct input in = {.key = INPUT_NONE};
	struct input_script at;
	struct canvas c;
	int r = 0;
	char *text;

	canvas_init(&c, rows, cols, ascii);
	input_script_begin(&at, script);
	s->draw(s->arg, &c);
	while (!s->is_over(s->arg)) {
		if (!input_script_next(&at, &in)) {
			r = err_set(err, ERR_USAGE, 0, "not an input: '%.40s'", at.at);
			err_hint(err, "keys are words such as Down, Enter, F5 or 'text'; see "
				      "heaptrail(1)");
			break;
		}
		if (in.key == INPUT_EOF)
			break;
		if (in.key == INPUT_RESIZE)
			canvas_resize(&c, in.row, in.col);
		s->input(s->arg, &in);
		s->draw(s->arg, &c);
	}
	if (!r) {
		text = styles ? canvas_dump_styles(&c) : canvas_dump(&c);
		fputs(text, stdout);
		free(text);
	}
	canvas_release(&c);
	return r;
}
