/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layers [ROUNDS [wait]]: allocators of its own, on top of malloc, and what they have done, as
 * JSON, after a line from standard input with "wait": of each layer [alloc calls, free calls, bytes, live blocks, live bytes].
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HIDDEN __attribute__((noinline, noclone))
#define KEEP() __asm__ volatile("" ::: "memory")

struct own {
	const char *name;
	unsigned long long allocs, frees, bytes, live_blocks, live_bytes;
};

static struct own my = {.name = "my"}, arena = {.name = "arena"}, slab = {.name = "slab"},
		  pool = {.name = "pool"}, obj = {.name = "obj"}, doc = {.name = "doc"},
		  lua = {.name = "lua"};

static void born(struct own *o, size_t size)
{
	o->allocs++;
	o->bytes += size;
	o->live_blocks++;
	o->live_bytes += size;
}

static void died(struct own *o, size_t size)
{
	o->frees++;
	o->live_blocks--;
	o->live_bytes -= size;
}

static uint32_t state = 4711;

static uint32_t below(uint32_t n)
{
	state = state * 1664525 + 1013904223;
	return (state >> 8) % n;
}

/* ---- wrappers of malloc ------------------------------------------------------------- */

HIDDEN void *my_malloc(size_t size)
{
	void *p = malloc(size);

	KEEP();
	return p;
}

HIDDEN void *my_calloc(size_t n, size_t size)
{
	void *p = my_malloc(n * size);

	KEEP();
	return memset(p, 0, n * size);
}

HIDDEN void *my_realloc(void *p, size_t size)
{
	p = realloc(p, size);
	KEEP();
	return p;
}

HIDDEN void my_free(void *p)
{
	KEEP();
	free(p);
	KEEP();
}

#define BLOCKS 500

static void wrappers(void)
{
	static struct {
		void *p;
		size_t size;
	} blocks[BLOCKS];

	for (int n = 0; n < 20000; n++) {
		uint32_t i = below(BLOCKS);
		size_t size = 1 + below(3000);

		if (blocks[i].p && below(2)) {
			died(&my, blocks[i].size);
			my_free(blocks[i].p);
			blocks[i].p = NULL;
			continue;
		}
		if (blocks[i].p) {
			died(&my, blocks[i].size);
			blocks[i].p = my_realloc(blocks[i].p, size);
		} else {
			blocks[i].p = below(3) ? my_malloc(size) : my_calloc(1, size);
		}
		born(&my, size);
		blocks[i].size = size;
	}
}

/* ---- an arena that is reset as a whole ---------------------------------------------- */

#define ARENA_BYTES (1 << 20)

struct arena {
	char *memory;
	size_t used;
};

HIDDEN void arena_init(struct arena *a)
{
	a->memory = malloc(ARENA_BYTES);
	a->used = 0;
	KEEP();
}

HIDDEN void *arena_alloc(struct arena *a, size_t size)
{
	void *p = a->memory + a->used;

	a->used += (size + 15) & ~15ul;
	KEEP();
	return a->used <= ARENA_BYTES ? p : NULL;
}

HIDDEN void arena_reset(struct arena *a)
{
	a->used = 0;
	KEEP();
}

HIDDEN void arena_destroy(struct arena *a)
{
	arena_reset(a);
	free(a->memory);
	KEEP();
}

static void arenas(void)
{
	struct arena *a = malloc(3 * sizeof(*a));

	for (int i = 0; i < 3; i++) {
		arena_init(&a[i]);
		born(&arena, 0);
	}
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 3; i++) {
			int n = 100 + (int)below(300);
			size_t bytes = 0;

			for (int k = 0; k < n; k++) {
				size_t size = 1 + below(500);

				arena_alloc(&a[i], size);
				born(&arena, size);
				bytes += size;
			}
			if (round == 9 && i == 2)
				return; /* what is in it stays */
			arena.live_blocks -= (unsigned long long)n;
			arena.live_bytes -= bytes;
			if (round < 9) {
				arena_reset(&a[i]);
			} else {
				arena_destroy(&a[i]);
				died(&arena, 0);
			}
		}
	}
}

/* ---- a slab of objects of one size -------------------------------------------------- */

#define SLAB_OBJECTS 64
#define SLAB_SIZE 96

static struct slab_object {
	struct slab_object *next;
	char rest[SLAB_SIZE - sizeof(void *)];
} *slab_free_list;

HIDDEN void *slab_get(void)
{
	struct slab_object *o;

	if (!slab_free_list) {
		struct slab_object *more = malloc(SLAB_OBJECTS * sizeof(*more));

		for (int i = 0; i < SLAB_OBJECTS; i++) {
			more[i].next = slab_free_list;
			slab_free_list = &more[i];
		}
	}
	o = slab_free_list;
	slab_free_list = o->next;
	KEEP();
	return o;
}

HIDDEN void slab_put(void *p)
{
	struct slab_object *o = p;

	o->next = slab_free_list;
	slab_free_list = o;
	KEEP();
}

static void slabs(void)
{
	void *objects[300] = {NULL};

	for (int n = 0; n < 5000; n++) {
		uint32_t i = below(300);

		if (objects[i]) {
			slab_put(objects[i]);
			died(&slab, SLAB_SIZE);
			objects[i] = NULL;
		} else {
			objects[i] = slab_get();
			born(&slab, SLAB_SIZE);
		}
	}
}

/* ---- pools with parents ------------------------------------------------------------- */

struct pool {
	struct pool *parent, *children, *next;
	struct chunk {
		struct chunk *next;
	} *chunks;
	unsigned long long blocks, bytes;
};

HIDDEN int pool_create(struct pool **ret, struct pool *parent)
{
	struct pool *p = calloc(1, sizeof(*p));

	p->parent = parent;
	if (parent) {
		p->next = parent->children;
		parent->children = p;
	}
	KEEP();
	*ret = p;
	return 0;
}

HIDDEN void *pool_alloc(struct pool *p, size_t size)
{
	struct chunk *c = malloc(sizeof(*c) + size);

	c->next = p->chunks;
	p->chunks = c;
	p->blocks++;
	p->bytes += size;
	KEEP();
	return c + 1;
}

void pool_destroy(struct pool *p);

HIDDEN void pool_clear(struct pool *p)
{
	while (p->children) {
		pool_destroy(p->children);
		pool.live_blocks--; /* it went with this one */
	}
	while (p->chunks) {
		struct chunk *c = p->chunks;

		p->chunks = c->next;
		free(c);
	}
	pool.live_blocks -= p->blocks;
	pool.live_bytes -= p->bytes;
	p->blocks = p->bytes = 0;
	KEEP();
}

HIDDEN void pool_destroy(struct pool *p)
{
	if (p->parent) {
		struct pool **at = &p->parent->children;

		while (*at != p)
			at = &(*at)->next;
		*at = p->next;
	}
	pool_clear(p);
	free(p);
	KEEP();
}

static void pools(void)
{
	struct pool *root, *child, *grandchild;

	pool_create(&root, NULL);
	born(&pool, 0);
	for (int n = 0; n < 50; n++) {
		pool_create(&child, root);
		born(&pool, 0);
		pool_create(&grandchild, child);
		born(&pool, 0);
		for (int i = 0; i < 20; i++) {
			struct pool *to[] = {root, child, grandchild};
			size_t size = 1 + below(700);

			pool_alloc(to[i % 3], size);
			born(&pool, size);
		}
		if (n % 3 == 0)
			pool_clear(child);
		if (n % 4 == 0) {
			pool_destroy(child);
			died(&pool, 0);
		}
		if (n % 20 == 10)
			pool_clear(root);
	}
}

/* ---- objects that are counted ------------------------------------------------------- */

struct object {
	int count;
};

HIDDEN struct object *object_new(void)
{
	struct object *o = malloc(sizeof(*o));

	o->count = 1;
	KEEP();
	return o;
}

HIDDEN void object_ref(struct object *o)
{
	o->count++;
	KEEP();
}

HIDDEN void object_unref(struct object *o)
{
	if (!--o->count)
		free(o);
	KEEP();
}

HIDDEN void forgetful(struct object *o)
{
	object_ref(o);
	KEEP();
}

static void objects(void)
{
	for (int i = 0; i < 100; i++) {
		struct object *o = object_new();
		int refs = (int)below(5);

		born(&obj, 0);
		for (int k = 0; k < refs; k++) {
			object_ref(o);
			born(&obj, 0);
		}
		if (i == 42) {
			forgetful(o);
			born(&obj, 0);
		}
		for (int k = 0; k <= refs; k++) {
			died(&obj, 0);
			object_unref(o);
		}
	}
}

/* ---- documents that are parsed, and to be given back -------------------------------- */

HIDDEN int doc_parse(const char *text, size_t len, int flags, void **ret)
{
	KEEP();
	if (flags)
		return -1;
	*ret = malloc(len + 1);
	memcpy(*ret, text, len);
	KEEP();
	return 0;
}

HIDDEN void doc_free(void *d)
{
	free(d);
	KEEP();
}

static void documents(void)
{
	for (int i = 0; i < 30; i++) {
		void *d = NULL;

		if (doc_parse("a document", 10, i % 5 == 4, &d))
			continue;
		born(&doc, 10);
		if (i % 10 == 3)
			continue; /* forgotten */
		died(&doc, 10);
		doc_free(d);
	}
}

/* ---- as Lua has it ------------------------------------------------------------------ */

HIDDEN void *lua_like(void *user, void *p, size_t old, size_t size)
{
	(void)user;
	(void)old;
	KEEP();
	if (!size) {
		free(p);
		KEEP();
		return NULL;
	}
	p = realloc(p, size);
	KEEP();
	return p;
}

static void lua_calls(void)
{
	static struct {
		void *p;
		size_t size;
	} blocks[100];

	for (int n = 0; n < 3000; n++) {
		uint32_t i = below(100);
		size_t size = below(4) ? 1 + below(900) : 0;

		if (blocks[i].p)
			died(&lua, blocks[i].size);
		if (size)
			born(&lua, size);
		blocks[i].p = lua_like(NULL, blocks[i].p, blocks[i].size, size);
		blocks[i].size = size;
	}
}

int main(int argc, char **argv)
{
	const struct own *all[] = {&my, &arena, &slab, &pool, &obj, &doc, &lua};
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
	char text[2048];
	int len = 0;

	if (argc > 2 && !strcmp(argv[2], "wait") && read(STDIN_FILENO, text, 1) < 0)
		return 2;
	while (rounds--) {
		wrappers();
		arenas();
		slabs();
		pools();
		objects();
		documents();
		lua_calls();
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				"%s\"%s\": [%llu, %llu, %llu, %llu, %llu]", i ? ", " : "{",
				all[i]->name, all[i]->allocs, all[i]->frees, all[i]->bytes,
				all[i]->live_blocks, all[i]->live_bytes);
	len += snprintf(text + len, sizeof(text) - (size_t)len, "}\n");
	return write(STDOUT_FILENO, text, (size_t)len) != len;
}
