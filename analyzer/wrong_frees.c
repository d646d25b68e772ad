/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/wrong_frees.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/walk.h"
#include "common/hash.h"
#include "common/xalloc.h"

/* The last block of a layer at an address that is of interest. */
struct last_block {
	struct stack_id made, freed;
	uint64_t size;
	uint8_t family;
	bool is_live;
};

struct pass {
	struct replay replay;
	const struct layers *layers;
	uint64_t since_ns;
	uint64_t families; /* of which one side is; 0: any */
	struct wrong_frees *found;
	struct hashmap by_stacks; /* -> number of an item, the last one of that hash */
	/* the first time: the addresses that frees of no block had; the second: what lay there */
	struct hashmap addresses; /* -> number in @blocks, of layer heap */
	struct last_block *blocks; /* [number + layer] */
	size_t n_addresses;
	bool is_second;
};

static void add(struct pass *p, const struct wrong_free *w)
{
	struct wrong_frees *f = p->found;
	uint64_t families = 1ull << w->made_family % 64 | 1ull << w->freed_family % 64;
	uint64_t key = hash_u64((uint64_t)w->made.v << 32 | w->freed.v) ^
		       hash_u64((uint64_t)w->freed_before.v << 8 | w->free_class);
	uint32_t *at;

	if (p->families && !(p->families & families))
		return;
	at = hashmap_put(&p->by_stacks, key);
	if (*at == HASHMAP_NONE || f->items[*at].made.v != w->made.v ||
	    f->items[*at].freed.v != w->freed.v ||
	    f->items[*at].freed_before.v != w->freed_before.v ||
	    f->items[*at].free_class != w->free_class) {
		*at = (uint32_t)f->n;
		ARRAY_GROW(f->items, f->cap, f->n);
		f->items[f->n++] = *w;
	} else {
		f->items[*at].calls++;
		f->items[*at].bytes += w->bytes;
	}
	f->calls++;
}

static struct last_block *last_blocks(struct pass *p, uint64_t address)
{
	uint32_t at = hashmap_get(&p->addresses, address);

	return at == HASHMAP_NONE ? NULL : &p->blocks[(size_t)at * p->layers->n];
}

static uint8_t layer_of(const struct pass *p, uint8_t family)
{
	return replay_layer_of(&p->layers->replay, family);
}

static void remember(struct pass *p, const struct event *e, const struct replay_step *step)
{
	struct last_block *at;

	if (step->ended && (at = last_blocks(p, step->old.address))) {
		at += layer_of(p, step->old.family);
		at->is_live = false;
		at->freed = e->stack;
	}
	if (step->made && (at = last_blocks(p, e->address)))
		at[layer_of(p, e->family)] = (struct last_block){
			.made = e->stack, .size = e->size, .family = e->family, .is_live = true};
}

/* A free of no block of its layer: whose it was. */
static void find_block(struct pass *p, const struct event *e)
{
	const struct last_block *all = last_blocks(p, e->address), *b;
	struct wrong_free w = {.free_class = e->free_class,
			       .made_family = e->family,
			       .freed_family = e->family,
			       .freed = e->stack,
			       .calls = 1,
			       .first_ns = e->t_ns};

	if (!all)
		return;
	b = &all[layer_of(p, e->family)];
	for (uint8_t i = 0; e->free_class == FREE_OF_OTHER && i < p->layers->n; i++)
		if (all[i].is_live) {
			b = &all[i];
			break;
		}
	if (b->made.v || b->size) {
		w.made_family = b->family;
		w.made = b->made;
		w.bytes = b->size;
	}
	if (e->free_class == FREE_DOUBLE)
		w.freed_before = b->freed;
	add(p, &w);
}

static void look(void *arg, const struct event *e, const struct replay_step *step)
{
	struct pass *p = arg;
	bool is_free = e->kind == EVENT_FREE && e->t_ns >= p->since_ns;
	bool is_of_none =
		is_free && (e->free_class == FREE_DOUBLE || e->free_class == FREE_OF_OTHER);
	uint32_t *at;

	if (p->is_second) {
		if (is_of_none)
			find_block(p, e);
		remember(p, e, step);
	} else if (is_of_none) {
		at = hashmap_put(&p->addresses, e->address);
		if (*at == HASHMAP_NONE)
			*at = (uint32_t)p->n_addresses++;
	} else if (is_free && e->free_class == FREE_MISMATCHED && step->ended) {
		add(p, &(struct wrong_free){.free_class = FREE_MISMATCHED,
					    .made_family = step->old.family,
					    .freed_family = e->family,
					    .made = step->old.stack,
					    .freed = e->stack,
					    .calls = 1,
					    .bytes = step->old.size,
					    .first_ns = e->t_ns});
	}
}

static void begin_space(void *arg)
{
	struct pass *p = arg;

	if (p->is_second)
		memset(p->blocks, 0, p->n_addresses * p->layers->n * sizeof(*p->blocks));
}

static int compare(const void *a, const void *b)
{
	const struct wrong_free *x = a, *y = b;

	return (x->first_ns > y->first_ns) - (x->first_ns < y->first_ns);
}

static int walk_once(struct pass *p, struct store_reader *reader, const struct analysis_window *w,
		     analysis_progress *progress, struct err *err)
{
	struct walk walk = {&p->replay, begin_space, look, p, progress};
	int r;

	p->replay.layers = p->layers->replay;
	r = walk_events(&walk, reader, w, err);
	replay_release(&p->replay);
	return r;
}

int wrong_frees_make(struct store_reader *reader, const struct layers *layers,
		     const struct analysis_window *w, analysis_progress *progress,
		     struct wrong_frees *ret, struct err *err)
{
	struct pass p = {.layers = layers, .since_ns = w->since_ns,
			 .families = w->families, .found = ret};
	int r;

	memset(ret, 0, sizeof(*ret));
	r = walk_once(&p, reader, w, progress, err);
	if (!r && p.n_addresses) {
		p.is_second = true;
		p.blocks = xcalloc(p.n_addresses * layers->n, sizeof(*p.blocks));
		r = walk_once(&p, reader, w, progress, err);
	}
	hashmap_release(&p.by_stacks);
	hashmap_release(&p.addresses);
	free(p.blocks);
	if (r)
		wrong_frees_release(ret);
	else if (ret->n)
		qsort(ret->items, ret->n, sizeof(*ret->items), compare);
	return r;
}

void wrong_frees_release(struct wrong_frees *w)
{
	free(w->items);
	memset(w, 0, sizeof(*w));
}

enum allocation_form wrong_frees_form(const struct catalog *c, struct stack_id stack)
{
	const char *name;
	char key[32];

	snprintf(key, sizeof(key), FORM_KEY "%" PRIu32, stack.v);
	name = catalog_text(c, key);
	for (int i = 0; i < FORMS && name; i++)
		if (!strcmp(name, allocation_form_names[i]))
			return (enum allocation_form)i;
	return FORM_UNKNOWN;
}
