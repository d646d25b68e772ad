/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that knows what it allocates, in C or, compiled as C++, with operator
 * new and delete too: allocators [THREADS [ROUNDS [SEED]]].  Blocks are freed by
 * whichever thread comes by; some are never.  Prints its own totals as JSON, and
 * what malloc_usable_size() says of each block that is left.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
#include <new>
#endif

#ifdef __cplusplus
extern "C"
#endif
size_t malloc_usable_size(void *);

#define SHELF 512
#define THREADS_MAX 64

enum way { C_BLOCK, NEW, NEW_ARRAY, NEW_ALIGNED };

struct item {
	void *block;
	size_t size;
	enum way way;
};

struct totals {
	unsigned long long alloc_calls, free_calls, allocated_bytes, live_bytes, live_blocks;
};

struct worker {
	pthread_t thread;
	uint64_t random;
	long rounds;
	struct totals totals;
};

static struct item shelf[SHELF]; /* the threads' common one, under @lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t next(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static void born(struct worker *w, const struct item *i)
{
	if (!i->block)
		abort();
	memset(i->block, 1, i->size < 64 ? i->size : 64);
	w->totals.alloc_calls++;
	w->totals.allocated_bytes += i->size;
	w->totals.live_bytes += i->size;
	w->totals.live_blocks++;
}

static void died(struct worker *w, const struct item *i)
{
	w->totals.free_calls++;
	w->totals.live_bytes -= i->size;
	w->totals.live_blocks--;
}

#ifdef __cplusplus
static struct item make_new(struct worker *w, size_t size)
{
	struct item i = {NULL, size, C_BLOCK};
	size_t rounded = (size + 127) / 128 * 128; /* libstdc++ would do it */

	switch (next(w) % 6) {
	case 0:
		i.block = operator new(size);
		i.way = NEW;
		break;
	case 1:
		i.block = operator new[](size);
		i.way = NEW_ARRAY;
		break;
	case 2:
		i.block = operator new(size, std::nothrow);
		i.way = NEW;
		break;
	case 3:
		i.block = operator new[](size, std::nothrow);
		i.way = NEW_ARRAY;
		break;
	case 4:
		i.size = rounded;
		i.block = operator new(rounded, std::align_val_t(128));
		i.way = NEW_ALIGNED;
		break;
	case 5:
		i.size = rounded;
		i.block = operator new(rounded, std::align_val_t(64), std::nothrow);
		i.way = NEW_ALIGNED;
		break;
	}
	return i;
}
#endif

static struct item make(struct worker *w)
{
	size_t size = 1 + next(w) % (next(w) % 50 ? 700 : 60000);
	struct item i = {NULL, size, C_BLOCK};

#ifdef __cplusplus
	if (next(w) % 3) {
		i = make_new(w, size);
		born(w, &i);
		return i;
	}
#endif
	switch (next(w) % 6) {
	case 0:
	case 1:
		i.block = malloc(size);
		break;
	case 2:
		i.block = calloc(1 + size / 10, 10);
		i.size = (1 + size / 10) * 10;
		break;
	case 3:
		i.block = realloc(NULL, size);
		break;
	case 4:
		if (posix_memalign(&i.block, 64, size))
			i.block = NULL;
		break;
	case 5:
		i.size = (size + 63) / 64 * 64;
		i.block = aligned_alloc(64, i.size);
		break;
	}
	born(w, &i);
	return i;
}

static void resize(struct worker *w, struct item *i)
{
	void *block;
	size_t size = 1 + next(w) % 1500;

	if (i->way != C_BLOCK)
		return;
	block = realloc(i->block, size);
	died(w, i);
	i->block = block;
	i->size = size;
	born(w, i);
}

static void unmake(struct worker *w, const struct item *i)
{
	died(w, i);
	switch (i->way) {
	case C_BLOCK:
		free(i->block);
		break;
#ifdef __cplusplus
	case NEW:
		if (i->size & 1)
			operator delete(i->block);
		else
			operator delete(i->block, i->size);
		break;
	case NEW_ARRAY:
		if (i->size & 1)
			operator delete[](i->block);
		else
			operator delete[](i->block, i->size);
		break;
	case NEW_ALIGNED:
		operator delete(i->block, std::align_val_t(64));
		break;
#else
	default:
		abort();
#endif
	}
}

static void *work(void *arg)
{
	struct worker *w = (struct worker *)arg;

	for (long i = 0; i < w->rounds; i++) {
		struct item *place = &shelf[next(w) % SHELF], mine, theirs;

		mine = make(w);
		if (next(w) % 4 == 0)
			resize(w, &mine);
		pthread_mutex_lock(&lock);
		theirs = *place;
		*place = mine;
		pthread_mutex_unlock(&lock);
		if (theirs.block)
			unmake(w, &theirs);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;
	long rounds = argc > 2 ? atol(argv[2]) : 3000;
	static struct worker workers[THREADS_MAX];
	struct totals t = {0, 0, 0, 0, 0};

	for (int i = 0; i < n && i < THREADS_MAX; i++) {
		workers[i].random = (uint64_t)(argc > 3 ? atol(argv[3]) : 1) * 7919 + (uint64_t)i + 1;
		workers[i].rounds = rounds / n;
		if (n == 1)
			work(&workers[i]);
		else if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (int i = 0; i < n && i < THREADS_MAX; i++) {
		if (n > 1)
			pthread_join(workers[i].thread, NULL);
		t.alloc_calls += workers[i].totals.alloc_calls;
		t.free_calls += workers[i].totals.free_calls;
		t.allocated_bytes += workers[i].totals.allocated_bytes;
		t.live_bytes += workers[i].totals.live_bytes;
		t.live_blocks += workers[i].totals.live_blocks;
	}
	printf("{\"alloc_calls\":%llu,\"free_calls\":%llu,\"allocated_bytes\":%llu,"
	       "\"live_bytes\":%llu,\"live_blocks\":%llu,\"usable\":{\"0\":0",
	       t.alloc_calls, t.free_calls, t.allocated_bytes, t.live_bytes, t.live_blocks);
	for (int i = 0; i < SHELF; i++)
		if (shelf[i].block)
			printf(",\"%llx\":%zu", (unsigned long long)(uintptr_t)shelf[i].block,
			       malloc_usable_size(shelf[i].block));
	puts("}}");
	return 0;
}
