/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/stacks.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

static const struct {
	const char *name, *text;
} ends[] = {
	[STACK_COMPLETE] = {NULL, "complete"},
	[STACK_CALLER] = {"caller", "caller only"},
	[STACK_TOO_DEEP] = {"too_deep", "too deep"},
	[STACK_NO_UNWIND_INFO] = {"no_unwind_info", "without unwind information"},
	[STACK_NOT_READY] = {"not_ready", "in code just mapped"},
	[STACK_UNREADABLE] = {"unreadable", "unreadable"},
	[STACK_BROKEN] = {"broken", "broken"},
	[STACK_UNSUPPORTED] = {"unsupported", "with unknown unwind information"},
	[STACK_LOST] = {"lost", "lost on the way"},
	[STACK_NO_TABLE] = {"no_table", "in a file that could not be read"},
	[STACK_END_UNKNOWN] = {"unknown", "for an unknown reason"},
	[STACK_UNRECORDED] = {"unrecorded", "not recorded"},
};

static unsigned int known_end(unsigned int end)
{
	return end < STACK_WALK_ENDS ? end : STACK_END_UNKNOWN;
}

const char *stacks_end_name(unsigned int end)
{
	return ends[known_end(end)].name;
}

const char *stacks_end_text(unsigned int end)
{
	return ends[known_end(end)].text;
}

/* Frames have ids from 1 on. */
static bool is_there(const struct catalog *c, const struct catalog_stack *s)
{
	return s->frame.v && s->frame.v < c->n_frames;
}

/* Those at one place, the inlined ones first.  False: there was no room for all. */
static bool push_functions(const struct catalog *c, struct frame_id at, struct stack_walk *to)
{
	for (; at.v; at = catalog_frame(c, at)->outer) {
		if (to->n == STACK_FRAMES_MAX)
			return false;
		to->frames[to->n++] = at;
	}
	return true;
}

void stacks_walk(const struct catalog *c, struct stack_id id, struct stack_walk *ret)
{
	const struct catalog_stack *s = catalog_stack(c, id);
	enum stack_end cut = STACK_BROKEN;

	ret->n = 0;
	if (!id.v)
		ret->end = STACK_UNRECORDED;
	else if (!is_there(c, s))
		ret->end = STACK_LOST;
	else
		ret->end = s->end < STACK_ENDS ? s->end : STACK_END_UNKNOWN;
	while (is_there(c, s)) {
		if (!push_functions(c, s->frame, ret)) {
			cut = STACK_TOO_DEEP;
			break;
		}
		if (!s->parent.v)
			return;
		s = catalog_stack(c, s->parent);
	}
	if (ret->end == STACK_COMPLETE)
		ret->end = (uint8_t)cut;
}

struct frame_id stacks_step(struct stack_steps *w)
{
	struct frame_id f = w->frame;

	if (w->n == STACK_FRAMES_MAX)
		return (struct frame_id){0};
	if (!f.v && (w->stack.v || !w->n)) {
		const struct catalog_stack *s = catalog_stack(w->catalog, w->stack);

		if (!is_there(w->catalog, s))
			return f;
		f = s->frame;
		w->stack = s->parent;
	}
	w->frame = catalog_frame(w->catalog, f)->outer;
	w->n += f.v != 0;
	return f;
}

/* ---- each once ---------------------------------------------------------------------- */

enum { UNVISITED, ON_THE_WAY, VISITED };

struct visiting {
	const struct catalog *catalog;
	uint8_t *states;
	uint32_t *way; /* to a caller that was visited, or to the outermost */
	size_t cap_way;
};

static void visit_with_callers(struct visiting *v, uint32_t id, stacks_visitor *visit, void *arg)
{
	const struct catalog *c = v->catalog;
	bool is_cut = false;
	uint32_t parent = 0;
	size_t n = 0;

	for (uint32_t at = id; at; at = c->stacks[at].parent.v) {
		if (at >= c->n_stacks || !is_there(c, &c->stacks[at]) ||
		    v->states[at] == ON_THE_WAY) {
			is_cut = true;
			break;
		}
		if (v->states[at] == VISITED) {
			parent = at;
			break;
		}
		v->states[at] = ON_THE_WAY;
		ARRAY_GROW(v->way, v->cap_way, n);
		v->way[n++] = at;
	}
	while (n--) {
		visit(arg, (struct stack_id){v->way[n]}, (struct stack_id){parent}, is_cut);
		v->states[v->way[n]] = VISITED;
		parent = v->way[n];
		is_cut = false;
	}
}

void stacks_visit(const struct catalog *c, stacks_visitor *visit, void *arg)
{
	struct visiting v = {c, xcalloc(c->n_stacks + 1, 1), NULL, 0};

	for (uint32_t i = 1; i < c->n_stacks; i++)
		if (v.states[i] == UNVISITED && is_there(c, &c->stacks[i]))
			visit_with_callers(&v, i, visit, arg);
	free(v.states);
	free(v.way);
}

/* ---- frames that read the same ------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

bool stacks_same_frame(const struct catalog *c, struct frame_id a, struct frame_id b)
{
	const struct catalog_frame *x = catalog_frame(c, a), *y = catalog_frame(c, b);

	if (x == y)
		return true;
	if (x->module.v != y->module.v)
		return false;
	if (!x->function || !y->function)
		return !x->function && !y->function && x->offset == y->offset;
	return x->line == y->line && !strcmp(x->function, y->function) &&
	       same_text(x->file, y->file);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	return hash_u64(h * 31 + v + 1);
}

static uint64_t hash_text(const char *text)
{
	return text ? hash_bytes(text, strlen(text)) : 0;
}

static uint64_t hash_frame(const struct catalog_frame *f)
{
	uint64_t h = mix(f->module.v, hash_text(f->function));

	return f->function ? mix(mix(h, hash_text(f->file)), f->line) : mix(h, f->offset);
}

uint32_t *stacks_classify_frames(const struct catalog *c)
{
	uint32_t *classes = xcalloc(c->n_frames + 1, sizeof(*classes));
	struct hashmap first = {0};

	for (uint32_t i = 1; i < c->n_frames; i++) {
		uint32_t *place = hashmap_put(&first, hash_frame(&c->frames[i]));

		if (*place == HASHMAP_NONE)
			*place = i;
		classes[i] = stacks_same_frame(c, (struct frame_id){*place}, (struct frame_id){i})
				     ? *place
				     : i;
	}
	hashmap_release(&first);
	return classes;
}

uint32_t *stacks_classify_functions(const struct catalog *c)
{
	uint32_t *classes = xcalloc(c->n_frames + 1, sizeof(*classes));
	struct hashmap first = {0};

	for (uint32_t i = 1; i < c->n_frames; i++) {
		const struct catalog_frame *f = &c->frames[i], *same;
		uint64_t h = mix(f->module.v, f->function ? hash_text(f->function) : f->offset);
		uint32_t *place = hashmap_put(&first, h);

		if (*place == HASHMAP_NONE)
			*place = i;
		same = &c->frames[*place];
		if (same->module.v == f->module.v && same_text(same->function, f->function) &&
		    (f->function || same->offset == f->offset))
			classes[i] = *place;
		else
			classes[i] = i;
	}
	hashmap_release(&first);
	return classes;
}

struct identifying {
	const struct catalog *catalog;
	const uint32_t *classes;
	uint64_t *of_frames; /* [stack] of its frames only */
	uint8_t *is_cut;     /* [stack] */
	uint64_t *ret;
};

static void identify(void *arg, struct stack_id id, struct stack_id parent, bool is_cut)
{
	struct identifying *m = arg;
	const struct catalog_stack *s = catalog_stack(m->catalog, id);
	uint8_t end = s->end < STACK_ENDS ? s->end : STACK_END_UNKNOWN;
	uint32_t here[STACK_FRAMES_MAX];
	uint64_t h = m->of_frames[parent.v];
	size_t n = 0;

	/* from the outermost on: whether a function is inlined makes no difference */
	for (struct frame_id f = s->frame; f.v && n < STACK_FRAMES_MAX;
	     f = catalog_frame(m->catalog, f)->outer)
		here[n++] = m->classes[f.v];
	while (n)
		h = mix(h, here[--n]);
	m->of_frames[id.v] = h;
	m->is_cut[id.v] = parent.v ? m->is_cut[parent.v] : is_cut;
	if (end == STACK_COMPLETE && m->is_cut[id.v])
		end = STACK_BROKEN;
	m->ret[id.v] = mix(h, end);
}

uint64_t *stacks_identities(const struct catalog *c, const uint32_t *classes)
{
	struct identifying m = {c, classes, xcalloc(c->n_stacks + 1, sizeof(*m.of_frames)),
				xcalloc(c->n_stacks + 1, 1),
				xcalloc(c->n_stacks + 1, sizeof(*m.ret))};

	for (size_t i = 0; i < c->n_stacks; i++) /* those that are not there */
		m.ret[i] = hash_u64(i ? STACK_LOST : STACK_UNRECORDED);
	stacks_visit(c, identify, &m);
	free(m.of_frames);
	free(m.is_cut);
	return m.ret;
}

/* ---- what to show of a long one ----------------------------------------------------- */

#define CYCLE_MAX 8 /* functions that call each other in turn */

/* How often the @cycle frames from @at on come again right behind them. */
static size_t repeats(const struct catalog *c, const struct stack_walk *w, size_t at, size_t cycle)
{
	size_t i = at + cycle;

	while (i < w->n && stacks_same_frame(c, w->frames[i], w->frames[i - cycle]))
		i++;
	return (i - at - cycle) / cycle;
}

/* The cycle from @at on that folds the most frames; returns how often it comes again, or 0. */
static size_t find_cycle(const struct catalog *c, const struct stack_walk *w, size_t at,
			 size_t *ret_cycle)
{
	size_t best = 0;

	for (size_t cycle = 1; cycle <= CYCLE_MAX && at + cycle < w->n; cycle++) {
		size_t n = repeats(c, w, at, cycle);

		/* two calls in a row are no recursion that needs folding */
		if (n >= 2 && n * cycle > best * *ret_cycle) {
			best = n;
			*ret_cycle = cycle;
		}
	}
	return best;
}

static size_t fold(const struct catalog *c, const struct stack_walk *w, struct stack_line *ret)
{
	size_t n = 0;

	for (size_t at = 0; at < w->n;) {
		size_t cycle = 1, again = find_cycle(c, w, at, &cycle);

		for (size_t i = 0; i < cycle; i++)
			ret[n++] = (struct stack_line){STACK_LINE_FRAME, .n = at++, .frames = 1};
		if (again)
			ret[n++] = (struct stack_line){STACK_LINE_REPEATED, .n = again,
						       .cycle = cycle, .frames = again * cycle};
		at += again * cycle;
	}
	return n;
}

/* The outer end begins at @from: not between frames and the line that says they come again. */
static size_t begin_of_outer(const struct stack_line *lines, size_t n, size_t from)
{
	for (size_t i = from; i < n; i++)
		if (lines[i].kind == STACK_LINE_REPEATED)
			return i - from < lines[i].cycle ? i + 1 : from;
	return from;
}

size_t stacks_lines(const struct catalog *c, const struct stack_walk *w, size_t max,
		    struct stack_line *ret)
{
	struct stack_line out = {.kind = STACK_LINE_LEFT_OUT};
	size_t n = fold(c, w, ret), inner = max - max / 3, outer;

	if (!max || n <= max + 1) /* leaving out one saves nothing */
		return n;
	outer = begin_of_outer(ret, n, n - max / 3);
	for (size_t i = inner; i < outer; i++)
		out.frames += ret[i].frames;
	out.n = out.frames;
	ret[inner] = out;
	memmove(ret + inner + 1, ret + outer, (n - outer) * sizeof(*ret));
	return inner + 1 + n - outer;
}

/* ---- how complete they are ---------------------------------------------------------- */

static void add(struct stack_count *count, uint64_t alloc_calls)
{
	count->stacks++;
	count->alloc_calls += alloc_calls;
}

/* How many frames a walk from each stack would see, as far as it is known. */
struct depths {
	const struct catalog *catalog;
	uint32_t *of_stacks; /* [stack] 0: not known yet */
	uint32_t way[STACK_FRAMES_MAX];
};

#define DEPTH_IS_CUT (1u << 31) /* set where a caller is not there */

static uint32_t frames_at(const struct catalog *c, struct frame_id f)
{
	uint32_t n = 0;

	for (; f.v && n <= STACK_FRAMES_MAX; f = catalog_frame(c, f)->outer)
		n++;
	return n;
}

static uint32_t depth_of(struct depths *d, struct stack_id id)
{
	const struct catalog *c = d->catalog;
	uint32_t at = id.v, n = 0, depth = 0;

	while (at && !depth) {
		if (n == STACK_FRAMES_MAX) /* each has one at least */
			return STACK_FRAMES_MAX + 1;
		if (!is_there(c, catalog_stack(c, (struct stack_id){at}))) {
			depth = DEPTH_IS_CUT;
		} else if (d->of_stacks[at]) {
			depth = d->of_stacks[at];
		} else {
			d->way[n++] = at;
			at = c->stacks[at].parent.v;
		}
	}
	while (n--) {
		uint32_t frames = frames_at(c, c->stacks[d->way[n]].frame);

		if ((depth & ~DEPTH_IS_CUT) <= STACK_FRAMES_MAX)
			depth += frames;
		d->of_stacks[d->way[n]] = depth;
	}
	return depth;
}

/* What stacks_walk() would say. */
static unsigned int end_of(struct depths *d, struct stack_id id)
{
	const struct catalog_stack *s = catalog_stack(d->catalog, id);
	unsigned int end = s->end < STACK_ENDS ? s->end : STACK_END_UNKNOWN;
	uint32_t depth;

	if (!id.v)
		return STACK_UNRECORDED;
	if (!is_there(d->catalog, s))
		return STACK_LOST;
	if (end != STACK_COMPLETE)
		return end;
	depth = depth_of(d, id);
	if ((depth & ~DEPTH_IS_CUT) > STACK_FRAMES_MAX)
		return STACK_TOO_DEEP;
	return depth & DEPTH_IS_CUT ? STACK_BROKEN : STACK_COMPLETE;
}

void stacks_count(const struct catalog *c, const struct analysis *a, struct stack_counts *ret)
{
	struct depths d = {.catalog = c,
			   .of_stacks = xcalloc(c->n_stacks + 1, sizeof(*d.of_stacks))};

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < a->n_stacks; i++) {
		if (!a->stacks[i].alloc_calls) /* of blocks from before: it is none */
			continue;
		add(&ret->ends[end_of(&d, a->stacks[i].stack)], a->stacks[i].alloc_calls);
		add(&ret->all, a->stacks[i].alloc_calls);
	}
	free(d.of_stacks);
}

bool stacks_have_frames(const struct stack_counts *counts)
{
	return counts->ends[STACK_CALLER].stacks + counts->ends[STACK_UNRECORDED].stacks <
	       counts->all.stacks;
}

static int by_calls(const void *a, const void *b)
{
	const struct stack_blame *x = a, *y = b;

	if (x->count.alloc_calls != y->count.alloc_calls)
		return x->count.alloc_calls < y->count.alloc_calls ? 1 : -1;
	if (x->module.v != y->module.v)
		return x->module.v < y->module.v ? -1 : 1;
	return x->end - y->end;
}

void stacks_blame(const struct catalog *c, const struct analysis *a, struct stack_blames *ret)
{
	struct hashmap index = {0};
	struct stack_walk w;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < a->n_stacks; i++) {
		struct frame_id outermost = {0};
		struct module_id module;
		uint32_t *place;

		stacks_walk(c, a->stacks[i].stack, &w);
		if (w.end == STACK_COMPLETE || w.end == STACK_CALLER || w.end == STACK_UNRECORDED)
			continue;
		if (w.n)
			outermost = w.frames[w.n - 1];
		module = catalog_frame(c, outermost)->module;
		place = hashmap_put(&index, (uint64_t)module.v << 8 | w.end);
		if (*place == HASHMAP_NONE) {
			*place = (uint32_t)ret->n;
			ARRAY_GROW(ret->blames, ret->cap, ret->n);
			ret->blames[ret->n++] = (struct stack_blame){module, w.end, {0}};
		}
		add(&ret->blames[*place].count, a->stacks[i].alloc_calls);
	}
	hashmap_release(&index);
	if (ret->n)
		qsort(ret->blames, ret->n, sizeof(*ret->blames), by_calls);
}

void stacks_blame_release(struct stack_blames *b)
{
	free(b->blames);
	memset(b, 0, sizeof(*b));
}
