/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots as bytes: any comes back, and whatever else is read does no harm. */
#include "config.h"
#include "store/snapshot.h"

#include <string.h>

#include "tests/unit/tap.h"

static void fill(struct snapshot *s)
{
	uint64_t at = random_below(1 << 20) * SNAPSHOT_PAGE_BYTES;

	s->rss_bytes = random_below(1ull << 50);
	s->swap_bytes = random_below(1 << 20);
	for (uint64_t n = random_below(20); n > 0; n--) {
		struct snapshot_region r = {.start = at};
		uint64_t pages = 1 + random_below(random_below(4) ? 300 : 1ull << 30), left = pages;
		char name[40];

		r.end = r.start + pages * SNAPSHOT_PAGE_BYTES;
		r.kind = (enum snapshot_kind)random_below(SNAPSHOT_KINDS);
		r.rss = random_below(1ull << 40);
		r.swap = random_below(2) * random_below(1ull << 40);
		r.huge = random_below(3) << 21;
		r.shared = random_below(100);
		snprintf(name, sizeof(name), "%.*s", (int)random_below(30),
			 "/usr/lib/a name \033[31m of a file");
		snapshot_add_region(s, &r, name);
		while (random_below(4) && left > 0) {
			uint64_t run = 1 + random_below(left);

			snapshot_add_pages(s, run, (enum snapshot_page)random_below(
							   SNAPSHOT_PAGE_STATES));
			left -= run;
		}
		if (s->regions[s->n_regions - 1].n_runs)
			snapshot_add_pages(s, left, SNAPSHOT_ABSENT);
		at = r.end + random_below(3) * random_below(1ull << 24) * SNAPSHOT_PAGE_BYTES;
	}
}

static bool are_same(const struct snapshot *a, const struct snapshot *b)
{
	if (a->rss_bytes != b->rss_bytes || a->swap_bytes != b->swap_bytes ||
	    a->n_regions != b->n_regions || a->n_runs != b->n_runs)
		return false;
	for (size_t i = 0; i < a->n_regions; i++) {
		const struct snapshot_region *x = &a->regions[i], *y = &b->regions[i];

		if (x->start != y->start || x->end != y->end || x->kind != y->kind ||
		    x->rss != y->rss || x->swap != y->swap || x->huge != y->huge ||
		    x->shared != y->shared || x->first_run != y->first_run ||
		    x->n_runs != y->n_runs || strcmp(x->name, y->name))
			return false;
	}
	for (size_t i = 0; i < a->n_runs; i++)
		if (a->runs[i].pages != b->runs[i].pages || a->runs[i].state != b->runs[i].state)
			return false;
	return true;
}

/* What readers rely on. */
static bool is_sound(const struct snapshot *s)
{
	uint64_t at = 0;

	for (size_t i = 0; i < s->n_regions; i++) {
		const struct snapshot_region *r = &s->regions[i];
		uint64_t pages = 0;

		if (r->start < at || r->end <= r->start || r->kind >= SNAPSHOT_KINDS)
			return false;
		at = r->end;
		for (size_t k = r->first_run; k < r->first_run + r->n_runs; k++) {
			if (k >= s->n_runs || !s->runs[k].pages ||
			    s->runs[k].state >= SNAPSHOT_PAGE_STATES)
				return false;
			pages += s->runs[k].pages;
		}
		if (r->n_runs && pages != (r->end - r->start) / SNAPSHOT_PAGE_BYTES)
			return false;
	}
	return true;
}

int main(void)
{
	int same = 0, sound = 0, refused_cut = 0, cut = 0;

	seed_random();
	for (int i = 0; i < 2000; i++) {
		struct snapshot s = {0}, back = {0}, other = {0};
		struct buffer b = {0};
		size_t len;
		uint8_t *copy;

		fill(&s);
		snapshot_encode(&s, &b);
		same += snapshot_decode(b.data, b.len, &back) && are_same(&s, &back);
		/* of its own size, so that a sanitizer sees what is read past the end */
		len = (size_t)random_below(b.len);
		copy = malloc(len + 1);
		memcpy(copy, b.data, len);
		cut++;
		refused_cut += !snapshot_decode(copy, len, &other);
		free(copy);
		for (int k = 0; k < 20; k++) {
			struct snapshot flipped = {0};

			b.data[random_below(b.len)] = (uint8_t)random_u64();
			sound += !snapshot_decode(b.data, b.len, &flipped) || is_sound(&flipped);
			snapshot_release(&flipped);
		}
		snapshot_release(&s);
		snapshot_release(&back);
		snapshot_release(&other);
		buffer_release(&b);
	}
	ok(same == 2000, "%d of 2000 snapshots come back", same);
	ok(refused_cut == cut, "%d of %d that were cut are refused", refused_cut, cut);
	ok(sound == 40000, "%d of 40000 with other bytes are refused, or sound", sound);
	return done();
}
