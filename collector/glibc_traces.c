/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/glibc_traces.h"

#include <stdlib.h>

#include "common/xalloc.h"

#define PAGE_BYTES 4096ull

/* ---- chunks and arenas ------------------------------------------------------------------ */

struct pointers_range glibc_mapped_chunk(uint64_t address, uint64_t size)
{
	uint64_t chunk = address - 16, bytes = (size + 8 + 15) & ~15ull; /* request2size() */

	/* sysmalloc_mmap(): the chunk, and the size word of the one that would be next */
	return (struct pointers_range){chunk & ~(PAGE_BYTES - 1),
				       (chunk + bytes + 8 + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1)};
}

#define HEAP_BYTES (64ull << 20) /* HEAP_MAX_SIZE */
#define ARENA_BYTES 2200	 /* struct malloc_state */

/* struct heap_info, which a part of an arena begins with. */
struct heap_info {
	uint64_t arena, before, bytes, usable_bytes;
};

static bool is_heap_info(const struct heap_info *i, uint64_t address, uint64_t end)
{
	uint64_t first = i->before ? 0 : address; /* the first part has the arena itself */

	return i->bytes && i->bytes % PAGE_BYTES == 0 && i->bytes <= i->usable_bytes &&
	       i->usable_bytes % PAGE_BYTES == 0 && i->usable_bytes <= HEAP_BYTES &&
	       i->usable_bytes <= end - address && i->before % HEAP_BYTES == 0 && i->arena &&
	       i->arena % 16 == 0 &&
	       (!first || (i->arena > address && i->arena < address + PAGE_BYTES));
}

bool glibc_next_arena(struct process_memory *memory, const struct process_map *m,
		      struct pointers_range *at)
{
	uint64_t address = (at->end + HEAP_BYTES - 1) & ~(HEAP_BYTES - 1);

	for (; address < m->end; address += HEAP_BYTES) {
		uint64_t words[4];
		struct heap_info i;

		process_memory_words(memory, address, COUNT_OF(words), words);
		i = (struct heap_info){words[0], words[1], words[2], words[3]};
		if (!is_heap_info(&i, address, m->end))
			continue;
		*at = (struct pointers_range){address, address + i.usable_bytes};
		return true;
	}
	return false;
}

/*
 * struct malloc_state: … fastbinsY[10], top, last_remainder, bins[254], binmap[4 ints], next, ….
 * bins are heads of lists in pairs of words, which lie as if 16 bytes earlier: two pointers to
 * there are an empty list.  They are found by that.
 */
#define FAST_BINS 10
#define BINS 127
#define EMPTY_BINS_MIN 32
#define WORDS_BEFORE FAST_BINS	     /* of top */
#define WORDS_BEHIND (2 + 2 * BINS + 2) /* top, last_remainder, bins, binmap */
#define DATA_BYTES_MAX (16ull << 20)

static bool has_bins(const uint64_t *words, uint64_t address)
{
	size_t n_empty = 0;

	for (size_t i = 0; i < 2 * BINS; i += 2) {
		uint64_t head = address + 8 * i - 16, a = words[i], b = words[i + 1];

		if (!a || !b || (a | b) & 15)
			return false;
		n_empty += a == head && b == head;
	}
	return n_empty >= EMPTY_BINS_MIN;
}

bool glibc_main_arena(struct process_memory *memory, const struct process_map *m,
		      struct pointers_range *ret)
{
	uint64_t bytes = m->end - m->start, *words;
	size_t n = bytes / 8;
	bool is_found = false;

	if (bytes > DATA_BYTES_MAX || m->is_shared)
		return false;
	words = xcalloc(n, sizeof(*words));
	process_memory_words(memory, m->start, n, words);
	for (size_t top = WORDS_BEFORE; top + WORDS_BEHIND <= n && !is_found; top++) {
		is_found = has_bins(words + top + 2, m->start + 8 * (top + 2));
		*ret = (struct pointers_range){m->start + 8 * (top - WORDS_BEFORE),
					       m->start + 8 * (top + WORDS_BEHIND)};
	}
	free(words);
	return is_found;
}

/* ---- stacks of threads that have ended --------------------------------------------------- */

/* struct pthread, at the upper end of the stack; it begins with tcbhead_t. */
enum {
	THREAD_SELF = 0,	 /* tcb */
	THREAD_SELF_AGAIN = 2,	 /* self */
	THREAD_ID = 90,		 /* tid: 0 when it has ended, -1 when it was joined */
	THREAD_FIRST_FRAME = 96, /* cleanup_jmp_buf, on the stack of start_thread() */
	THREAD_STATE = 97,	 /* cancelhandling */
	THREAD_WORDS
};
#define THREAD_IS_EXITING 0x10 /* EXITING_BITMASK: it has ended by itself */
#define SEARCHED_BYTES 16384
#define STEP_WORDS 8 /* TCB_ALIGNMENT */

bool glibc_ended_stack(struct process_memory *memory, const struct process_map *m,
		       struct pointers_range *ret)
{
	uint64_t start = m->end - m->start > SEARCHED_BYTES ? m->end - SEARCHED_BYTES : m->start;
	uint64_t words[SEARCHED_BYTES / 8];
	size_t n = (m->end - start) / 8;

	process_memory_words(memory, start, n, words);
	for (size_t i = 0; i + THREAD_WORDS <= n; i += STEP_WORDS) {
		uint64_t self = start + 8 * i, frame = words[i + THREAD_FIRST_FRAME];

		if (words[i + THREAD_SELF] != self || words[i + THREAD_SELF_AGAIN] != self)
			continue;
		*ret = (struct pointers_range){m->start, frame};
		return (int32_t)words[i + THREAD_ID] <= 0 &&
		       words[i + THREAD_STATE] & THREAD_IS_EXITING && frame > m->start &&
		       frame < self;
	}
	return false;
}
