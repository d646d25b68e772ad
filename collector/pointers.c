/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/pointers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/address_index.h"
#include "common/clock.h"
#include "common/xalloc.h"

/* What is read at once: it stays in a processor's own cache while it is gone through. */
#define BATCH_BYTES ((size_t)512 << 10)
#define RANGES_MAX 512 /* the kernel takes 1024 */
#define PIECES_MAX 16384
/* What lies between two blocks is read too, up to so many bytes: another range costs more. */
#define GAP_MAX 2048
/* Of a block that is larger, the kernel is asked what of it has been written to. */
#define LARGE_BYTES ((uint64_t)1 << 20)
/* Pointers that are looked up together, so that they wait for memory together. */
#define CANDIDATES 256
/* Fewer bytes are not worth a thread. */
#define PART_BYTES_MIN ((uint64_t)1 << 20)

#define ROOT SIZE_MAX
#define HEAD_BYTES 16

/* What the threads have in common. */
struct finding {
	struct pointers *to;
	const struct pointers_memory *memory;
	struct address_index index;
	uint64_t (*heads)[HEAD_BYTES / 8]; /* [block] its first words */
	uint64_t deadline_ns;
	atomic_int error;
};

/* A thread's reading of its part. */
struct reading {
	struct finding *finding;
	struct pointers_part *part;
	size_t *begin; /* pointers.begin; NULL: of no blocks */
	size_t begun;  /* of the part's blocks those before have their beginning */
	uint64_t *bytes;
	struct pointers_range ranges[RANGES_MAX];
	size_t n_ranges, used;
	struct piece {
		size_t block; /* or ROOT */
		uint64_t start, end;
		size_t at; /* in @bytes */
	} pieces[PIECES_MAX];
	size_t n_pieces;
	struct candidate {
		size_t block;
		uint64_t value;
		const uint32_t *page;
	} candidates[CANDIDATES];
	size_t n_candidates;
};

/* ---- words ---------------------------------------------------------------------------- */

static void begin_blocks(struct reading *r, size_t until)
{
	while (r->begun < until)
		r->begin[r->begun++] = r->part->n_edges;
}

static void add_edge(struct reading *r, size_t block, uint32_t edge)
{
	struct pointers_part *p = r->part;

	if (block != ROOT)
		begin_blocks(r, block + 1);
	ARRAY_GROW(p->edges, p->cap_edges, p->n_edges);
	p->edges[p->n_edges++] = edge;
}

static void look_up(struct reading *r)
{
	const struct address_index *x = &r->finding->index;

	for (size_t i = 0; i < r->n_candidates; i++) {
		__builtin_prefetch(&x->blocks[r->candidates[i].page[0]]);
		__builtin_prefetch(&x->blocks[r->candidates[i].page[1]]);
	}
	for (size_t i = 0; i < r->n_candidates; i++) {
		const struct candidate *c = &r->candidates[i];
		uint32_t to = address_index_find(x, c->page, c->value);

		if (to == ADDRESS_INDEX_NONE || to == c->block)
			continue;
		if (x->blocks[to].address == c->value) {
			add_edge(r, c->block, to);
			continue;
		}
		add_edge(r, c->block, to | POINTERS_INSIDE);
		ARRAY_GROW(r->part->inside, r->part->cap_inside, r->part->n_inside);
		r->part->inside[r->part->n_inside++] = c->value;
	}
	r->n_candidates = 0;
}

static void add_candidate(struct reading *r, size_t block, uint64_t value)
{
	const uint32_t *page = address_index_page(&r->finding->index, value);

	if (!page)
		return;
	__builtin_prefetch(page);
	r->candidates[r->n_candidates++] = (struct candidate){block, value, page};
	if (r->n_candidates == CANDIDATES)
		look_up(r);
}

static void look_at_words(struct reading *r, size_t block, const uint64_t *words, size_t n)
{
	uint64_t low = r->finding->index.low, span = r->finding->index.span;

	for (; n >= 4; words += 4, n -= 4) {
		/* most words are none: four of them take one branch */
		if (!((words[0] - low < span) | (words[1] - low < span) |
		      (words[2] - low < span) | (words[3] - low < span)))
			continue;
		for (size_t i = 0; i < 4; i++)
			if (words[i] - low < span)
				add_candidate(r, block, words[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (words[i] - low < span)
			add_candidate(r, block, words[i]);
}

/* ---- batches -------------------------------------------------------------------------- */

static void note_head(struct reading *r, const struct piece *p)
{
	const struct pointers_block *b = &r->finding->to->blocks[p->block];
	uint64_t n = p->end - p->start;

	if (p->start != b->address)
		return;
	memcpy(r->finding->heads[p->block], (char *)r->bytes + p->at,
	       n < HEAD_BYTES ? n : HEAD_BYTES);
}

static int read_batch(struct reading *r)
{
	struct finding *f = r->finding;
	int error = atomic_load(&f->error);

	if (!error && f->deadline_ns && clock_now_ns() > f->deadline_ns)
		error = -ETIME;
	if (!error && r->n_ranges)
		error = f->memory->read(f->memory->arg, r->ranges, r->n_ranges, r->bytes);
	if (error) {
		atomic_store(&f->error, error);
		return error;
	}
	for (size_t i = 0; i < r->n_pieces; i++) {
		const struct piece *p = &r->pieces[i];
		uint64_t skip = -p->start & 7; /* to the first aligned word */

		if (p->block != ROOT)
			note_head(r, p);
		if (p->end - p->start >= skip + 8)
			look_at_words(r, p->block, (uint64_t *)((char *)r->bytes + p->at + skip),
				      (p->end - p->start - skip) / 8);
	}
	r->part->bytes += r->used;
	r->n_ranges = r->n_pieces = r->used = 0;
	return 0;
}

/* So many of @n bytes from @start on as the batch has room for; not 0. */
static int add_piece(struct reading *r, size_t block, uint64_t start, uint64_t *n)
{
	struct pointers_range *last = r->n_ranges ? &r->ranges[r->n_ranges - 1] : NULL;
	bool joins = last && start >= last->end && start - last->end < GAP_MAX;
	uint64_t from = joins ? last->end : start & ~7ull; /* words are aligned in the batch, too */
	uint64_t room = BATCH_BYTES - r->used;
	int error;

	if (start - from + HEAD_BYTES + 8 > room || r->n_pieces == PIECES_MAX ||
	    (!joins && r->n_ranges == RANGES_MAX)) {
		error = read_batch(r);
		return error ? error : add_piece(r, block, start, n);
	}
	room -= start - from;
	if (*n > room)
		*n = room - (start + room) % 8; /* the next piece begins with a word */
	r->pieces[r->n_pieces++] =
		(struct piece){block, start, start + *n, r->used + (start - from)};
	if (!joins)
		r->ranges[r->n_ranges++] = (struct pointers_range){from, from};
	/* of whole words */
	r->ranges[r->n_ranges - 1].end = (start + *n + 7) & ~7ull;
	r->used += r->ranges[r->n_ranges - 1].end - from;
	return 0;
}

static int add_range(struct reading *r, size_t block, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t n = end - start;
		int error = add_piece(r, block, start, &n);

		if (error)
			return error;
		start += n;
	}
	return 0;
}

/* Only what of it has been written to, if it is large. */
static int add_memory(struct reading *r, size_t block, uint64_t start, uint64_t end)
{
	const struct pointers_memory *m = r->finding->memory;
	struct pointers_range left = {start, end}, part;
	int error = 0;

	if (end - start < LARGE_BYTES || !m->written)
		return add_range(r, block, start, end);
	while (!error && left.start < left.end && m->written(m->arg, &left, &part)) {
		error = add_range(r, block, part.start, part.end);
		left.start = part.end;
	}
	return error;
}

static struct reading *begin_reading(struct finding *f, struct pointers_part *part, size_t *begin)
{
	struct reading *r = xmalloc(sizeof(*r));

	r->finding = f;
	r->part = part;
	r->begin = begin;
	r->begun = part->first;
	r->bytes = xmalloc(BATCH_BYTES);
	r->n_ranges = r->n_pieces = r->used = r->n_candidates = 0;
	return r;
}

static void end_reading(struct reading *r)
{
	free(r->bytes);
	free(r);
}

static void read_roots(struct finding *f, struct pointers_part *part,
		       const struct pointers_range *roots, size_t n, const uint64_t *words,
		       size_t n_words)
{
	struct reading *r = begin_reading(f, part, NULL);
	int error = 0;

	look_at_words(r, ROOT, words, n_words);
	for (size_t i = 0; i < n && !error; i++)
		error = add_memory(r, ROOT, roots[i].start, roots[i].end);
	if (!error)
		error = read_batch(r);
	look_up(r);
	end_reading(r);
}

/* ---- threads -------------------------------------------------------------------------- */

struct part_job {
	struct finding *finding;
	struct pointers_part *part;
	pthread_t thread;
	bool is_thread;
};

static void *read_part(void *arg)
{
	struct part_job *j = arg;
	struct pointers_part *p = j->part;
	struct reading *r = begin_reading(j->finding, p, j->finding->to->begin);
	int error = 0;

	for (size_t i = p->first; i < p->first + p->n && !error; i++) {
		const struct pointers_block *b = &j->finding->to->blocks[i];

		error = add_memory(r, i, b->address, b->address + b->size);
	}
	if (!error)
		error = read_batch(r);
	look_up(r);
	begin_blocks(r, p->first + p->n);
	end_reading(r);
	return NULL;
}

static void start_thread(struct part_job *j)
{
	sigset_t all, before;

	sigfillset(&all); /* they are for the one that started it */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	j->is_thread = !pthread_create(&j->thread, NULL, read_part, j);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* About the same number of bytes for each. */
static void cut(struct pointers *p, unsigned int most)
{
	uint64_t bytes = 0, so_far = 0;
	size_t next = 0;

	for (size_t i = 0; i < p->n; i++)
		bytes += p->blocks[i].size;
	if (!most)
		most = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (most > POINTERS_THREADS_MAX)
		most = POINTERS_THREADS_MAX;
	if (bytes / PART_BYTES_MIN < most)
		most = (unsigned int)(bytes / PART_BYTES_MIN);
	p->n_parts = most ? most : 1;
	for (unsigned int k = 0; k < p->n_parts; k++) {
		struct pointers_part *part = &p->parts[k];

		part->first = next;
		while (next < p->n &&
		       (k + 1 == p->n_parts || so_far < bytes / p->n_parts * (k + 1)))
			so_far += p->blocks[next++].size;
		part->n = next - part->first;
	}
}

static void read_all(struct finding *f, const struct pointers_range *roots, size_t n_roots,
		     const uint64_t *words, size_t n_words, const struct pointers_options *o)
{
	struct pointers *p = f->to;
	struct part_job jobs[POINTERS_THREADS_MAX];

	for (unsigned int k = 0; k < p->n_parts; k++) {
		jobs[k] = (struct part_job){.finding = f, .part = &p->parts[k]};
		if (k)
			start_thread(&jobs[k]);
	}
	read_roots(f, &p->roots, roots, n_roots, words, n_words);
	read_roots(f, &p->doubtful, o->doubtful, o->n_doubtful, NULL, 0);
	read_part(&jobs[0]);
	for (unsigned int k = 1; k < p->n_parts; k++) {
		if (jobs[k].is_thread)
			pthread_join(jobs[k].thread, NULL);
		else
			read_part(&jobs[k]);
	}
}

/* ---- pointers to insides that count as ones to the first byte -------------------------- */

/* By the numbers that the block begins with, as memcheck has it. */
static bool is_behind_length(const struct pointers_block *b, const uint64_t *head,
			     uint64_t offset)
{
	if (offset == 24 && b->size >= 25) /* length, capacity, references, characters */
		return head[1] == b->size - 25 && head[0] <= head[1];
	if (offset != 8 || b->size < 8 || !head[0])
		return false;
	return head[0] == b->size - 8 || (b->size - 8) % head[0] == 0;
}

static bool is_vtable(const struct pointers_memory *m, uint64_t address)
{
	return m->is_vtable && !(address & 7) && address >= 4096 && m->is_vtable(m->arg, address);
}

#define INNER_MAX 512

/* Of objects with a second base class: the words that were pointed to, read together. */
struct inner_words {
	struct pointers_range ranges[INNER_MAX];
	uint32_t *edges[INNER_MAX];
	uint64_t words[INNER_MAX];
	size_t n;
};

static int read_inner(struct finding *f, struct inner_words *w)
{
	const struct pointers_memory *m = f->memory;
	int error = w->n ? m->read(m->arg, w->ranges, w->n, w->words) : 0;

	for (size_t i = 0; i < w->n && !error; i++)
		if (is_vtable(m, w->words[i]))
			*w->edges[i] &= ~POINTERS_INSIDE;
	w->n = 0;
	return error || !f->deadline_ns || clock_now_ns() <= f->deadline_ns ? error : -ETIME;
}

static int judge_inside(struct finding *f, struct pointers_part *p)
{
	struct inner_words w = {.n = 0};
	size_t next = 0;
	int error = 0;

	for (size_t i = 0; i < p->n_edges && !error; i++) {
		uint32_t to = p->edges[i] & ~POINTERS_INSIDE;
		const struct pointers_block *b = &f->to->blocks[to];
		uint64_t pointer;

		if (!(p->edges[i] & POINTERS_INSIDE))
			continue;
		pointer = p->inside[next++];
		if (is_behind_length(b, f->heads[to], pointer - b->address)) {
			p->edges[i] = to;
		} else if (!(pointer & 7) && b->size >= 8 &&
			   is_vtable(f->memory, f->heads[to][0])) {
			w.ranges[w.n] = (struct pointers_range){pointer, pointer + 8};
			w.edges[w.n++] = &p->edges[i];
			if (w.n == INNER_MAX)
				error = read_inner(f, &w);
		}
	}
	return error ? error : read_inner(f, &w);
}

int pointers_find(struct pointers *ret, const struct pointers_block *blocks, size_t n,
		  const struct pointers_range *roots, size_t n_roots, const uint64_t *words,
		  size_t n_words, const struct pointers_memory *memory,
		  const struct pointers_options *options)
{
	struct finding f = {.to = ret, .memory = memory, .deadline_ns = options->deadline_ns};
	int error;

	*ret = (struct pointers){.blocks = blocks, .n = n};
	if (n >= POINTERS_BLOCKS_MAX)
		return -E2BIG;
	ret->begin = xmap_large((n + 1) * sizeof(*ret->begin));
	f.heads = xmap_large((n + 1) * sizeof(*f.heads));
	address_index_make(&f.index, blocks, n);
	cut(ret, options->threads);
	read_all(&f, roots, n_roots, words, n_words, options);
	error = atomic_load(&f.error);
	ret->bytes = ret->roots.bytes + ret->doubtful.bytes;
	if (!error)
		error = judge_inside(&f, &ret->roots);
	for (unsigned int k = 0; k < ret->n_parts; k++) {
		ret->bytes += ret->parts[k].bytes;
		if (!error)
			error = judge_inside(&f, &ret->parts[k]);
	}
	address_index_release(&f.index);
	xunmap_large(f.heads, (n + 1) * sizeof(*f.heads));
	return error;
}

static void release_part(struct pointers_part *p)
{
	free(p->edges);
	free(p->inside);
}

void pointers_release(struct pointers *p)
{
	release_part(&p->roots);
	release_part(&p->doubtful);
	for (unsigned int k = 0; k < p->n_parts; k++)
		release_part(&p->parts[k]);
	xunmap_large(p->begin, (p->n + 1) * sizeof(*p->begin));
	memset(p, 0, sizeof(*p));
}

const uint32_t *pointers_of(const struct pointers *p, size_t block, size_t *ret_n)
{
	unsigned int k = 0;
	const struct pointers_part *part;
	size_t end;

	while (block - p->parts[k].first >= p->parts[k].n)
		k++;
	part = &p->parts[k];
	end = block + 1 == part->first + part->n ? part->n_edges : p->begin[block + 1];
	*ret_n = end - p->begin[block];
	return part->edges + p->begin[block];
}
