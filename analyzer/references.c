/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/references.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/walk.h"
#include "common/hash.h"
#include "common/xalloc.h"

struct pass {
	struct replay replay;
	uint64_t families, since_ns;
	struct references *found; /* with those that are balanced, whose places are used again */
	struct hashmap by_address;
};

static struct reference *reference_of(struct pass *p, uint8_t family, uint64_t address)
{
	struct references *r = p->found;
	uint32_t *at = hashmap_put(&p->by_address, address ^ (uint64_t)family << 56);

	if (*at == HASHMAP_NONE) {
		*at = (uint32_t)r->n;
		ARRAY_GROW(r->items, r->cap, r->n);
		r->items[r->n++] = (struct reference){.address = address, .family = family};
	}
	return &r->items[*at];
}

static void note(struct reference *r, bool is_release, struct stack_id stack, uint64_t t_ns)
{
	struct reference_calls *c = NULL;

	for (size_t i = 0; i < r->n_calls && !c; i++)
		if (r->calls[i].is_release == is_release && r->calls[i].stack.v == stack.v)
			c = &r->calls[i];
	if (!c) {
		ARRAY_GROW(r->calls, r->cap_calls, r->n_calls);
		c = &r->calls[r->n_calls++];
		*c = (struct reference_calls){.is_release = is_release, .stack = stack,
					      .first_ns = t_ns};
	}
	c->n++;
	c->last_ns = t_ns;
}

static void forget(struct reference *r)
{
	free(r->calls);
	*r = (struct reference){.address = r->address, .family = r->family};
}

static void count(void *arg, const struct event *e, const struct replay_step *step)
{
	struct pass *p = arg;
	struct reference *r;

	if (!(p->families >> e->family % 64 & 1) || e->t_ns < p->since_ns)
		return;
	if (step->made) {
		r = reference_of(p, e->family, e->address);
		if (!r->acquires)
			r->first_ns = e->t_ns;
		r->acquires++;
		r->bytes += e->size;
		note(r, false, e->stack, e->t_ns);
	} else if (step->ended && step->old.t_ns >= p->since_ns) {
		r = reference_of(p, step->old.family, step->old.address);
		r->releases++;
		r->bytes -= step->old.size;
		note(r, true, e->stack, e->t_ns);
		if (r->releases >= r->acquires)
			forget(r);
	}
}

static int compare(const void *a, const void *b)
{
	const struct reference *x = a, *y = b;
	uint64_t n = x->acquires - x->releases, m = y->acquires - y->releases;

	if (n != m)
		return n < m ? 1 : -1;
	return (x->first_ns > y->first_ns) - (x->first_ns < y->first_ns);
}

/* Those that are balanced go. */
static void settle(struct references *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (r->items[i].acquires == r->items[i].releases) {
			free(r->items[i].calls);
			continue;
		}
		r->balance += r->items[i].acquires - r->items[i].releases;
		r->items[n++] = r->items[i];
	}
	r->n = n;
	if (n)
		qsort(r->items, n, sizeof(*r->items), compare);
}

static void begin_space(void *arg)
{
	struct pass *p = arg;

	for (size_t i = 0; i < p->found->n; i++)
		forget(&p->found->items[i]);
}

int references_make(struct store_reader *reader, const struct layers *layers, uint64_t families,
		    const struct analysis_window *w, struct references *ret, struct err *err)
{
	struct pass p = {.families = families, .since_ns = w->since_ns, .found = ret};
	struct walk walk = {&p.replay, begin_space, count, &p, NULL};
	int r;

	memset(ret, 0, sizeof(*ret));
	p.replay.layers = layers->replay;
	r = walk_events(&walk, reader, w, err);
	hashmap_release(&p.by_address);
	replay_release(&p.replay);
	settle(ret);
	if (r)
		references_release(ret);
	return r;
}

void references_release(struct references *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->items[i].calls);
	free(r->items);
	memset(r, 0, sizeof(*r));
}
