/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/catalog.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

static void release_strings(struct catalog_strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i]);
	free(s->items);
	memset(s, 0, sizeof(*s));
}

void catalog_forget_small_tables(struct catalog *c)
{
	/* what is left out of an array must be zero */
#define FORGET(array) \
	do { \
		free(c->array); \
		c->array = NULL; \
		c->n_##array = c->cap_##array = 0; \
	} while (0)
	FORGET(facts);
	FORGET(processes);
	FORGET(spaces);
	FORGET(threads);
	FORGET(families);
	FORGET(modules);
	FORGET(losses);
#undef FORGET
	release_strings(&c->strings);
}

void catalog_grow_frames(struct catalog *c, size_t n)
{
	size_t outer = c->n_frames - c->n_recorded_frames;

	ARRAY_GROW(c->frames, c->cap_frames, c->n_frames + n);
	if (outer) {
		memmove(&c->frames[c->n_recorded_frames + n], &c->frames[c->n_recorded_frames],
			outer * sizeof(*c->frames));
		memset(&c->frames[c->n_recorded_frames], 0, n * sizeof(*c->frames));
		for (size_t i = 0; i < c->n_frames + n; i++)
			if (c->frames[i].outer.v)
				c->frames[i].outer.v += (uint32_t)n;
	}
	c->n_recorded_frames += n;
	c->n_frames += n;
}

uint32_t catalog_add_outer(struct catalog *c, uint32_t inner)
{
	uint32_t outer = (uint32_t)c->n_frames++;

	ARRAY_GROW(c->frames, c->cap_frames, outer);
	c->frames[outer] = (struct catalog_frame){.module = c->frames[inner].module,
						  .offset = c->frames[inner].offset};
	c->frames[inner].outer.v = outer;
	c->frames[inner].is_inlined = true;
	return outer;
}

static const char *keep_copy(struct catalog *c, const char *text)
{
	if (!text)
		return NULL;
	ARRAY_GROW(c->names.items, c->names.cap, c->names.n);
	return c->names.items[c->names.n++] = xstrdup(text);
}

bool catalog_add_symbol(struct catalog *c, const struct symbol_record *s)
{
	uint32_t at = s->frame.v;

	if (!at || at >= c->n_recorded_frames || s->depth > INLINE_DEPTH_MAX)
		return false;
	for (uint32_t depth = 1; depth < s->depth && at; depth++)
		at = c->frames[at].outer.v;
	if (!at || (s->depth && (c->frames[at].outer.v ||
				 (!c->frames[at].function && !c->frames[at].file))))
		return false;
	if (s->depth)
		at = catalog_add_outer(c, at);
	c->frames[at].function = keep_copy(c, s->function);
	c->frames[at].file = keep_copy(c, s->file);
	c->frames[at].line = s->line;
	return true;
}

void catalog_release(struct catalog *c)
{
	catalog_forget_small_tables(c);
	release_strings(&c->names);
	free(c->frames);
	free(c->stacks);
	memset(c, 0, sizeof(*c));
}

const char *catalog_text(const struct catalog *c, const char *key)
{
	for (size_t i = 0; i < c->n_facts; i++)
		if (!strcmp(c->facts[i].key, key))
			return c->facts[i].text;
	return NULL;
}

int64_t catalog_number(const struct catalog *c, const char *key, int64_t otherwise)
{
	const char *text = catalog_text(c, key);

	return text ? strtoll(text, NULL, 10) : otherwise;
}

void catalog_put_number(struct catalog *c, const char *key, uint64_t n)
{
	struct catalog_strings *s = &c->strings;

	for (size_t i = 0; i < c->n_facts; i++) {
		if (strcmp(c->facts[i].key, key) != 0)
			continue;
		ARRAY_GROW(s->items, s->cap, s->n);
		s->items[s->n] = xasprintf("%" PRIu64, n);
		c->facts[i].text = s->items[s->n++];
	}
}

uint64_t catalog_loss(const struct catalog *c, const char *kind)
{
	for (size_t i = 0; i < c->n_losses; i++)
		if (!strcmp(c->losses[i].kind, kind))
			return c->losses[i].count;
	return 0;
}

const struct catalog_frame *catalog_frame(const struct catalog *c, struct frame_id id)
{
	static const struct catalog_frame none;

	return id.v < c->n_frames ? &c->frames[id.v] : &none;
}

const struct catalog_stack *catalog_stack(const struct catalog *c, struct stack_id id)
{
	static const struct catalog_stack none;

	return id.v < c->n_stacks ? &c->stacks[id.v] : &none;
}

const char *catalog_module_path(const struct catalog *c, struct module_id id)
{
	return id.v < c->n_modules ? c->modules[id.v].path : NULL;
}

struct catalog_place *catalog_places(const struct catalog *c)
{
	struct catalog_place *places = xcalloc(c->n_frames + 1, sizeof(*places));

	for (uint32_t i = 1; i < c->n_recorded_frames; i++) {
		struct frame_id f = {i};

		for (uint32_t depth = 0; f.v; depth++, f = c->frames[f.v].outer)
			places[f.v] = (struct catalog_place){{i}, depth};
	}
	return places;
}
