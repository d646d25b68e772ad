/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pools [THREADS]: pools that take chunks of the heap, and what each of them has done, as JSON:
 * {"LAYER": [[address, calls, bytes, live blocks, live bytes, most live bytes, live bytes and
 * calls of the heap], ...], ...}.  Those of layer fresh are made by a function that returns them,
 * those of layer fixed are where they always were.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN __attribute__((noinline, noclone))
#define KEEP() __asm__ volatile("" ::: "memory")
#define CHUNK 2000

struct numbers {
	uintptr_t address;
	unsigned long long calls, bytes, live, live_bytes, most, taken, taken_calls;
};

/* All there ever were, of one thread. */
struct history {
	struct numbers *all;
	size_t n;
};

struct pool {
	struct chunk {
		struct chunk *next;
		char bytes[CHUNK];
	} *chunks;
	size_t used;
	struct numbers *numbers;
};

struct own_thread {
	struct history fresh, fixed;
	uint32_t state;
	struct pool place[3]; /* of the fixed ones */
};

static uint32_t below(struct own_thread *t, uint32_t n)
{
	t->state = t->state * 1664525 + 1013904223;
	return (t->state >> 8) % n;
}

static struct numbers *note(struct history *h, struct pool *p)
{
	h->all[h->n] = (struct numbers){.address = (uintptr_t)p};
	return &h->all[h->n++];
}

HIDDEN static void take_chunk(struct pool *p)
{
	struct chunk *c = malloc(sizeof(*c));

	c->next = p->chunks;
	p->chunks = c;
	p->used = 0;
	KEEP();
	p->numbers->taken += sizeof(*c);
	p->numbers->taken_calls++;
}

static void *give(struct pool *p, size_t size)
{
	void *ret;

	if (!p->chunks || p->used + size > CHUNK)
		take_chunk(p);
	ret = p->chunks->bytes + p->used;
	p->used += (size + 15) & ~15ul;
	p->numbers->calls++;
	p->numbers->bytes += size;
	p->numbers->live++;
	p->numbers->live_bytes += size;
	if (p->numbers->live_bytes > p->numbers->most)
		p->numbers->most = p->numbers->live_bytes;
	KEEP();
	return ret;
}

static void empty(struct pool *p)
{
	while (p->chunks) {
		struct chunk *c = p->chunks;

		p->chunks = c->next;
		free(c);
	}
	p->numbers->taken = p->numbers->live = p->numbers->live_bytes = 0;
	KEEP();
}

/* ---- the layers --------------------------------------------------------------------- */

HIDDEN struct pool *fresh_new(struct history *h)
{
	struct pool *p = calloc(1, sizeof(*p));

	p->numbers = note(h, p);
	p->numbers->taken = sizeof(*p);
	p->numbers->taken_calls = 1;
	KEEP();
	return p;
}

HIDDEN void *fresh_alloc(struct pool *p, size_t size)
{
	void *ret = give(p, size);

	KEEP();
	return ret;
}

HIDDEN void fresh_clear(struct pool *p)
{
	empty(p);
	p->numbers->taken = sizeof(*p);
	KEEP();
}

HIDDEN void fresh_destroy(struct pool *p)
{
	empty(p);
	free(p);
	KEEP();
}

HIDDEN void fixed_init(struct pool *p, struct history *h)
{
	*p = (struct pool){.numbers = note(h, p)};
	take_chunk(p);
	KEEP();
}

HIDDEN void *fixed_alloc(struct pool *p, size_t size)
{
	void *ret = give(p, size);

	KEEP();
	return ret;
}

HIDDEN void fixed_destroy(struct pool *p)
{
	empty(p);
	KEEP();
}

/* ---- what is done ------------------------------------------------------------------- */

#define FRESH 12

static void use_fresh(struct own_thread *t)
{
	struct pool *pools[FRESH] = {NULL};

	for (int n = 0; n < 4000; n++) {
		struct pool **p = &pools[below(t, FRESH)];

		if (!*p) {
			*p = fresh_new(&t->fresh);
		} else if (!below(t, 40)) {
			fresh_destroy(*p);
			*p = NULL;
		} else if (!below(t, 40)) {
			fresh_clear(*p);
		} else {
			for (uint32_t i = below(t, 4); i; i--)
				fresh_alloc(*p, 1 + below(t, 600));
		}
	}
}

static void use_fixed(struct own_thread *t)
{
	for (int n = 0; n < 60; n++) {
		struct pool *p = &t->place[below(t, 3)];

		if (p->numbers)
			fixed_destroy(p);
		fixed_init(p, &t->fixed);
		for (uint32_t i = below(t, 40); i; i--)
			fixed_alloc(p, 1 + below(t, 300));
	}
}

static void *run(void *arg)
{
	use_fresh(arg);
	use_fixed(arg);
	return NULL;
}

static void print(const char *name, struct own_thread *t, int n, bool fixed)
{
	const char *comma = "";

	printf("\"%s\": [", name);
	for (int i = 0; i < n; i++) {
		const struct history *h = fixed ? &t[i].fixed : &t[i].fresh;

		for (size_t k = 0; k < h->n; k++) {
			const struct numbers *m = &h->all[k];

			printf("%s[%llu, %llu, %llu, %llu, %llu, %llu, %llu, %llu]", comma,
			       (unsigned long long)m->address, m->calls, m->bytes, m->live,
			       m->live_bytes, m->most, m->taken, m->taken_calls);
			comma = ",\n";
		}
	}
	printf("]");
}

#define THREADS_MAX 8
#define POOLS_MAX 4096

int main(int argc, char **argv)
{
	static struct own_thread own[THREADS_MAX];
	int n = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
	pthread_t threads[THREADS_MAX];

	n = n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
	for (int i = 0; i < n; i++) {
		own[i].state = 4711 + (uint32_t)i;
		own[i].fresh.all = calloc(POOLS_MAX, sizeof(struct numbers));
		own[i].fixed.all = calloc(POOLS_MAX, sizeof(struct numbers));
	}
	for (int i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, run, &own[i]);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	printf("{");
	print("fresh", own, n, false);
	printf(", ");
	print("fixed", own, n, true);
	printf("}\n");
	fflush(stdout);
	_Exit(0);
}
