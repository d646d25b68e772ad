/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/tui.h"

#include <langinfo.h>
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
		.ascii = o->ascii || strcmp(nl_langinfo(CODESET), "UTF-8") != 0,
		.skip = o->skip,
		.n_skip = o->n_skip,
		.state = state,
		.complete = complete_names,
		.command = o->command,
		.arg = o,
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
