// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An allocator of a program's own, in C++, whose functions throw: when it is full, when what it
 * builds throws, and by a long jump out of it.  Prints its own totals: alloc calls, free calls,
 * bytes, live blocks.
 */
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#define NOINLINE __attribute__((noinline))

static long allocs, frees, bytes;
static jmp_buf out;

namespace store
{

struct full : std::runtime_error {
	full() : std::runtime_error("full") {}
};

NOINLINE void *take(size_t size, int how)
{
	if (how == 1)
		throw full();
	if (how == 2)
		longjmp(out, 1);
	if (how == 3) {
		try { // caught inside: the call goes on, and returns
			throw full();
		} catch (const full &) {
			size += 0;
		}
	}
	return malloc(size + (how == 4));
}

NOINLINE void give(void *p)
{
	free(p);
}

static void *small(size_t size)
{
	return malloc(size);
}

static void *large(size_t size)
{
	return calloc(1, size);
}

/* It ends in a jump to whatever the table says. */
static void *(*volatile ways[])(size_t) = {small, large};
NOINLINE __attribute__((optimize("optimize-sibling-calls"))) void *table(size_t size)
{
	return ways[size > 100](size);
}

/* It ends in a jump to malloc(), and calls nothing that throws; and one that calls what may. */
NOINLINE __attribute__((optimize("optimize-sibling-calls"))) void *plain(size_t size)
{
	return malloc(size + 8);
}

NOINLINE __attribute__((optimize("optimize-sibling-calls"))) void *careful(size_t size)
{
	if (size > 1000)
		throw full();
	return malloc(size);
}

} // namespace store

static NOINLINE void *deep(int depth, size_t size, int how)
{
	volatile char frame[64] = {0};
	void *p = depth ? deep(depth - 1, size, how) : store::take(size, how);

	(void)frame[0];
	return p;
}

static NOINLINE void one(int i)
{
	int how = i % 7 == 1 ? 1 : i % 11 == 2 ? 2 : i % 5 == 3 ? 3 : i % 3 == 0 ? 4 : 0;
	size_t size = 16 + (size_t)(i % 40);
	void *volatile p = nullptr;

	if (setjmp(out))
		return;
	try {
		p = deep(i % 200, size, how);
	} catch (const store::full &) {
		return;
	}
	allocs++;
	bytes += (long)size;
	if (i % 4) {
		store::give(p);
		frees++;
	}
}

int main()
{
	free(store::table(100));
	for (size_t i = 0; i < 10; i++)
		store::give(i % 2 ? store::plain(i) : store::careful(i));
	for (int i = 0; i < 5000; i++)
		one(i);
	printf("%ld %ld %ld %ld\n", allocs, frees, bytes, allocs - frees);
	return 0;
}
