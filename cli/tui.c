/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/tui.h"

#include <getopt.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/view.h"
#include "common/xalloc.h"

/* The state is kept where the user has such things; NULL: nowhere. */
static char *settings_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && config[0] == '/')
		return xasprintf("%s/heaptrail/view", config);
	return home && home[0] == '/' ? xasprintf("%s/.config/heaptrail/view", home) : NULL;
}

int tui_take_option(const struct command *c, struct tui_options *o, int option, bool *ret_done)
{
	int end = 0;

	switch (option) {
	case OPTION_SKIP:
		ARRAY_GROW(o->skip, o->cap_skip, o->n_skip);
		o->skip[o->n_skip++] = optarg;
		return 0;
	case OPTION_ASCII:
		o->ascii = true;
		return 0;
	case OPTION_NO_COLOR:
		o->screen.no_color = true;
		return 0;
	case OPTION_NO_MOUSE:
		o->screen.no_mouse = true;
		return 0;
	case OPTION_NO_SETTINGS:
		o->no_settings = true;
		return 0;
	case OPTION_SCRIPT:
		o->script = optarg;
		return 0;
	case OPTION_DUMP:
		o->dump = true;
		return 0;
	case OPTION_DUMP_STYLES:
		o->dump_styles = true;
		return 0;
	case OPTION_SHOWN_LAYER:
		o->layer = optarg;
		return 0;
	case OPTION_SIZE:
		o->has_size = sscanf(optarg, "%dx%d%n", &o->rows, &o->cols, &end) == 2 &&
			      !optarg[end] && o->rows > 0 && o->cols > 0 && o->rows <= 1000 &&
			      o->cols <= 1000;
		return o->has_size ? 0
				   : usage_error(c, "'%s' is no size, such as 24x80", optarg);
	default:
		*ret_done = true;
		return other_option(c, option);
	}
}

int tui_check_options(const struct command *c, struct tui_options *o)
{
	if ((o->dump || o->dump_styles || o->has_size) && !o->script)
		o->script = "";
	if (o->script && !o->dump && !o->dump_styles)
		return usage_error(c, "--script needs --dump or --dump-styles");
	if (o->script)
		o->no_settings = true;
	return 0;
}

bool tui_is_ascii(const struct tui_options *o)
{
	return o->ascii || strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
}

static const char *state(void *arg, const struct history *h, bool *ret_is_growing)
{
	enum view_state s = catalog_state(history_catalog(h), !history_is_open_ended(h));

	(void)arg;
	*ret_is_growing = s == VIEW_BEING_WRITTEN;
	return view_state_name(s);
}

static bool complete_names(void *arg, struct history *h, uint64_t max_ns)
{
	struct tui_options *o = arg;

	return live_names_complete(&o->names, h, max_ns);
}

int tui_open(struct tui_options *o, struct ui **ret, struct err *err)
{
	struct ui_options ui = {
		.path = o->path,
		.earlier = o->earlier,
		.ascii = tui_is_ascii(o),
		.skip = o->skip,
		.n_skip = o->n_skip,
		.layer = o->layer,
		.state = o->state ? o->state : state,
		.poll = o->poll,
		.complete = complete_names,
		.complete_arg = o,
		.command = o->command,
		.arg = o->arg,
	};
	int r;

	if (!o->no_settings)
		ui.settings_path = o->settings = settings_path();
	r = ui_new(&ui, &o->ui, err);
	if (!r)
		*ret = o->ui;
	return r;
}

void tui_close(struct tui_options *o)
{
	ui_free(o->ui);
	live_names_release(&o->names);
	o->ui = NULL;
	free(o->settings);
	o->settings = NULL;
}

int tui_run_file(struct tui_options *o)
{
	struct err err;
	struct ui *u;
	int r = tui_open(o, &u, &err);

	if (!r && o->script)
		r = ui_run_script(u, o->script, o->rows, o->cols, o->dump_styles, &err);
	else if (!r)
		r = ui_run(u, &o->screen, &err);
	tui_close(o);
	return r ? print_error(&err) : 0;
}
