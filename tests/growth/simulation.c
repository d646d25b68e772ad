/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "tests/growth/simulation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "store/slots.h"

/* ---- chance --------------------------------------------------------------------------------- */

static uint64_t state;

void seed_chance(uint64_t seed)
{
	state = seed;
}

uint64_t next_random(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

double uniform(double from, double to)
{
	return from + (to - from) * ((double)(next_random() >> 11) * 0x1p-53);
}

double scaled(double from, double to)
{
	return from * pow(to / from, uniform(0, 1));
}

static double exponential(double mean)
{
	return -mean * log(1 - uniform(0, 1));
}

int whole(int from, int to)
{
	return from + (int)(next_random() % (uint64_t)(to - from + 1));
}

struct site sites[SITES_MAX];
size_t n_sites;
double length;

/* ---- the recording -------------------------------------------------------------------------- */

struct store_writer *writer;
static uint32_t n_frames, n_stacks;
static struct hashmap frames; /* of a function's name */
static struct slots slots;
static uint64_t *sizes; /* [slot] */
static size_t cap_sizes;
static uint64_t now_ns;

/* Each function has one frame. */
static uint32_t frame(const char *function)
{
	uint32_t *place = hashmap_put(&frames, hash_bytes(function, strlen(function)));

	if (*place != HASHMAP_NONE)
		return *place;
	*place = ++n_frames;
	store_writer_put_frame(writer, (struct frame_id){*place}, (struct module_id){1},
			       0x1000 + 16 * n_frames);
	store_writer_put_symbol(writer, &(struct symbol_record){.frame = {*place},
								.function = function,
								.file = "server.c",
								.line = n_frames});
	return *place;
}

uint32_t call(uint32_t parent, const char *function)
{
	store_writer_put_stack(writer, (struct stack_id){++n_stacks}, (struct stack_id){parent},
			       (struct frame_id){frame(function)}, STACK_COMPLETE);
	return n_stacks;
}

static uint32_t allocate(const struct site *s)
{
	uint32_t slot = slots_take(&slots), stack = s->stacks[whole(0, s->n_stacks - 1)];

	ARRAY_GROW(sizes, cap_sizes, slot);
	sizes[slot] = (uint64_t)scaled(s->size_low, s->size_high);
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_ALLOC,
					       .family = 1,
					       .thread = {(uint32_t)whole(1, THREADS)},
					       .stack = {stack},
					       .slot = slot,
					       .t_ns = now_ns,
					       .address = 0x550000000000 + 4096 * (uint64_t)slot,
					       .size = sizes[slot],
					       .usable = USABLE_UNKNOWN});
	return slot;
}

static void release(uint32_t slot)
{
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_FREE,
					       .family = 1,
					       .thread = {(uint32_t)whole(1, THREADS)},
					       .slot = slot,
					       .t_ns = now_ns});
	slots_give(&slots, slot);
}

static void enlarge(const struct site *s, uint32_t slot)
{
	sizes[slot] += (uint64_t)scaled(s->size_low, s->size_high);
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_REALLOC,
					       .family = 1,
					       .thread = {1},
					       .stack = {s->stacks[0]},
					       .slot = slot,
					       .t_ns = now_ns,
					       .address = 0x550000000000 + 4096 * (uint64_t)slot,
					       .size = sizes[slot],
					       .usable = USABLE_UNKNOWN});
}

/* ---- what comes next ------------------------------------------------------------------------ */

/* A heap of moments: of blocks to be freed, and of sites that may allocate. */
struct moment {
	uint64_t t_ns;
	uint32_t what;
	bool is_site;
};

static struct moment *moments;
static size_t n_moments, cap_moments;

static void put_moment(double after, bool is_site, uint32_t what)
{
	struct moment m = {now_ns + (uint64_t)(after * 1e9) + 1, what, is_site};
	size_t i = n_moments++, up;

	ARRAY_GROW(moments, cap_moments, i);
	for (; i && moments[up = (i - 1) / 2].t_ns > m.t_ns; i = up)
		moments[i] = moments[up];
	moments[i] = m;
}

static struct moment take_moment(void)
{
	struct moment ret = moments[0], last = moments[--n_moments];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < n_moments) {
		down += down + 1 < n_moments && moments[down + 1].t_ns < moments[down].t_ns;
		if (moments[down].t_ns >= last.t_ns)
			break;
		moments[i] = moments[down];
		i = down;
	}
	if (n_moments)
		moments[i] = last;
	return ret;
}

static void keep(struct site *s, uint32_t slot)
{
	ARRAY_GROW(s->kept, s->cap_kept, s->first_kept + s->n_kept);
	s->kept[s->first_kept + s->n_kept++] = slot;
}

/* The oldest, or any, goes. */
static void drop(struct site *s, bool any)
{
	size_t i = s->first_kept + (any ? (size_t)whole(0, (int)s->n_kept - 1) : 0);
	uint32_t slot = s->kept[i];

	s->kept[i] = s->kept[s->first_kept++];
	s->n_kept--;
	release(slot);
}

static void drop_down_to(struct site *s, size_t n)
{
	while (s->n_kept > n)
		drop(s, false);
}

static void come(struct site *s)
{
	size_t before = s->n_kept;

	switch (s->fate) {
	case FATE_FREED: {
		uint32_t slot = allocate(s);

		if (uniform(0, 1) >= s->share)
			put_moment(exponential(s->lifetime), false, slot);
		return;
	}
	case FATE_CACHED:
		if (s->n_kept >= s->most) {
			if (!s->is_replacing)
				return;
			drop(s, true);
		}
		keep(s, allocate(s));
		return;
	case FATE_TOOTH:
		keep(s, allocate(s));
		if (s->n_kept >= s->most)
			drop_down_to(s, (size_t)((double)s->most * s->share));
		return;
	case FATE_QUEUED:
		keep(s, allocate(s));
		if (s->n_kept > s->most || uniform(0, 1) < s->share)
			drop(s, false);
		return;
	case FATE_WALK:
		if (s->n_kept && (s->n_kept >= s->most || uniform(0, 1) < 0.5))
			drop(s, false);
		else
			keep(s, allocate(s));
		return;
	case FATE_REPLACED:
		for (size_t i = 0; i < s->most; i++)
			keep(s, allocate(s));
		for (size_t i = 0; i < before; i++)
			drop(s, false);
		s->most += s->more;
		return;
	case FATE_ENLARGED:
		if (s->n_kept)
			enlarge(s, s->kept[s->first_kept]);
		else
			keep(s, allocate(s));
		return;
	}
}

/* How likely it does something when it may. */
static double rate_now(const struct site *s)
{
	double t = (double)(now_ns - START_NS) / 1e9, rate = 1;

	if (t < s->from || t > s->until)
		return 0;
	if (s->ramp > 0 && t - s->from < s->ramp)
		rate = (t - s->from) / s->ramp;
	if (s->period > 0)
		rate *= 1 - s->depth * (1 + sin(6.28318 * (t / s->period + s->phase))) / 2;
	return rate;
}

void simulate(void)
{
	uint64_t end = START_NS + (uint64_t)(length * 1e9);

	now_ns = START_NS;
	for (size_t i = 0; i < n_sites; i++)
		put_moment(exponential(1 / sites[i].rate), true, (uint32_t)i);
	while (n_moments && moments[0].t_ns < end) {
		struct moment m = take_moment();
		struct site *s = &sites[m.what];

		now_ns = m.t_ns;
		if (!m.is_site) {
			release(m.what);
			continue;
		}
		if (uniform(0, 1) < rate_now(s))
			for (double n = s->batch; n >= 1; n--)
				come(s);
		put_moment(s->is_regular ? uniform(0.3, 1.7) / s->rate : exponential(1 / s->rate),
			   true, m.what);
	}
}

void forget_simulation(void)
{
	for (size_t i = 0; i < n_sites; i++)
		free(sites[i].kept);
	free(moments);
	free(sizes);
	hashmap_release(&frames);
	memset(&frames, 0, sizeof(frames));
	slots_release(&slots);
	memset(&slots, 0, sizeof(slots));
	moments = NULL;
	sizes = NULL;
	n_sites = n_moments = cap_moments = cap_sizes = 0;
	n_frames = n_stacks = 0;
}
