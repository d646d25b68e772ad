/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/snapshots.h"

#include <getopt.h>
#include <stdio.h>

#include "collector/memory.h"
#include "common/format.h"
#include "store/writer.h"

/* Near peaks: smaller heaps are not worth it, and no two within so long. */
#define PEAK_BYTES_MIN (1u << 20)
#define PEAK_EVERY_NS 100000000ull
#define EVERY_MIN_NS 10000000ull

static bool is_due(void *arg, const struct drain *drain, uint64_t now_ns)
{
	struct snapshots *s = arg;

	if (s->every_ns && !s->next_ns)
		s->next_ns = now_ns + s->every_ns;
	if (s->every_ns && now_ns >= s->next_ns) {
		s->next_ns += (now_ns - s->next_ns) / s->every_ns * s->every_ns + s->every_ns;
		s->reason = "every";
		return true;
	}
	if (!s->at_peaks || now_ns < s->not_before_ns || drain->live_bytes < PEAK_BYTES_MIN ||
	    drain->live_bytes - drain->live_bytes / 11 <= s->peak_bytes)
		return false;
	s->not_before_ns = now_ns + PEAK_EVERY_NS;
	s->reason = "peak";
	return true;
}

static void held(void *arg, const struct look *l)
{
	struct snapshots *s = arg;

	s->failed = memory_read(l->hold, &s->snapshot, &s->err) < 0;
}

/* ---- written when it goes on again ---------------------------------------------------- */

static struct snapshot_region *region_of(struct snapshot *s, uint64_t address)
{
	size_t low = 0, high = s->n_regions;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->regions[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->n_regions && s->regions[low].start <= address ? &s->regions[low] : NULL;
}

/*
 * Anonymous memory in which an allocator's blocks are, or were, is the heap's: a slot that is
 * free still has the address of the block that was there last.  Returns how many bytes of
 * glibc's blocks with mappings of their own are resident elsewhere.
 */
static uint64_t mark_heap(struct snapshot *s, const struct replay *heap)
{
	struct snapshot_region *r = NULL;
	uint64_t bytes = 0;

	for (uint32_t slot = 0; slot < heap->slots.next; slot++) {
		const struct replay_cell *c = replay_at(heap, slot);
		bool has_mapping = false;
		struct replay_block b;

		if (replay_layer_of(&heap->layers, c->family) ||
		    (c->family == FAMILY_LIBC && !c->is_live))
			continue;
		/* glibc's main arena has others, where the program break cannot be moved */
		if (c->family == FAMILY_LIBC) {
			b = replay_block_in(heap, slot);
			has_mapping = replay_is_mapped(&b);
		}
		if (!r || c->address < r->start || c->address >= r->end)
			r = region_of(s, c->address);
		if (!r || r->kind != SNAPSHOT_ANONYMOUS || !r->n_runs)
			continue;
		if (has_mapping)
			bytes += snapshot_resident(s, r, (b.address - 1) / SNAPSHOT_PAGE_BYTES *
							 SNAPSHOT_PAGE_BYTES,
						   b.address + b.usable);
		else
			r->kind = SNAPSHOT_MALLOC;
	}
	return bytes;
}

static uint64_t heap_bytes(const struct snapshot *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->n_regions; i++)
		bytes += snapshot_is_heap(s->regions[i].kind) ? s->regions[i].rss : 0;
	return bytes;
}

static void put(struct snapshots *s, const struct look *l, uint64_t held_ns)
{
	struct snapshot_info i = {
		.space = l->drain->space.id,
		.t_ns = l->t_ns,
		.reason = l->when == LOOK_AT_EXIT  ? "exit"
			  : l->when == LOOK_AT_END ? "end"
			  : l->when == LOOK_ASKED  ? "asked"
						   : s->reason,
		.held_ns = held_ns,
		.rss_bytes = s->snapshot.rss_bytes,
		.live_bytes = l->drain->live_bytes,
	};

	i.heap_bytes = mark_heap(&s->snapshot, &l->drain->heap);
	i.heap_bytes += heap_bytes(&s->snapshot);
	store_writer_put_snapshot(l->writer, &i, &s->snapshot);
	s->taken++;
	s->held_ns += held_ns;
	s->longest_ns = held_ns > s->longest_ns ? held_ns : s->longest_ns;
}

static void say_failure(const struct err *e)
{
	say("warning: no snapshot of the memory: %s", e->what);
	if (e->hint[0])
		fprintf(stderr, "hint: %s\n", e->hint);
}

static void after(void *arg, const struct look *l, uint64_t held_ns, const struct err *err)
{
	struct snapshots *s = arg;
	const struct err *failure = err ? err : s->failed ? &s->err : NULL;

	if (!failure)
		put(s, l, held_ns);
	else if (s->is_asked || l->when == LOOK_ASKED)
		say_failure(failure);
	if (!failure && l->drain->live_bytes > s->peak_bytes)
		s->peak_bytes = l->drain->live_bytes;
	s->failed = false;
	snapshot_release(&s->snapshot);
}

int snapshots_parse(const struct command *c, struct snapshots *s, int option)
{
	s->is_asked = true;
	if (option == OPTION_FRAG_PEAKS)
		s->at_peaks = true;
	else if (!parse_duration(optarg, &s->every_ns) || s->every_ns < EVERY_MIN_NS)
		return usage_error(c, "--frag-every is a time such as 10s or 5m, 10ms at least, "
				      "not '%s'", optarg);
	return 0;
}

void snapshots_begin(struct snapshots *s, struct session_options *o)
{
	bool at_end = s->at_end || (s->is_asked && o->pid);

	looks_add(&o->looks, &(struct look_observer){
		.arg = s,
		/* what was attached to has no stop in its exit */
		.at = LOOK_ASKED | (o->pid ? 0 : LOOK_AT_EXIT) | (at_end ? LOOK_AT_END : 0),
		.needs_heap = true,
		.is_due = s->every_ns || s->at_peaks ? is_due : NULL,
		.held = held,
		.after = after,
	});
}

void snapshots_release(struct snapshots *s)
{
	snapshot_release(&s->snapshot);
}
