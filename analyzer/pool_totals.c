/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/pool_totals.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/layer_totals.h"
#include "analyzer/walk.h"
#include "common/hash.h"
#include "common/xalloc.h"

/* What a block is, by its slot; zero: nothing of the layer's. */
struct role {
	uint32_t in;	/* the pool that has it, or for which it was taken, + 1 */
	uint32_t is;	/* the pool that it is, + 1 */
};

/* Of a thread. */
struct thread {
	uint64_t pool; /* the address of that in which it allocates; 0: none */
	uint32_t *taken; /* slots of the heap's blocks that its call of the layer has taken */
	size_t n_taken, cap_taken;
	uint32_t made; /* the pool that its last event of the layer made, + 1; 0: none */
};

struct pass {
	const struct catalog *catalog;
	struct replay replay;
	struct pool_totals *found;
	uint64_t families, pool_families; /* of the layer; those of them that pools are of */
	uint64_t since_ns, last_ns;
	uint8_t *calls; /* [stack] enum layer_call; NULL: no function is known */
	struct role *roles; /* [slot] */
	size_t cap_roles;
	struct thread *threads; /* [id] */
	size_t cap_threads;
	struct hashmap pools;  /* address -> the latest there, which may have ended */
	struct hashmap blocks; /* address of a block of the layer -> slot, which it may have left */
};

/* ---- sums --------------------------------------------------------------------------- */

static void add(struct pool_sums *s, uint64_t size)
{
	s->calls++;
	s->bytes += size;
	s->live_blocks++;
	s->live_bytes += size;
	if (s->live_bytes > s->peak_bytes)
		s->peak_bytes = s->live_bytes;
}

static void end(struct pool_sums *s, uint64_t size)
{
	s->live_blocks--;
	s->live_bytes -= size;
}

static bool is_mine(const struct pass *p, uint8_t family)
{
	return p->families >> family % 64 & 1;
}

/* Where a block of that family counts, in pool number @pool. */
static struct pool_sums *sums_of(const struct pass *p, uint32_t pool, uint8_t family)
{
	struct pool_total *t = &p->found->items[pool];

	return is_mine(p, family) ? &t->own : &t->taken;
}

/* ---- pools -------------------------------------------------------------------------- */

static uint32_t make_pool(struct pass *p, uint64_t address, struct stack_id stack, uint64_t t_ns)
{
	struct pool_totals *f = p->found;

	ARRAY_GROW(f->items, f->cap, f->n);
	f->items[f->n] = (struct pool_total){.address = address, .stack = stack, .made_ns = t_ns};
	if (address)
		*hashmap_put(&p->pools, address) = (uint32_t)f->n;
	return (uint32_t)f->n++;
}

static void end_pool(struct pass *p, uint32_t pool, uint64_t t_ns)
{
	if (!p->found->items[pool].ended_ns)
		p->found->items[pool].ended_ns = t_ns;
}

/* The live block of the layer there; NULL: there is none. */
static const struct replay_cell *block_at(const struct pass *p, uint64_t address,
					  uint32_t *ret_slot)
{
	uint32_t slot = hashmap_get(&p->blocks, address);
	const struct replay_cell *b;

	if (slot == HASHMAP_NONE)
		return NULL;
	b = replay_at(&p->replay, slot);
	*ret_slot = slot;
	return b->is_live && b->address == address && is_mine(p, b->family) ? b : NULL;
}

static struct role *role_at(struct pass *p, uint32_t slot)
{
	ARRAY_GROW(p->roles, p->cap_roles, slot);
	return &p->roles[slot];
}

/* The living pool at @address, if it has not moved away; or HASHMAP_NONE. */
static uint32_t find_pool(const struct pass *p, uint64_t address)
{
	uint32_t pool = address ? hashmap_get(&p->pools, address) : 0;

	if (pool != HASHMAP_NONE && !p->found->items[pool].ended_ns &&
	    p->found->items[pool].address == address)
		return pool;
	return HASHMAP_NONE;
}

/* The pool at @address; the first that is heard of it may be that there is a block in it. */
static uint32_t pool_at(struct pass *p, uint64_t address)
{
	uint32_t pool = find_pool(p, address), slot;
	const struct replay_cell *b;

	if (pool != HASHMAP_NONE)
		return pool;
	b = block_at(p, address, &slot);
	if (!b)
		return make_pool(p, address, (struct stack_id){0}, 0);
	pool = make_pool(p, address, b->stack, b->t_ns);
	role_at(p, slot)->is = pool + 1;
	return pool;
}

/* A block that is a pool has another address. */
static void move_pool(struct pass *p, uint32_t pool, uint64_t address)
{
	struct pool_total *t = &p->found->items[pool];
	uint32_t *to = hashmap_put(&p->pools, address);

	if (*to != HASHMAP_NONE && *to != pool && !p->found->items[*to].ended_ns &&
	    p->found->items[*to].address == address)
		return; /* it has become part of that one */
	*to = pool;
	t->address = address;
}

/* ---- what was taken of the heap ----------------------------------------------------- */

static struct thread *thread_at(struct pass *p, struct thread_id id)
{
	ARRAY_GROW(p->threads, p->cap_threads, id.v);
	return &p->threads[id.v];
}

/*
 * Is @stack that of a call within what was called by @caller?  Of one that could not be followed
 * so far all is known but that.
 */
static bool is_within(const struct catalog *c, struct stack_id stack, struct stack_id caller)
{
	if (stack.v < c->n_stacks && c->stacks[stack.v].end != STACK_COMPLETE)
		return true;
	/* a caller's stack comes before; in a damaged recording perhaps not */
	while (stack.v > caller.v && stack.v < c->n_stacks) {
		if (c->stacks[stack.v].parent.v >= stack.v)
			return false;
		stack = c->stacks[stack.v].parent;
	}
	return stack.v == caller.v && stack.v;
}

/* The call at @caller was for @pool: so was what it took. */
static void give_taken(struct pass *p, struct thread *t, struct stack_id caller, uint32_t pool)
{
	for (size_t i = 0; i < t->n_taken; i++) {
		struct role *role = role_at(p, t->taken[i]);
		struct replay_block b;
		struct pool_sums *none = &p->found->items[0].taken;

		/* it may be another block's slot by now */
		if (!replay_at(&p->replay, t->taken[i])->is_live || role->in != 1)
			continue;
		b = replay_block_in(&p->replay, t->taken[i]);
		if (is_mine(p, b.family) || b.t_ns < p->since_ns ||
		    !is_within(p->catalog, b.stack, caller))
			continue;
		end(none, b.size);
		none->calls--;
		none->bytes -= b.size;
		add(&p->found->items[pool].taken, b.size);
		role->in = pool + 1;
	}
	t->n_taken = 0;
}

/* ---- events ------------------------------------------------------------------------- */

static void count_ended(struct pass *p, const struct event *e, const struct replay_step *step)
{
	struct role *role = role_at(p, step->slot);

	if (role->in && step->old.t_ns >= p->since_ns)
		end(sums_of(p, role->in - 1, step->old.family), step->old.size);
	if (role->is && e->kind == EVENT_FREE)
		end_pool(p, role->is - 1, e->t_ns);
	if (e->kind == EVENT_FREE)
		*role = (struct role){0};
}

/* A block of the layer, or a pool. */
static void count_own(struct pass *p, const struct event *e, uint32_t slot)
{
	struct thread *t = thread_at(p, e->thread);
	struct role *role = role_at(p, slot);
	uint32_t pool;

	t->made = 0;
	*hashmap_put(&p->blocks, e->address) = slot;
	if (p->pool_families >> e->family % 64 & 1) {
		pool = make_pool(p, e->address, e->stack, e->t_ns);
		*role = (struct role){.is = pool + 1};
		give_taken(p, t, e->stack, pool);
		t->made = pool + 1;
		return;
	}
	if (e->kind == EVENT_REALLOC) {
		pool = role->in ? role->in - 1 : 0;
		if (role->is)
			move_pool(p, role->is - 1, e->address);
	} else {
		pool = pool_at(p, t->pool);
		role = role_at(p, slot); /* another may have come up */
		*role = (struct role){0};
	}
	role->in = pool + 1;
	if (e->t_ns >= p->since_ns)
		add(&p->found->items[pool].own, e->size);
	give_taken(p, t, e->stack, pool);
}

/* The pool for which a block of the heap is taken, as far as that can be told now. */
static uint32_t taker_of(const struct pass *p, const struct thread *t, const struct event *e)
{
	if (p->calls[e->stack.v] == LAYER_CALL_TOLD_BEFORE && t->made &&
	    is_within(p->catalog, e->stack, p->found->items[t->made - 1].stack))
		return t->made - 1;
	return 0;
}

/* A block of the heap below. */
static void count_below(struct pass *p, const struct event *e, uint32_t slot)
{
	struct thread *t = thread_at(p, e->thread);
	struct role *role = role_at(p, slot);
	bool taken = p->calls && e->stack.v < p->catalog->n_stacks && p->calls[e->stack.v];

	if (!role->in && !taken)
		return;
	if (!role->in) {
		role->in = taker_of(p, t, e) + 1;
		if (role->in == 1) {
			ARRAY_GROW(t->taken, t->cap_taken, t->n_taken);
			t->taken[t->n_taken++] = slot;
		}
	}
	if (e->t_ns >= p->since_ns)
		add(&p->found->items[role->in - 1].taken, e->size);
}

static void count(void *arg, const struct event *e, const struct replay_step *step)
{
	struct pass *p = arg;
	bool mine = is_mine(p, e->family);

	p->last_ns = e->t_ns;
	if (step->ended)
		count_ended(p, e, step);
	if (step->made && mine)
		count_own(p, e, step->slot);
	else if (step->made && !replay_layer_of(&p->replay.layers, e->family))
		count_below(p, e, step->slot);
	if (!mine || step->made || step->ended)
		return;
	if (e->kind == EVENT_IN_POOL) {
		thread_at(p, e->thread)->pool = e->address;
		p->found->is_told = true;
	} else if (e->kind == EVENT_FREE && e->free_class == FREE_UNKNOWN &&
		   e->address && find_pool(p, e->address) != HASHMAP_NONE) {
		/* it was no block */
		end_pool(p, find_pool(p, e->address), e->t_ns);
	}
}

static void begin_space(void *arg)
{
	struct pass *p = arg;

	for (size_t i = 0; i < p->found->n; i++) {
		struct pool_total *t = &p->found->items[i];

		t->own.live_blocks = t->own.live_bytes = 0;
		t->taken.live_blocks = t->taken.live_bytes = 0;
		if (i)
			end_pool(p, (uint32_t)i, p->last_ns);
	}
	if (p->cap_roles)
		memset(p->roles, 0, p->cap_roles * sizeof(*p->roles));
	for (size_t i = 0; i < p->cap_threads; i++)
		p->threads[i].pool = p->threads[i].n_taken = p->threads[i].made = 0;
	hashmap_clear(&p->blocks);
}

/* More of them than who called malloc. */
static bool has_stacks(const struct catalog *c)
{
	const char *mode = catalog_text(c, "stack_mode");

	return mode && strcmp(mode, "caller") != 0 && strcmp(mode, "none") != 0;
}

int pool_totals_make(struct store_reader *reader, const struct catalog *c,
		     const struct layers *layers, const struct layer *layer,
		     const struct analysis_window *window, analysis_progress *progress,
		     struct pool_totals *ret, struct err *err)
{
	struct pass p = {.catalog = c,
			 .found = ret,
			 .families = layer->families & ~layer_counted_families(c, layer),
			 .pool_families = layer_pool_families(c, layer),
			 .since_ns = window->since_ns};
	struct walk walk = {&p.replay, begin_space, count, &p, progress};
	int r;

	memset(ret, 0, sizeof(*ret));
	p.replay.layers = layers->replay;
	p.calls = has_stacks(c) ? layer_call_stacks(c, layer->name) : NULL;
	ret->has_functions = p.calls != NULL;
	make_pool(&p, 0, (struct stack_id){0}, 0);
	r = walk_events(&walk, reader, window, err);
	for (size_t i = 0; i < p.cap_threads; i++)
		free(p.threads[i].taken);
	free(p.threads);
	free(p.roles);
	free(p.calls);
	hashmap_release(&p.pools);
	hashmap_release(&p.blocks);
	replay_release(&p.replay);
	if (r)
		pool_totals_release(ret);
	return r;
}

void pool_totals_release(struct pool_totals *p)
{
	free(p->items);
	memset(p, 0, sizeof(*p));
}
