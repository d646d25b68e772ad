/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/glibc_traces.h"

#include <stdlib.h>

#include "common/xalloc.h"

#define PAGE_BYTES 4096ull

/* ---- chunks and arenas ------------------------------------------------------------------ */

#define CHUNK_IS_MMAPPED 2
#define CHUNK_FLAGS 7

bool glibc_mapped_chunk(struct process_memory *memory, uint64_t address,
			struct pointers_range *ret)
{
	uint64_t chunk = address - 16, head[2], bytes;

	process_memory_words(memory, chunk, COUNT_OF(head), head);
	bytes = head[1] & ~(uint64_t)CHUNK_FLAGS;
	/* what is before it in its mapping is there for the sake of its alignment */
	*ret = (struct pointers_range){chunk - head[0], chunk + bytes};
	return (head[1] & CHUNK_FLAGS) == CHUNK_IS_MMAPPED && !(ret->start % PAGE_BYTES) &&
	       !(ret->end % PAGE_BYTES) && ret->start <= chunk && ret->end > chunk;
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
