/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/frag.h"

#include "cli/stack_view.h"
#include "common/json.h"

static void put_snapshots(const struct frag *f, struct json *j)
{
	double per_hour;
	struct growth g = fragmentation_list_trend(&f->list, f->at, &per_hour);

	json_begin_array(j, "snapshots");
	for (size_t i = 0; i < f->list.n; i++) {
		const struct snapshot_info *s = &f->list.items[i];

		json_begin_object(j, NULL);
		json_u64(j, "time_ns", view_since_start(f->view, s->t_ns));
		json_string(j, "reason", s->reason);
		json_u64(j, "held_ns", s->held_ns);
		json_u64(j, "rss_bytes", s->rss_bytes);
		json_u64(j, "heap_bytes", s->heap_bytes);
		json_u64(j, "live_bytes", s->live_bytes);
		json_end_object(j);
	}
	json_end_array(j);
	json_begin_object(j, "trend");
	json_string(j, "shape", growth_shape_name(g.shape));
	json_bool(j, "growing", g.is_growing);
	json_double(j, "bytes_per_hour", per_hour);
	json_end_object(j);
}

static void put_sites(const struct frag *f, struct json *j)
{
	uint64_t now = f->list.items[f->at].t_ns;

	json_begin_array(j, "pinned_by");
	for (size_t i = 0; i < f->f.n_sites; i++) {
		const struct fragmentation_site *s = &f->f.sites[i];

		if (!(s->wasted + s->shared_wasted) && !s->rounding)
			continue;
		json_begin_object(j, NULL);
		json_u64(j, "wasted_bytes", s->wasted + s->shared_wasted);
		json_u64(j, "wasted_alone_bytes", s->wasted);
		json_u64(j, "pages_alone", s->pages);
		json_u64(j, "pages_shared", s->shared_pages);
		json_u64(j, "blocks", s->blocks);
		json_u64(j, "requested_bytes", s->requested);
		json_u64(j, "rounding_bytes", s->rounding);
		if (f->usual_ns && f->usual_ns[i])
			json_u64(j, "usual_lifetime_ns", f->usual_ns[i]);
		else if (f->usual_ns)
			json_string(j, "usual_lifetime_ns", NULL);
		if (s->oldest_ns) {
			json_u64(j, "oldest_age_ns", now > s->oldest_ns ? now - s->oldest_ns : 0);
			json_u64(j, "newest_age_ns", now > s->newest_ns ? now - s->newest_ns : 0);
		}
		stack_view_json_frames(f->view, s->stack, j);
		json_end_object(j);
	}
	json_end_array(j);
}

static void put_arenas(const struct frag *f, struct json *j)
{
	json_begin_array(j, "regions");
	for (size_t i = 0; i < f->f.n_arenas; i++) {
		const struct fragmentation_arena *r = &f->f.arenas[i];

		json_begin_object(j, NULL);
		json_string(j, "kind", frag_kind_text(r->kind));
		json_u64(j, "start", r->start);
		json_u64(j, "end", r->end);
		json_u64(j, "resident_bytes", r->resident);
		json_u64(j, "swapped_bytes", r->swapped);
		json_u64(j, "live_bytes", r->live);
		json_u64(j, "free_inside_bytes", r->free_inside);
		json_u64(j, "free_page_bytes", r->free_pages);
		json_u64(j, "blocks", r->blocks);
		json_end_object(j);
	}
	json_end_array(j);
}

static void put_holes_and_classes(const struct frag *f, struct json *j)
{
	json_begin_array(j, "holes");
	for (size_t i = 0; i < f->f.n_holes && !f->unknown; i++) {
		json_begin_object(j, NULL);
		json_u64(j, "start", f->f.holes[i].start);
		json_u64(j, "bytes", f->f.holes[i].bytes);
		json_u64(j, "resident_bytes", f->f.holes[i].resident);
		json_end_object(j);
	}
	json_end_array(j);
	json_begin_array(j, "size_classes");
	for (size_t i = 0; i < f->f.n_classes; i++) {
		json_begin_object(j, NULL);
		json_u64(j, "usable_bytes_max", f->f.classes[i].usable);
		json_u64(j, "blocks", f->f.classes[i].blocks);
		json_u64(j, "requested_bytes", f->f.classes[i].requested);
		json_u64(j, "rounding_bytes", f->f.classes[i].rounding);
		json_end_object(j);
	}
	json_end_array(j);
}

static void put_mapped(const struct frag *f, struct json *j)
{
	json_begin_array(j, "mapped_by");
	for (size_t i = 0; i < f->f.n_mapped; i++) {
		const struct fragmentation_mapped *m = &f->f.mapped[i];

		json_begin_object(j, NULL);
		json_u64(j, "resident_bytes", m->resident);
		json_u64(j, "swapped_bytes", m->swapped);
		stack_view_json_frames(f->view, m->stack, j);
		json_end_object(j);
	}
	json_end_array(j);
}

static void put_map(const struct frag *f, struct json *j)
{
	json_begin_array(j, "map");
	for (size_t i = 0; i < f->map.n; i++) {
		const struct heap_cell *c = &f->map.cells[i];

		json_begin_object(j, NULL);
		json_u64(j, "address", c->address);
		json_u64(j, "pages", f->map.pages_each);
		json_u64(j, "resident_pages", c->resident);
		json_u64(j, "live_bytes", c->live_bytes);
		json_end_object(j);
	}
	json_end_array(j);
}

/* Of a million: JSON has no need of more. */
static uint64_t millionths(double share)
{
	return (uint64_t)(share * 1000000 + 0.5);
}

void frag_json(const struct frag *f, const struct frag_options *o, FILE *out)
{
	struct json j = {.out = out};
	const struct fragmentation *x = &f->f;

	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-frag/1");
	view_json_recording(f->view, &j);
	json_u64(&j, "time_ns", view_since_start(f->view, f->list.items[f->at].t_ns));
	json_string(&j, "reason", f->list.items[f->at].reason);
	json_u64(&j, "held_ns", f->list.items[f->at].held_ns);
	json_u64(&j, "rss_bytes", x->rss);
	json_begin_object(&j, "parts");
	for (int p = 0; p < PARTS; p++)
		json_u64(&j, frag_part_key(p), x->parts[p]);
	json_end_object(&j);
	json_string(&j, "unknown_because", f->unknown);
	json_u64(&j, "heap_resident_bytes", x->heap_resident);
	json_u64(&j, "heap_reserved_bytes", x->heap_reserved);
	json_u64(&j, "heap_swapped_bytes", x->heap_swapped);
	json_u64(&j, "heap_huge_page_bytes", x->heap_huge);
	json_u64(&j, "shared_bytes", x->shared);
	json_u64(&j, "live_bytes", x->live_requested);
	json_u64(&j, "live_blocks", x->live_blocks);
	json_u64(&j, "usable_bytes", x->live_usable);
	json_u64(&j, "usable_unknown_blocks", x->usable_unknown);
	json_u64(&j, "not_resident_bytes", x->not_resident);
	json_u64(&j, "internal_ppm", millionths(fragmentation_internal(x)));
	json_u64(&j, "external_ppm", millionths(fragmentation_external(x)));
	if (f->unknown)
		json_string(&j, "returnable_bytes", NULL);
	else
		json_u64(&j, "returnable_bytes", fragmentation_returnable(x));
	json_u64(&j, "pinned_pages", x->pinned_pages);
	json_u64(&j, "pinned_bytes", x->pinned_wasted);
	put_sites(f, &j);
	put_arenas(f, &j);
	put_holes_and_classes(f, &j);
	put_mapped(f, &j);
	if (o->map)
		put_map(f, &j);
	put_snapshots(f, &j);
	json_end_object(&j);
}
