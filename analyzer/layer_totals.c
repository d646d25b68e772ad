/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/layer_totals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/walk.h"
#include "common/xalloc.h"

#define FUNCTION_KEY "layer:"

struct pass {
	const struct layers *layers;
	struct replay replay;
	struct totals own[LAYERS_MAX], taken[LAYERS_MAX];
	bool *in_functions[LAYERS_MAX]; /* [stack id], NULL: no function of it is known */
};

/* ---- the stacks of a layer's functions ---------------------------------------------- */

/* A function's fact: "layer:NAME:FILE:FUNCTION", "0xADDRESS+0xSIZE". */
static bool is_function_of(const char *key, const char *text, const char *layer,
			   const char **ret_path, size_t *ret_len, uint64_t *ret_start,
			   uint64_t *ret_size)
{
	size_t n = strlen(layer);
	const char *last;

	if (strncmp(key, FUNCTION_KEY, strlen(FUNCTION_KEY)))
		return false;
	key += strlen(FUNCTION_KEY);
	if (strncmp(key, layer, n) || key[n] != ':')
		return false;
	key += n + 1;
	last = strrchr(key, ':');
	if (!last || sscanf(text, "0x%" SCNx64 "+0x%" SCNx64, ret_start, ret_size) != 2)
		return false;
	*ret_path = key;
	*ret_len = (size_t)(last - key);
	return true;
}

/* [frame] enum layer_call */
static bool mark_frames(const struct catalog *c, const char *layer, uint8_t *in)
{
	bool found = false;

	for (size_t i = 0; i < c->n_facts; i++) {
		const char *text = c->facts[i].text;
		uint64_t start, size;
		const char *path;
		size_t len;

		if (!is_function_of(c->facts[i].key, text, layer, &path, &len, &start, &size))
			continue;
		found |= size != 0;
		for (size_t f = 1; f < c->n_recorded_frames; f++) {
			const struct catalog_frame *frame = &c->frames[f];
			const char *module = catalog_module_path(c, frame->module);

			/* return addresses: that of a call at the end is behind it */
			if (frame->offset - start - 1 < size && module &&
			    !strncmp(module, path, len) && !module[len])
				in[f] = strstr(text, LAYERS_AT_ENTRY) ? LAYER_CALL_TOLD_BEFORE
								      : LAYER_CALL_TOLD_AFTER;
		}
	}
	return found;
}

uint8_t *layer_call_stacks(const struct catalog *c, const char *layer)
{
	uint8_t *frames = xcalloc(c->n_recorded_frames + 1, sizeof(*frames)), *stacks = NULL;

	if (mark_frames(c, layer, frames)) {
		stacks = xcalloc(c->n_stacks + 1, sizeof(*stacks));
		for (size_t i = 1; i < c->n_stacks; i++) { /* a caller's stack comes before */
			const struct catalog_stack *s = &c->stacks[i];

			if (s->parent.v < i)
				stacks[i] = stacks[s->parent.v];
			if (!stacks[i] && s->frame.v < c->n_recorded_frames)
				stacks[i] = frames[s->frame.v];
		}
	}
	free(frames);
	return stacks;
}

/* The same, whatever the order is. */
static bool *find_stacks(const struct catalog *c, const char *layer)
{
	uint8_t *calls = layer_call_stacks(c, layer);
	bool *ret = calls ? xcalloc(c->n_stacks + 1, sizeof(*ret)) : NULL;

	for (size_t i = 0; calls && i < c->n_stacks; i++)
		ret[i] = calls[i] != LAYER_CALL_NONE;
	free(calls);
	return ret;
}

/* ---- the pass ----------------------------------------------------------------------- */

static void count(void *arg, const struct event *e, const struct replay_step *step)
{
	struct pass *p = arg;
	uint8_t layer = replay_layer_of(&p->replay.layers, e->family);

	totals_count(&p->own[layer], e, step);
	for (uint8_t i = 1; !layer && i < p->layers->n; i++)
		if (p->in_functions[i])
			totals_count(&p->taken[i], e, step);
}

static void begin_space(void *arg)
{
	struct pass *p = arg;

	for (uint8_t i = 0; i < p->layers->n; i++) {
		totals_begin_space(&p->own[i]);
		totals_begin_space(&p->taken[i]);
	}
}

/* Those of the layer whose names end so. */
static uint64_t families_by_suffix(const struct catalog *c, const struct layer *layer,
				   const char *suffix)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < c->n_families && i < 64; i++) {
		const char *name = c->families[i].name;
		size_t n = name ? strlen(name) : 0, m = strlen(suffix);

		if (n > m && !strcmp(name + n - m, suffix) && layer->families >> i & 1)
			bits |= 1ull << i;
	}
	return bits;
}

uint64_t layer_counted_families(const struct catalog *c, const struct layer *layer)
{
	return families_by_suffix(c, layer, LAYERS_COUNTED_SUFFIX);
}

uint64_t layer_pool_families(const struct catalog *c, const struct layer *layer)
{
	return families_by_suffix(c, layer, LAYERS_POOLS_SUFFIX);
}

int layer_totals_make(struct store_reader *reader, const struct catalog *c,
		      const struct layers *layers, const struct analysis_window *window,
		      analysis_progress *progress, struct layer_total ret[LAYERS_MAX],
		      struct err *err)
{
	struct pass *p = xcalloc(1, sizeof(*p));
	struct walk walk = {&p->replay, begin_space, count, p, progress};
	int r;

	p->layers = layers;
	p->replay.layers = layers->replay;
	for (uint8_t i = 0; i < layers->n; i++) {
		totals_init(&p->own[i], 0, window->since_ns);
		totals_init(&p->taken[i], 0, window->since_ns);
		if (i)
			p->in_functions[i] = find_stacks(c, layers->layers[i].name);
		p->taken[i].only_stacks = p->in_functions[i];
		p->taken[i].n_only_stacks = c->n_stacks;
	}
	r = walk_events(&walk, reader, window, err);
	for (uint8_t i = 0; i < layers->n; i++) {
		const struct layer *layer = &layers->layers[i];

		ret[i] = (struct layer_total){
			.layer = layer,
			.has_functions = p->in_functions[i] != NULL,
			.has_pools = layer_pool_families(c, layer) != 0,
			.has_counted = layer_counted_families(c, layer) != 0};
		totals_get(&p->own[i], GROUP_STACK, NULL, &ret[i].own);
		totals_get(&p->taken[i], GROUP_STACK, NULL, &ret[i].taken);
		/* they go with the pass */
		ret[i].own.stacks = ret[i].taken.stacks = NULL;
		ret[i].own.n_stacks = ret[i].taken.n_stacks = 0;
		totals_release(&p->own[i]);
		totals_release(&p->taken[i]);
		free(p->in_functions[i]);
	}
	replay_release(&p->replay);
	free(p);
	return r;
}
