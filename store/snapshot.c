/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

#define SNAPSHOT_VERSION 1
#define NAME_BYTES_MAX 4096
/* More memory, and addresses, than any machine has; … */
#define BYTES_MAX (1ull << 56)
/* … of all regions together, so that no sum of theirs comes near an overflow. */
#define SUM_MAX (8 * BYTES_MAX)

void snapshot_release(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_regions; i++)
		free(s->regions[i].name);
	free(s->regions);
	free(s->runs);
	*s = (struct snapshot){0};
}

struct snapshot_region *snapshot_add_region(struct snapshot *s, const struct snapshot_region *r,
					    const char *name)
{
	struct snapshot_region *to;

	ARRAY_GROW(s->regions, s->cap_regions, s->n_regions);
	to = &s->regions[s->n_regions++];
	*to = *r;
	to->name = xstrdup(name);
	to->first_run = s->n_runs;
	to->n_runs = 0;
	return to;
}

void snapshot_add_pages(struct snapshot *s, uint64_t pages, enum snapshot_page state)
{
	struct snapshot_region *r = &s->regions[s->n_regions - 1];

	if (!pages)
		return;
	if (r->n_runs && s->runs[s->n_runs - 1].state == state) {
		s->runs[s->n_runs - 1].pages += pages;
		return;
	}
	ARRAY_GROW(s->runs, s->cap_runs, s->n_runs);
	s->runs[s->n_runs++] = (struct snapshot_run){pages, state};
	r->n_runs++;
}

uint64_t snapshot_resident(const struct snapshot *s, const struct snapshot_region *r,
			   uint64_t start, uint64_t end)
{
	uint64_t at = r->start, bytes = 0;

	for (size_t i = r->first_run; i < r->first_run + r->n_runs && at < end; i++) {
		uint64_t next = at + s->runs[i].pages * SNAPSHOT_PAGE_BYTES;
		uint64_t low = at > start ? at : start, high = next < end ? next : end;

		if (s->runs[i].state == SNAPSHOT_RESIDENT && low < high)
			bytes += high - low;
		at = next;
	}
	return bytes;
}

/* ---- as bytes ---------------------------------------------------------------------- */

void snapshot_encode(const struct snapshot *s, struct buffer *b)
{
	uint64_t at = 0;

	buffer_append_varint(b, SNAPSHOT_VERSION);
	buffer_append_varint(b, s->rss_bytes);
	buffer_append_varint(b, s->swap_bytes);
	buffer_append_varint(b, s->n_regions);
	for (size_t i = 0; i < s->n_regions; i++) {
		const struct snapshot_region *r = &s->regions[i];
		size_t len = strlen(r->name);

		buffer_append_varint(b, (r->start - at) / SNAPSHOT_PAGE_BYTES);
		buffer_append_varint(b, (r->end - r->start) / SNAPSHOT_PAGE_BYTES);
		buffer_append_varint(b, r->kind);
		buffer_append_varint(b, r->rss);
		buffer_append_varint(b, r->swap);
		buffer_append_varint(b, r->huge);
		buffer_append_varint(b, r->shared);
		buffer_append_varint(b, len);
		buffer_append(b, r->name, len);
		buffer_append_varint(b, r->n_runs);
		for (size_t k = r->first_run; k < r->first_run + r->n_runs; k++)
			buffer_append_varint(b, s->runs[k].pages * SNAPSHOT_PAGE_STATES +
						s->runs[k].state);
		at = r->end;
	}
}

/* A number of at most @max. */
static bool take(struct cursor *c, uint64_t max, uint64_t *ret)
{
	*ret = cursor_varint(c);
	return !c->bad && *ret <= max;
}

static bool take_runs(struct cursor *c, uint64_t pages, uint64_t n, struct snapshot *s)
{
	for (uint64_t v; n > 0; n--) {
		if (!take(c, pages * SNAPSHOT_PAGE_STATES + SNAPSHOT_PAGE_STATES - 1, &v) ||
		    v < SNAPSHOT_PAGE_STATES || v / SNAPSHOT_PAGE_STATES > pages)
			return false;
		pages -= v / SNAPSHOT_PAGE_STATES;
		snapshot_add_pages(s, v / SNAPSHOT_PAGE_STATES,
				   (enum snapshot_page)(v % SNAPSHOT_PAGE_STATES));
	}
	return pages == 0;
}

/* *@sum: of whatever regions have by now. */
static bool take_region(struct cursor *c, uint64_t at, struct snapshot *s, uint64_t *sum)
{
	const uint64_t pages_max = UINT64_MAX / SNAPSHOT_PAGE_BYTES;
	struct snapshot_region r = {0};
	uint64_t gap, pages, kind, len, n;
	char name[NAME_BYTES_MAX + 1];

	if (!take(c, pages_max - at / SNAPSHOT_PAGE_BYTES, &gap))
		return false;
	r.start = at + gap * SNAPSHOT_PAGE_BYTES;
	if (!take(c, pages_max - r.start / SNAPSHOT_PAGE_BYTES, &pages) || !pages ||
	    pages > BYTES_MAX / SNAPSHOT_PAGE_BYTES || !take(c, SNAPSHOT_KINDS - 1, &kind) ||
	    !take(c, BYTES_MAX, &r.rss) || !take(c, BYTES_MAX, &r.swap) ||
	    !take(c, BYTES_MAX, &r.huge) || !take(c, BYTES_MAX, &r.shared) ||
	    !take(c, NAME_BYTES_MAX, &len) || len > (uint64_t)(c->end - c->p))
		return false;
	*sum += pages * SNAPSHOT_PAGE_BYTES + r.rss + r.swap + r.huge + r.shared;
	if (*sum > SUM_MAX)
		return false;
	r.end = r.start + pages * SNAPSHOT_PAGE_BYTES;
	r.kind = (enum snapshot_kind)kind;
	memcpy(name, c->p, len);
	name[len] = '\0';
	c->p += len;
	snapshot_add_region(s, &r, name);
	return take(c, (uint64_t)(c->end - c->p), &n) && (!n || take_runs(c, pages, n, s));
}

bool snapshot_decode(const void *data, size_t len, struct snapshot *ret)
{
	struct cursor c = {.p = data, .end = (const uint8_t *)data + len};
	struct snapshot s = {0};
	uint64_t version, n, at = 0, sum = 0;
	bool good = take(&c, SNAPSHOT_VERSION, &version) && version == SNAPSHOT_VERSION &&
		    take(&c, BYTES_MAX, &s.rss_bytes) && take(&c, BYTES_MAX, &s.swap_bytes) &&
		    take(&c, len, &n);

	for (uint64_t i = 0; good && i < n; i++) {
		good = take_region(&c, at, &s, &sum);
		if (good)
			at = s.regions[s.n_regions - 1].end;
	}
	if (good && c.p == c.end)
		*ret = s;
	else
		snapshot_release(&s);
	return good && c.p == c.end;
}
