/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include "analyzer/dropped.h"
#include "common/xalloc.h"

bool layers_are_several(const struct ui *u)
{
	return history_layers(u->history)->n > 1;
}

const char *layers_name(const struct ui *u)
{
	return history_layers(u->history)->layers[history_layer(u->history)].name;
}

/* Who has chosen no other order has that of what the layer is measured in. */
static void sort_page(struct page *p, bool was_counted, bool counted)
{
	if (p->state.sort != view_sort(p->view, was_counted))
		return;
	p->state.sort = view_sort(p->view, counted);
	p->version = 0;
}

void layers_show(struct ui *u, uint8_t layer)
{
	bool was_counted = history_is_counted(u->history), counted;

	history_show_layer(u->history, layer);
	counted = history_is_counted(u->history);
	for (size_t i = 0; i < ROOT_VIEWS; i++)
		sort_page(&u->roots[i], was_counted, counted);
	for (size_t i = 1; i < u->n_pages; i++)
		sort_page(u->pages[i], was_counted, counted);
	timeline_show(u);
}

int layers_show_name(struct ui *u, const char *name, struct err *err)
{
	const struct layers *l = history_layers(u->history);
	const struct layer *found = layers_find(l, name);

	if (!found)
		return layers_unknown(l, name, err);
	layers_show(u, (uint8_t)(found - l->layers));
	return 0;
}

void layers_show_next(struct ui *u, int by)
{
	uint8_t n = history_layers(u->history)->n;

	if (n < 2)
		return;
	layers_show(u, (uint8_t)((history_layer(u->history) + n + by) % n));
	ui_say(u, false, "layer %s: all views are of it (%d of %d; L: the next)", layers_name(u),
	       history_layer(u->history) + 1, n);
}

char *layers_note(const struct ui *u)
{
	struct dropped dropped;

	if (!history_layer(u->history) ||
	    !dropped_read(history_catalog(u->history), &dropped) || !dropped.events)
		return NULL;
	return dropped_layer_text(&dropped, layers_name(u));
}
