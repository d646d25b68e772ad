/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The split of resident memory, against one that is made byte by byte. */
#include "config.h"
#include "analyzer/fragmentation_load.h"
#include "common/xalloc.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/tap.h"

#define PAGE ((uint64_t)SNAPSHOT_PAGE_BYTES)
#define PAGES 200
#define BASE 0x10000000ull
#define STACKS 5
#define LIBC 1
#define OTHER 2

/* What each byte of the address space is. */
enum use { FREE, REQUESTED, ROUNDING, HEADER, BEFORE, USES };
static uint8_t use[PAGES * SNAPSHOT_PAGE_BYTES], owner[PAGES * SNAPSHOT_PAGE_BYTES];
static struct snapshot snapshot;
static struct fragmentation_blocks blocks;
static enum snapshot_page states[PAGES];
static enum snapshot_kind kinds[PAGES];

static void mark(uint64_t from, uint64_t n, enum use what, uint32_t stack)
{
	for (uint64_t i = from; i < from + n; i++) {
		use[i - BASE] = what;
		owner[i - BASE] = (uint8_t)stack;
	}
}

/* Regions side by side, or with a gap; blocks only where an allocator is. */
static void make_regions(void)
{
	snapshot_release(&snapshot);
	memset(states, 0, sizeof(states));
	for (uint64_t at = 0; at < PAGES;) {
		uint64_t n = 1 + random_below(40), i;
		static const enum snapshot_kind choice[] = {SNAPSHOT_BRK, SNAPSHOT_ARENA,
							    SNAPSHOT_MALLOC, SNAPSHOT_ANONYMOUS};
		struct snapshot_region r = {.kind = choice[random_below(4)]};

		n = at + n > PAGES ? PAGES - at : n;
		r.start = BASE + at * PAGE;
		r.end = r.start + n * PAGE;
		snapshot_add_region(&snapshot, &r, "");
		for (i = 0; i < n; i++) {
			states[at + i] = random_below(5) ? SNAPSHOT_RESIDENT
							 : (enum snapshot_page)random_below(
								   SNAPSHOT_PAGE_STATES);
			kinds[at + i] = r.kind;
			snapshot_add_pages(&snapshot, 1, states[at + i]);
			snapshot.rss_bytes += states[at + i] == SNAPSHOT_RESIDENT ? PAGE : 0;
		}
		at += n;
	}
}

static void make_blocks(void)
{
	memset(use, 0, sizeof(use));
	fragmentation_blocks_release(&blocks);
	for (uint64_t at = BASE + 16; at < BASE + PAGES * PAGE;) {
		uint64_t usable = random_below(8) ? 24 + 16 * random_below(60)
						  : 24 + 16 * random_below(3000);
		struct replay_block b = {.address = at, .usable = usable, .t_ns = at,
					 .family = random_below(2) ? LIBC : OTHER};

		b.size = usable - random_below(16);
		if (random_below(5))
			b.thread.v = 1;
		else
			b.size = usable; /* from before: no thread made it */
		b.stack.v = 1 + (uint32_t)random_below(STACKS);
		if (at + usable + 16 > BASE + PAGES * PAGE)
			break;
		if (random_below(3)) {
			fragmentation_add(&blocks, &b);
			mark(at, b.size, b.thread.v ? REQUESTED : BEFORE, b.stack.v);
			mark(at + b.size, usable - b.size, ROUNDING, b.stack.v);
			if (b.family == LIBC)
				mark(at - 8, 8, HEADER, b.stack.v);
		}
		at += usable + 8 + 16 * (random_below(20) ? 0 : random_below(2000));
	}
}

struct expected {
	uint64_t parts[PARTS], pinned, wasted, alone[STACKS + 1], shared[STACKS + 1];
	uint64_t not_resident;
};

static void count_page(struct expected *e, uint64_t page)
{
	uint64_t n[USES] = {0}, live;
	bool has[STACKS + 1] = {false};
	int users = 0, user = 0;

	for (uint64_t i = page * PAGE; i < (page + 1) * PAGE; i++) {
		n[use[i]]++;
		if (use[i])
			has[owner[i]] = true;
	}
	for (int i = 1; i <= STACKS; i++) {
		users += has[i];
		user = has[i] ? i : user;
	}
	live = PAGE - n[FREE];
	if (states[page] != SNAPSHOT_RESIDENT) {
		e->not_resident += n[REQUESTED] + n[BEFORE];
		return;
	}
	if (kinds[page] == SNAPSHOT_ANONYMOUS && !live) {
		e->parts[PART_ANONYMOUS] += PAGE;
		return;
	}
	e->parts[PART_REQUESTED] += n[REQUESTED];
	e->parts[PART_ROUNDING] += n[ROUNDING];
	e->parts[PART_HEADERS] += n[HEADER];
	e->parts[PART_BEFORE] += n[BEFORE];
	e->parts[live ? PART_FREE_INSIDE : PART_FREE_PAGES] += n[FREE];
	if (!live || live >= PAGE / 2)
		return;
	e->pinned++;
	e->wasted += n[FREE];
	if (users == 1)
		e->alone[user] += n[FREE];
	for (int i = 1; i <= STACKS; i++)
		e->shared[i] += has[i] && users > 1;
}

struct seen {
	uint64_t pages, next, live;
	int mistakes;
};

static void see(void *arg, const struct fragmentation_pages *p)
{
	struct seen *s = arg;

	s->mistakes += p->address < s->next || !p->pages || p->live > PAGE ||
		       states[(p->address - BASE) / PAGE] != p->state;
	s->next = p->address + p->pages * PAGE;
	s->pages += p->pages;
	s->live += p->state == SNAPSHOT_RESIDENT ? p->pages * p->live : 0;
}

static bool is_as_expected(const struct fragmentation *f, const struct seen *s)
{
	struct expected e = {0};
	uint64_t shared_wasted = 0, alone = 0;
	bool good = !s->mistakes;

	for (uint64_t i = 0; i < PAGES; i++)
		count_page(&e, i);
	good &= !memcmp(f->parts, e.parts, sizeof(e.parts)) && f->not_resident == e.not_resident &&
		f->pinned_pages == e.pinned && f->pinned_wasted == e.wasted && !f->outside;
	good &= s->live == e.parts[PART_REQUESTED] + e.parts[PART_ROUNDING] +
				   e.parts[PART_HEADERS] + e.parts[PART_BEFORE];
	for (size_t i = 0; i < f->n_sites; i++) {
		const struct fragmentation_site *x = &f->sites[i];

		good &= x->wasted == e.alone[x->site] && x->shared_pages == e.shared[x->site];
		shared_wasted += x->shared_wasted;
		alone += x->wasted;
	}
	return good && shared_wasted + alone == e.wasted;
}

/* The largest free ranges of regions that are an allocator's. */
static bool has_largest_hole(const struct fragmentation *f)
{
	uint64_t most = 0, run = 0;

	for (size_t r = 0; r < snapshot.n_regions; r++) {
		const struct snapshot_region *x = &snapshot.regions[r];

		run = 0;
		for (uint64_t i = x->start; i < x->end; i++) {
			run = use[i - BASE] ? 0 : run + 1;
			if (snapshot_is_heap(x->kind) && run > most)
				most = run;
		}
	}
	return f->n_holes ? f->holes[0].bytes >= most : !most;
}

/* What the heap holds beyond live blocks, at so many snapshots: by what is it told? */
static void test_trend(void)
{
	static struct snapshot_info items[100];
	struct fragmentation_list l = {.items = items, .n = COUNT_OF(items)};
	double per_hour;
	struct growth g;

	for (size_t i = 0; i < l.n; i++)
		items[i] = (struct snapshot_info){.reason = "every", .t_ns = 1000 + i * 60000000000ull,
						  .live_bytes = 1000000 + random_below(500000)};
	for (size_t i = 0; i < l.n; i++)
		items[i].heap_bytes = items[i].live_bytes + 5000000 + i * 100000;
	g = fragmentation_list_trend(&l, l.n - 1, &per_hour);
	ok(g.is_growing && per_hour > 5.9e6 && per_hour < 6.1e6,
	   "6 MB more an hour are told: %s, %.0f", growth_shape_text(g.shape), per_hour);
	items[l.n - 1].reason = "exit";
	items[l.n - 1].live_bytes = 0;
	items[l.n - 1].heap_bytes += 20000000;
	g = fragmentation_list_trend(&l, l.n - 1, &per_hour);
	ok(g.is_growing && per_hour < 6.1e6, "also if all is freed in the exit: %.0f", per_hour);
	for (size_t i = 0; i < l.n; i++)
		items[i].heap_bytes = items[i].live_bytes + 5000000 + random_below(10000);
	g = fragmentation_list_trend(&l, l.n - 1, &per_hour);
	ok(!g.is_growing, "what stays does not grow: %s", growth_shape_text(g.shape));
	g = fragmentation_list_trend(&l, GROWTH_WINDOWS_MIN - 2, &per_hour);
	ok(g.shape == GROWTH_SHORT, "of few it is not told");
	for (size_t i = 0; i < l.n; i++)
		items[i].t_ns = 5;
	g = fragmentation_list_trend(&l, l.n - 1, &per_hour);
	ok(g.shape == GROWTH_SHORT, "nor of a single moment");
}

int main(void)
{
	int right = 0, holes = 0, sums = 0;

	seed_random();
	for (int i = 0; i < 300; i++) {
		struct seen seen = {0};
		struct fragmentation f;
		struct fragmentation_options o = {.visit = see, .arg = &seen};
		uint64_t sum = 0;

		make_regions();
		make_blocks();
		fragmentation_make(&f, &snapshot, &blocks, &o);
		right += is_as_expected(&f, &seen);
		holes += has_largest_hole(&f);
		for (int p = 0; p < PARTS; p++)
			sum += f.parts[p];
		sums += sum == f.rss && f.rss == snapshot.rss_bytes && !f.parts[PART_UNEXPLAINED];
		fragmentation_release(&f);
	}
	test_trend();
	ok(right == 300, "%d of 300 heaps are taken apart as byte by byte", right);
	ok(holes == 300, "%d of 300 largest holes", holes);
	ok(sums == 300, "%d of 300 add up", sums);
	fragmentation_blocks_release(&blocks);
	snapshot_release(&snapshot);
	return done();
}
