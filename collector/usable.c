/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/usable.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/process_maps.h"
#include "store/record.h"

/* Of a file, or of what a library has in memory: a program with more than that is too much. */
#define BYTES_MAX ((size_t)64 << 20)

/* ---- tcmalloc's classes --------------------------------------------------------------- */

/* They end with one of these; the usual are 32 KiB and 256 KiB. */
#define TCMALLOC_LAST_MIN 32768
#define TCMALLOC_LAST_MAX 1048576
#define TCMALLOC_CLASSES_MIN 24
/* Steps between the largest classes are pages, if these are no larger. */
#define TCMALLOC_PAGE_MAX 8192

/* The sizes that begin at @at, behind a 0; returns their number, 0 where that is no such table. */
static size_t tcmalloc_table(const uint32_t *at, size_t n)
{
	size_t i = 1;

	if (at[0] != 8 && at[0] != 16)
		return 0;
	while (i < n && i < USABLE_CLASSES_MAX && at[i] > at[i - 1] && at[i] % 8 == 0 &&
	       at[i] <= at[i - 1] * 2)
		i++;
	if (i < TCMALLOC_CLASSES_MIN || at[i - 1] < TCMALLOC_LAST_MIN ||
	    at[i - 1] > TCMALLOC_LAST_MAX || (at[i - 1] & (at[i - 1] - 1)))
		return 0;
	return i;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static uint64_t tcmalloc_page(const struct usable_classes *c)
{
	uint32_t page = 0;

	for (size_t i = 1; i < c->n; i++)
		if (c->sizes[i - 1] >= c->sizes[c->n - 1] / 2)
			page = common_divisor(c->sizes[i] - c->sizes[i - 1], page);
	return page >= 4096 && page <= TCMALLOC_PAGE_MAX ? page : 0;
}

/* Another one, or the first: false where it differs. */
static bool take(struct usable_classes *c, const uint32_t *sizes, size_t n)
{
	if (c->n)
		return c->n == n && !memcmp(c->sizes, sizes, n * sizeof(*sizes));
	memcpy(c->sizes, sizes, n * sizeof(*sizes));
	c->n = n;
	return true;
}

bool usable_find_tcmalloc(const uint8_t *bytes, size_t n, struct usable_classes *ret)
{
	const uint32_t *words = (const uint32_t *)(const void *)bytes;
	size_t count = n / sizeof(*words);

	ret->n = 0;
	for (size_t i = 1; i < count; i++) {
		size_t found;

		if (words[i - 1] || (words[i] != 8 && words[i] != 16))
			continue;
		found = tcmalloc_table(words + i, count - i);
		if (found && !take(ret, words + i, found))
			return false;
	}
	ret->page = tcmalloc_page(ret);
	return ret->n > 0;
}

/* ---- mimalloc's ----------------------------------------------------------------------- */

/* A queue of pages, as an empty heap has it: no first, no last, and the size of its blocks. */
#define MIMALLOC_WORDS 3
#define MIMALLOC_LAST_MIN 8192
#define MIMALLOC_LAST_MAX 4194304

/* The sizes of the queues from @at on; the last two are marks beyond the largest class in use. */
static size_t mimalloc_table(const uint64_t *at, size_t n, uint32_t *sizes)
{
	size_t count = 0, used = 0;

	while ((count + 1) * MIMALLOC_WORDS <= n && count < USABLE_CLASSES_MAX) {
		const uint64_t *queue = at + count * MIMALLOC_WORDS;

		if (queue[0] || queue[1] || !queue[2] || queue[2] % 8 || queue[2] > UINT32_MAX ||
		    (count && queue[2] < sizes[count - 1]))
			break;
		sizes[count++] = (uint32_t)queue[2];
	}
	/* the first mark is less than what is before it: the loop has ended there */
	if (!count || (count + 2) * MIMALLOC_WORDS > n || at[count * MIMALLOC_WORDS + 2] < 8 ||
	    at[(count + 1) * MIMALLOC_WORDS + 2] != at[count * MIMALLOC_WORDS + 2] + 8)
		return 0;
	while (used < count && sizes[used] < at[count * MIMALLOC_WORDS + 2])
		used++;
	if (used < 2 || sizes[used - 1] + 8 != at[count * MIMALLOC_WORDS + 2] ||
	    sizes[used - 1] < MIMALLOC_LAST_MIN || sizes[used - 1] > MIMALLOC_LAST_MAX)
		return 0;
	return used;
}

bool usable_find_mimalloc(const uint8_t *bytes, size_t n, struct usable_classes *ret)
{
	static const uint64_t begins[] = {0, 0, 8, 0, 0, 8, 0, 0, 16};
	uint32_t sizes[USABLE_CLASSES_MAX];

	ret->n = 0;
	for (size_t at = 0; at + sizeof(begins) <= n; at += sizeof(uint64_t)) {
		size_t found, kept = 0;

		if (memcmp(bytes + at, begins, sizeof(begins)))
			continue;
		found = mimalloc_table((const uint64_t *)(const void *)(bytes + at),
				       (n - at) / sizeof(uint64_t), sizes);
		/* an odd number of words is rounded up, so that blocks are aligned to 16 bytes */
		for (size_t i = 0; i < found; i++)
			if ((sizes[i] == 8 || sizes[i] % 16 == 0) &&
			    (!kept || sizes[i] > sizes[kept - 1]))
				sizes[kept++] = sizes[i];
		if (found && !take(ret, sizes, kept))
			return false;
	}
	return ret->n > 0;
}

/* ---- what a file says ----------------------------------------------------------------- */

static bool contains(const uint8_t *bytes, size_t n, const char *text)
{
	return memmem(bytes, n, text, strlen(text)) != NULL;
}

/* To be freed; NULL where it cannot be read, or is too large. */
static uint8_t *read_file(const char *path, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (size > 0 && (size_t)size <= BYTES_MAX)
		bytes = xmalloc((size_t)size);
	while (bytes && n < (size_t)size) {
		ssize_t part = pread(fd, bytes + n, (size_t)size - n, (off_t)n);

		if (part <= 0)
			break;
		n += (size_t)part;
	}
	if (fd >= 0)
		close(fd);
	*ret_n = n;
	return bytes;
}

/* Whose large blocks are known, too: what mi_version() returns. */
#define MIMALLOC_TRIED 209

static bool is_mimalloc_tried(const char *path)
{
	static const uint8_t endbr[] = {0xf3, 0x0f, 0x1e, 0xfa};
	uint8_t code[16] = {0}, *c = code;
	struct elf_symbol symbol;
	struct elf_file *elf;
	uint32_t version = 0;

	if (elf_file_open(path, &elf, NULL) < 0)
		return false;
	if (elf_file_find_function(elf, "mi_version", &symbol) &&
	    elf_file_read(elf, symbol.address, code, sizeof(code)) >= 10) {
		c += memcmp(c, endbr, sizeof(endbr)) ? 0 : sizeof(endbr);
		if (c[0] == 0xb8 && c[5] == 0xc3) /* mov $version,%eax; ret */
			memcpy(&version, c + 1, sizeof(version));
	}
	elf_file_close(elf);
	return version == MIMALLOC_TRIED;
}

/* Of the kinds that check blocks each has room for that, and words of its own. */
static bool is_plain_mimalloc(const uint8_t *bytes, size_t n)
{
	return !contains(bytes, n, "buffer overflow in heap block") &&
	       !contains(bytes, n, "valgrind") && !contains(bytes, n, "asan");
}

/* Two allocators of musl's: this one says of each block how many bytes were asked for. */
static bool is_mallocng(const uint8_t *bytes, size_t n)
{
	static const uint16_t classes[] = {
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 18, 20, 25, 31, 36, 42, 50, 63, 72, 84, 102,
		127, 146, 170, 204, 255, 292, 340, 409, 511, 584, 682, 818, 1023, 1169, 1364, 1637,
		2047, 2340, 2730, 3276, 4095, 4680, 5460, 6552, 8191};

	return memmem(bytes, n, classes, sizeof(classes)) != NULL;
}

/* One block in many has pages of its own, if it is asked to take samples. */
static bool takes_samples(pid_t pid)
{
	char path[64];
	uint8_t *bytes;
	FILE *f;
	size_t n = 0;
	bool does;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	bytes = xmalloc((size_t)1 << 20);
	n = fread(bytes, 1, (size_t)1 << 20, f);
	does = contains(bytes, n, "TCMALLOC_SAMPLE_PARAMETER");
	free(bytes);
	fclose(f);
	return does;
}

static struct usable_classes *classes_of(struct usable *u, const struct family *family)
{
	switch (family->usable) {
	case USABLE_RULE_TCMALLOC:
		return &u->tcmalloc;
	case USABLE_RULE_MIMALLOC:
		return &u->mimalloc;
	case USABLE_RULE_REQUESTED:
		return &u->musl;
	case USABLE_RULE_NONE:
	case USABLE_RULE_GLIBC:
	case USABLE_RULE_JEMALLOC:
		break;
	}
	return NULL;
}

static enum usable_state look_at_file(const struct usable *u, const struct family *family,
				      const char *path, struct usable_classes *c)
{
	enum usable_state state = USABLE_NOT_KNOWN;
	size_t n;
	uint8_t *bytes = read_file(path, &n);

	if (!bytes)
		return state;
	switch (family->usable) {
	case USABLE_RULE_TCMALLOC:
		if (!contains(bytes, n, "TCMALLOC_PAGE_FENCE") && !takes_samples(u->pid))
			state = USABLE_TO_BE_READ;
		break;
	case USABLE_RULE_MIMALLOC:
		if (is_plain_mimalloc(bytes, n) && usable_find_mimalloc(bytes, n, c)) {
			c->has_large_rule = is_mimalloc_tried(path);
			state = USABLE_BY_CLASSES;
		}
		break;
	case USABLE_RULE_REQUESTED:
		if (is_mallocng(bytes, n))
			state = USABLE_BY_CLASSES;
		break;
	case USABLE_RULE_NONE:
	case USABLE_RULE_GLIBC:
	case USABLE_RULE_JEMALLOC:
		break;
	}
	free(bytes);
	return state;
}

static void learn(struct usable *u, const struct plan_object *o, const struct family *family)
{
	struct usable_classes *c = classes_of(u, family);

	if (!c || (c->state != USABLE_UNSEEN && c->device == o->device && c->inode == o->inode))
		return;
	if (c->state != USABLE_UNSEEN) { /* two of them: whose a block is cannot be told */
		c->state = USABLE_NOT_KNOWN;
		return;
	}
	c->device = o->device;
	c->inode = o->inode;
	c->state = look_at_file(u, family, o->file, c);
}

void usable_init(struct usable *u, pid_t pid)
{
	memset(u, 0, sizeof(*u));
	u->pid = pid;
}

void usable_learn(struct usable *u, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *o = &plan->objects[i];
		size_t k = 0;

		while (k < o->n_points &&
		       (o->points[k].role != PLAN_CALL || !classes_of(u, o->points[k].family)))
			k++;
		if (k < o->n_points)
			learn(u, o, o->points[k].family);
	}
}

/* ---- what memory says ----------------------------------------------------------------- */

/* The library's variables: behind its file's mappings there is what begins with zeros. */
static bool read_classes(int mem, const struct process_maps *maps, struct usable_classes *c)
{
	struct usable_classes found = {0};
	uint64_t end = 0;

	for (size_t i = 0; i < maps->n; i++) {
		const struct process_map *m = &maps->maps[i];
		bool is_of_file = m->inode == c->inode && m->device == c->device;
		uint64_t size = m->end - m->start;
		ssize_t n;
		uint8_t *bytes;
		bool good;

		if (m->executable || (!is_of_file && (m->inode || m->start != end || *m->path)))
			continue;
		end = m->end;
		if (size > BYTES_MAX)
			return false;
		bytes = xmalloc(size);
		n = pread(mem, bytes, size, (off_t)m->start);
		found.n = 0;
		good = n > 0 && usable_find_tcmalloc(bytes, (size_t)n, &found);
		free(bytes);
		if (good && !take(c, found.sizes, found.n))
			return false;
		c->page = good ? found.page : c->page;
	}
	return c->n > 0;
}

static enum usable_state look_at_memory(const struct usable *u, struct usable_classes *c)
{
	struct process_maps maps;
	char path[64];
	bool found;
	int mem;

	if (process_maps_read(u->pid, &maps, NULL) < 0)
		return USABLE_NOT_KNOWN;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)u->pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	found = mem >= 0 && read_classes(mem, &maps, c);
	if (mem >= 0)
		close(mem);
	process_maps_release(&maps);
	return found ? USABLE_BY_CLASSES : USABLE_NOT_KNOWN;
}

/* ---- the rules ------------------------------------------------------------------------ */

static uint64_t glibc_usable(uint64_t size_word)
{
	enum { IS_MMAPPED = 2, FLAGS = 7 };
	uint64_t chunk = size_word & ~(uint64_t)FLAGS;

	/* a chunk of the heap also has the next one's first word */
	return chunk < 16 ? USABLE_UNKNOWN : chunk - (size_word & IS_MMAPPED ? 16 : 8);
}

/* 8, then multiples of 16 until 128, then four classes from each power of two to the next. */
static uint64_t jemalloc_usable(uint64_t size)
{
	uint64_t step = 16;

	if (size <= 8)
		return 8;
	if (size > INT64_MAX)
		return USABLE_UNKNOWN;
	if (size > 128)
		step = 1ull << (63 - __builtin_clzll(2 * size - 1) - 3);
	return (size + step - 1) & ~(step - 1);
}

static uint64_t round_up(uint64_t size, uint64_t to)
{
	return size > INT64_MAX ? USABLE_UNKNOWN : (size + to - 1) / to * to;
}

/* What mimalloc 2.0 asks the system for, in whole parts of its segments. */
static uint64_t large_of_mimalloc(uint64_t size)
{
	static const struct {
		uint64_t most, step;
	} steps[] = {{512 << 10, 64 << 10}, {(8 << 20) - 1, 512 << 10},
		     {(32 << 20) - 1, 1 << 20}, {(1 << 30) - 1, 4 << 20}};

	for (size_t i = 0; i < COUNT_OF(steps); i++)
		if (size <= steps[i].most)
			return round_up(size, steps[i].step);
	return USABLE_UNKNOWN;
}

static uint64_t of_class(const struct usable_classes *c, uint64_t size)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->sizes[middle] < size)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < c->n)
		return c->sizes[low];
	if (c->has_large_rule)
		return large_of_mimalloc(size);
	return c->page ? round_up(size, c->page) : USABLE_UNKNOWN;
}

struct call {
	uint64_t size, size_word, old;
	bool is_resized, is_in_place;
};

/* One that is resized stays where it is while that is good enough, and grows by a quarter. */
static uint64_t tcmalloc_usable(const struct usable_classes *c, const struct call *call)
{
	uint64_t size = call->size, old = call->old, more;

	if (!call->is_resized)
		return of_class(c, size);
	if (call->is_in_place || old == USABLE_UNKNOWN)
		return call->is_in_place ? old : USABLE_UNKNOWN;
	more = old + old / 4;
	return of_class(c, size > old && size < more ? more : size);
}

static uint64_t mimalloc_usable(const struct usable_classes *c, const struct call *call)
{
	return call->is_resized && call->is_in_place ? call->old : of_class(c, call->size);
}

static bool is_known(struct usable *u, struct usable_classes *c)
{
	if (c->state == USABLE_TO_BE_READ)
		c->state = look_at_memory(u, c);
	return c->state == USABLE_BY_CLASSES;
}

static uint64_t usable(struct usable *u, uint8_t id, const struct call *call)
{
	const struct family *family = family_by_id(id);

	if (!family || !call->size_word)
		return USABLE_UNKNOWN;
	switch (family->usable) {
	case USABLE_RULE_GLIBC:
		return glibc_usable(call->size_word);
	case USABLE_RULE_JEMALLOC:
		return call->size_word > 1 ? call->size_word : jemalloc_usable(call->size);
	case USABLE_RULE_TCMALLOC:
		return is_known(u, &u->tcmalloc) ? tcmalloc_usable(&u->tcmalloc, call)
						 : USABLE_UNKNOWN;
	case USABLE_RULE_MIMALLOC:
		return is_known(u, &u->mimalloc) ? mimalloc_usable(&u->mimalloc, call)
						 : USABLE_UNKNOWN;
	case USABLE_RULE_REQUESTED:
		return is_known(u, &u->musl) ? call->size : USABLE_UNKNOWN;
	case USABLE_RULE_NONE:
		break;
	}
	return USABLE_UNKNOWN;
}

uint64_t usable_of(struct usable *u, uint8_t family, uint64_t size, uint64_t size_word)
{
	const struct call call = {.size = size, .size_word = size_word};

	return usable(u, family, &call);
}

uint64_t usable_of_resized(struct usable *u, const struct ring_realloc_end *r, uint64_t old)
{
	const struct call call = {.size = r->size, .size_word = r->size_word, .old = old,
				  .is_resized = true,
				  .is_in_place = r->address == r->old_address};

	return usable(u, r->head.family, &call);
}

uint64_t usable_word_alone(const struct ring_realloc_end *r)
{
	const struct family *family = family_by_id(r->head.family);

	return family && (family->usable == USABLE_RULE_TCMALLOC ||
			  family->usable == USABLE_RULE_MIMALLOC)
		       ? 0
		       : r->size_word;
}
