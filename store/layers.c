/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/layers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void layers_init(struct layers *l)
{
	memset(l, 0, sizeof(*l));
	snprintf(l->layers[0].name, sizeof(l->layers[0].name), LAYERS_HEAP);
	l->layers[0].families = UINT64_MAX;
	l->n = 1;
}

void layers_add(struct layers *l, uint64_t id, const char *name)
{
	uint64_t bit = 1ull << id % 64;
	uint8_t i = 0;

	while (i < l->n && strncmp(l->layers[i].name, name, LAYER_NAME_BYTES - 1))
		i++;
	if (i == LAYERS_MAX) /* no recorder makes so many */
		return;
	if (i == l->n) {
		snprintf(l->layers[i].name, sizeof(l->layers[i].name), "%s", name);
		l->n++;
	}
	if (i) {
		l->layers[0].families &= ~bit;
		l->layers[i].families |= bit;
	}
	l->replay.of_family[id % 64] = i;
	l->replay.n = (uint8_t)(l->n - 1);
}

static void add(void *arg, uint64_t id, const char *layer)
{
	layers_add(arg, id, layer);
}

void layers_read(struct layers *l, struct store_reader *r)
{
	layers_init(l);
	store_reader_families(r, add, l);
}

const struct layer *layers_find(const struct layers *l, const char *name)
{
	for (uint8_t i = 0; i < l->n; i++)
		if (!strcmp(l->layers[i].name, name))
			return &l->layers[i];
	return NULL;
}

int layers_unknown(const struct layers *l, const char *name, struct err *err)
{
	char names[400] = "";
	size_t len = 0;

	for (uint8_t i = 0; i < l->n && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					l->layers[i].name);
	err_set(err, ERR_USAGE, 0, "there is no layer '%.100s' in the recording", name);
	err_hint(err, "there is %s", names);
	return -EINVAL;
}
