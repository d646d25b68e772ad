/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who points to which block, and of which kind that makes it: small memories that are written
 * down here, and random ones, which a slow and plain way judges as well.
 */
#include "config.h"
#include "collector/pointers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/address_index.h"
#include "collector/reachability.h"
#include "common/clock.h"
#include "common/xalloc.h"
#include "tests/unit/tap.h"

/* The memory: from BASE on, and from FAR on. */
#define BASE 0x10000ull
#define FAR 0x7f0000000000ull
#define BYTES ((uint64_t)4 << 20)
#define VTABLE 0x400000ull /* what is_vtable() knows */

static uint64_t near[BYTES / 8], far[BYTES / 8];
static struct pointers_block blocks[200000];
static size_t n_blocks;
static struct pointers_range roots[8];
static size_t n_roots;
static struct pointers_range doubtful[1];
static size_t n_doubtful;
static uint64_t words[4];
static size_t n_words, n_reads;
static uint8_t kinds[COUNT_OF(blocks)];
static int read_error;

static void *at(uint64_t address)
{
	if (address - BASE < BYTES)
		return (char *)near + (address - BASE);
	return address - FAR < BYTES ? (char *)far + (address - FAR) : NULL;
}

static int read_memory(void *arg, const struct pointers_range *r, size_t n, void *to)
{
	char *next = to;

	(void)arg;
	__atomic_add_fetch(&n_reads, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < n; i++) {
		uint64_t bytes = r[i].end - r[i].start;

		if (at(r[i].start) && at(r[i].end - 1))
			memcpy(next, at(r[i].start), bytes);
		else
			memset(next, 0, bytes);
		next += bytes;
	}
	return read_error;
}

static bool is_vtable(void *arg, uint64_t address)
{
	(void)arg;
	return address == VTABLE || address == VTABLE + 64;
}

static struct pointers_memory memory = {.read = read_memory, .is_vtable = is_vtable};

static void begin(void)
{
	memset(near, 0, sizeof(near));
	memset(far, 0, sizeof(far));
	n_blocks = n_roots = n_words = n_doubtful = 0;
	read_error = 0;
}

/* They must come by rising addresses. */
static uint64_t block(uint64_t address, uint64_t size)
{
	blocks[n_blocks++] = (struct pointers_block){address, size};
	return address;
}

static void put(uint64_t address, uint64_t word)
{
	memcpy(at(address), &word, sizeof(word));
}

static int find(struct pointers *p, unsigned int threads, uint64_t deadline_ns)
{
	return pointers_find(p, blocks, n_blocks, roots, n_roots, words, n_words, &memory,
			     &(struct pointers_options){.deadline_ns = deadline_ns,
							 .threads = threads,
							 .doubtful = doubtful,
							 .n_doubtful = n_doubtful});
}

/* A letter a block: definite, indirect, possible, reachable. */
static const char *judged(void)
{
	static char text[64];
	struct pointers p;

	find(&p, 0, 0);
	reachability_judge(&p, kinds);
	pointers_release(&p);
	for (size_t i = 0; i < n_blocks; i++)
		text[i] = kinds[i] & REACHABILITY_DOUBT ? '-' : "?dipr"[kinds[i]];
	text[n_blocks] = '\0';
	return text;
}

static void is(const char *got, const char *wanted, const char *name)
{
	ok(!strcmp(got, wanted), "%s: %s", name, got);
}

static void root(uint64_t address, uint64_t bytes)
{
	roots[n_roots++] = (struct pointers_range){address, address + bytes};
}

/* What only doubtful memory leads to is possibly lost, and marked. */
static void test_doubtful(void)
{
	uint64_t a, b, c, d, e;

	begin();
	a = block(BASE + 4096, 32);
	b = block(BASE + 4144, 32);
	c = block(BASE + 4192, 32);
	d = block(BASE + 4240, 32);
	e = block(FAR + 64, 32);
	put(a, b);
	put(b, c);
	put(d, e);
	root(BASE, 64);
	doubtful[n_doubtful++] = (struct pointers_range){BASE + 64, BASE + 128};
	put(BASE + 64, b);
	put(BASE + 72, e + 8);
	is(judged(), "d--d-", "memory that may be a root");
	put(BASE, e);
	put(BASE + 8, c + 8);
	is(judged(), "d-pdr", "what is known otherwise is no matter of doubt");
	put(BASE + 16, a);
	is(judged(), "rrrdr", "nor is what follows");
	ok((kinds[0] & ~REACHABILITY_DOUBT) == BLOCK_REACHABLE, "kinds are kinds");
}

/* ---- one by one --------------------------------------------------------------------- */

static void test_chains(void)
{
	uint64_t a, b, c, d;

	begin();
	a = block(BASE + 4096, 32);
	b = block(BASE + 4144, 32);
	c = block(BASE + 4192, 32);
	d = block(FAR + 64, 32);
	put(a + 8, b);
	put(b, c);
	put(c + 24, d);
	is(judged(), "diii", "a chain that nobody points to");
	root(BASE, 64);
	put(BASE + 8, a);
	is(judged(), "rrrr", "… and one that a root points to");
	put(b, c + 1);
	is(judged(), "rrpp", "through an inside, and all behind it");
	put(BASE + 16, d);
	is(judged(), "rrpr", "another way is better");
	put(BASE + 8, a + 31);
	is(judged(), "pppr", "the last byte is one of it");
	put(BASE + 8, a + 32);
	is(judged(), "diir", "the one behind is not");
	words[0] = c;
	n_words = 1;
	is(judged(), "dirr", "a register; what is lost may point to what is not");
}

static void test_edges_of_words(void)
{
	uint64_t a, b, c;

	begin();
	root(BASE + 3, 29);
	a = block(BASE + 4096, 0);
	b = block(BASE + 4101, 27); /* its aligned words are from 8 to 24 */
	c = block(BASE + 8192, 15);
	block(BASE + 9000, 8);
	put(BASE + 3, b);
	put(BASE + 24, a);
	is(judged(), "rddd", "no bytes, and words of roots that are aligned");
	put(BASE + 8, b);
	put(b + 3, c);
	put(c + 8, BASE + 9000);
	is(judged(), "rrrd", "aligned words of what is not aligned; none that reaches beyond");
	put(BASE + 4096 + 24, BASE + 9000);
	is(judged(), "rrrr", "the last one");
	put(BASE + 4096 + 24, 0);
	put(c, BASE + 9000);
	is(judged(), "rrrr", "one of 15 bytes has one");
}

static void test_cliques(void)
{
	uint64_t b[6];

	begin();
	for (uint64_t i = 0; i < 6; i++)
		b[i] = block(BASE + 4096 + 64 * i, 48);
	put(b[2], b[2]);
	is(judged(), "dddddd", "one that points to itself");
	put(b[0], b[1]);
	put(b[1], b[0]);
	is(judged(), "didddd", "of a cycle the first");
	put(b[5] + 40, b[0] + 7);
	is(judged(), "iidddd", "unless another leads to it, by an inside too");
	put(b[4], b[5]);
	is(judged(), "iidddi", "and that has one before it");
	put(b[3], b[1]);
	is(judged(), "iidddi", "to one that is another's already");
}

static void test_heuristics(void)
{
	uint64_t s, n, l, o;

	begin();
	root(BASE, 64);
	s = block(BASE + 4096, 24 + 10 + 1);
	n = block(BASE + 8192, 8 + 5 * 24);
	l = block(BASE + 12288, 8 + 100);
	o = block(BASE + 16384, 64);
	put(BASE, s + 24);
	put(BASE + 8, n + 8);
	put(BASE + 16, l + 8);
	put(BASE + 24, o + 32);
	is(judged(), "pppp", "insides");
	put(s, 4);
	put(s + 8, 10);
	put(n, 5);
	put(l, 100);
	put(o, VTABLE);
	put(o + 32, VTABLE + 64);
	is(judged(), "rrrr", "an old string, new[], a length, a second base class");
	put(s, 11);
	put(n, 7);
	put(l, 101);
	put(o, VTABLE + 8);
	is(judged(), "pppp", "longer than its room, no whole elements, another length, no table");
	put(o, VTABLE);
	put(o + 32, VTABLE + 8);
	put(s, 10);
	put(s + 8, 11);
	is(judged(), "pppp", "another table, another room");
	put(BASE, 0);
	put(o + 32, VTABLE);
	put(o + 8, s + 24);
	put(s + 8, 10);
	is(judged(), "rppr", "of a block, too");
}

/* ---- the index ------------------------------------------------------------------------ */

static void test_index(void)
{
	struct address_index x;
	bool good = true;

	begin();
	for (uint64_t i = 0; i < 3000; i++) /* dense, sparse, and far away */
		block(BASE + 16 * i, i % 3 ? 16 : 5);
	for (uint64_t i = 0; i < 50; i++)
		block(0x40000000 + i * i * 100000, 100 + i * 5000);
	for (uint64_t i = 0; i < 50; i++)
		block(FAR + i * 0x10000000, 0);
	address_index_make(&x, blocks, n_blocks);
	for (size_t i = 0; i < n_blocks; i++) {
		uint64_t first = blocks[i].address, size = blocks[i].size ? blocks[i].size : 1;
		uint64_t asked[] = {first, first + size - 1, first + size, first - 1};

		for (size_t k = 0; k < COUNT_OF(asked); k++) {
			const uint32_t *page = address_index_page(&x, asked[k]);
			uint32_t found = page ? address_index_find(&x, page, asked[k])
					      : ADDRESS_INDEX_NONE;
			uint32_t right = ADDRESS_INDEX_NONE;

			for (size_t n = i ? i - 1 : 0; n < n_blocks && n <= i + 1; n++)
				if (asked[k] >= blocks[n].address &&
				    asked[k] < blocks[n].address +
						       (blocks[n].size ? blocks[n].size : 1))
					right = (uint32_t)n;
			good &= found == right;
		}
	}
	ok(good, "the block of an address, of %zu, at their ends", n_blocks);
	ok(x.n_regions > 40 && !address_index_page(&x, 0) && !address_index_page(&x, UINT64_MAX),
	   "gaps have no pages");
	address_index_release(&x);
	address_index_make(&x, blocks, 0);
	ok(!x.span && !address_index_page(&x, BASE), "of none");
	address_index_release(&x);
}

/* ---- random memories -------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return random_state >> 33;
}

static void make_random(size_t wanted, uint64_t most_bytes)
{
	uint64_t next[2] = {BASE + 4096, FAR + 16};
	uint64_t end[2] = {BASE + BYTES, FAR + BYTES};

	begin();
	root(BASE, 1024);
	for (int area = 0; area < 2; area++) {
		while (n_blocks < wanted * (size_t)(area + 1) / 2) {
			uint64_t size = next_random() % most_bytes;

			if (next[area] + size + 64 > end[area])
				break;
			block(next[area], size);
			next[area] += (size + 24 + next_random() % 200) & ~7ull;
		}
	}
	for (size_t i = 0; i < n_blocks * 3 / 2; i++) {
		const struct pointers_block *from = &blocks[next_random() % n_blocks];
		const struct pointers_block *to = &blocks[next_random() % n_blocks];
		uint64_t word = to->address + (next_random() % 4 ? 0 : next_random() % (to->size + 2));

		if (from->size >= 16)
			put((from->address + next_random() % (from->size - 8)) & ~7ull, word);
		if (next_random() % wanted < 6)
			put(BASE + next_random() % 128 * 8, word);
	}
}

/* The plain way: again and again over all words, until nothing changes. */
static size_t block_of(uint64_t address)
{
	for (size_t i = 0; i < n_blocks; i++)
		if (address - blocks[i].address < (blocks[i].size ? blocks[i].size : 1))
			return i;
	return SIZE_MAX;
}

static struct edge {
	size_t from, to; /* from SIZE_MAX: a root */
	bool inside;
} edges[65536];
static size_t n_edges;

static void add_edges(size_t from, uint64_t start, uint64_t end)
{
	for (uint64_t a = (start + 7) & ~7ull; a + 8 <= end; a += 8) {
		uint64_t word;
		size_t to;

		memcpy(&word, at(a), 8);
		to = word ? block_of(word) : SIZE_MAX;
		if (to != SIZE_MAX && n_edges < COUNT_OF(edges))
			edges[n_edges++] = (struct edge){from, to, word != blocks[to].address};
	}
}

/* What is left is lost: @first, and all that it leads to and nobody has yet. */
static void judge_clique(uint8_t *to, size_t first)
{
	static bool is_seen[COUNT_OF(blocks)];
	bool changes = true;

	memset(is_seen, 0, sizeof(is_seen));
	is_seen[first] = true;
	to[first] = BLOCK_DEFINITE;
	while (changes) {
		changes = false;
		for (size_t i = 0; i < n_edges; i++) {
			const struct edge *e = &edges[i];

			if (e->from == SIZE_MAX || !is_seen[e->from] || is_seen[e->to] ||
			    (to[e->to] && to[e->to] != BLOCK_DEFINITE))
				continue;
			is_seen[e->to] = changes = true;
			to[e->to] = BLOCK_INDIRECT;
		}
	}
}

static void judge_plainly(uint8_t *to)
{
	bool changes = true;

	n_edges = 0;
	memset(to, 0, n_blocks);
	add_edges(SIZE_MAX, roots[0].start, roots[0].end);
	for (size_t i = 0; i < n_blocks; i++)
		add_edges(i, blocks[i].address, blocks[i].address + blocks[i].size);
	while (changes) {
		changes = false;
		for (size_t i = 0; i < n_edges; i++) {
			const struct edge *e = &edges[i];
			uint8_t before = e->from == SIZE_MAX ? BLOCK_REACHABLE : to[e->from];
			uint8_t then = before && e->inside ? BLOCK_POSSIBLE : before;

			if (then > to[e->to]) { /* reachable is more than possible */
				to[e->to] = then;
				changes = true;
			}
		}
	}
	for (size_t first = 0; first < n_blocks; first++)
		if (!to[first])
			judge_clique(to, first);
}

static void test_random(uint64_t seed)
{
	static uint8_t plainly[COUNT_OF(blocks)], again[COUNT_OF(blocks)];
	size_t bad = 0, count[BLOCK_KINDS] = {0};
	bool same = true;

	random_state = seed;
	memory.is_vtable = NULL;
	for (int round = 0; round < 200; round++) {
		struct pointers p;

		make_random(1 + next_random() % 150, round % 2 ? 100 : 2000);
		find(&p, 1, 0);
		reachability_judge(&p, kinds);
		pointers_release(&p);
		judge_plainly(plainly);
		bad += memcmp(kinds, plainly, n_blocks) != 0;
		for (size_t i = 0; i < n_blocks; i++)
			count[kinds[i]]++;
	}
	ok(!bad && !count[0] && count[1] > 500 && count[2] > 500 && count[3] > 500 && count[4] > 500,
	   "random memories: %zu definite, %zu indirect, %zu possible, %zu reachable, as the plain way "
	   "has them (%zu rounds differ)", count[1], count[2], count[3], count[4], bad);
	for (int round = 0; round < 5 && same; round++) {
		struct pointers p;

		make_random(20000, 700); /* large enough for threads */
		for (unsigned int threads = 1; threads <= 4; threads++) {
			find(&p, threads, 0);
			reachability_judge(&p, threads == 1 ? again : kinds);
			same &= threads == 1 || (!memcmp(kinds, again, n_blocks) && p.n_parts > 1);
			pointers_release(&p);
		}
	}
	ok(same, "the same by one thread and by several");
	memory.is_vtable = is_vtable;
}

static void test_large(void)
{
	begin();
	root(BASE, 8);
	block(BASE + 4096, BYTES - 4096); /* several readings of one block */
	block(FAR, 64);
	block(FAR + 64, 64);
	put(BASE, BASE + 4096);
	put(BASE + BYTES - 8, FAR);
	put(BASE + (1 << 20) + 8, FAR + 64 + 8);
	is(judged(), "rrp", "a block that is larger than what is read at once");
	begin();
	root(BASE, 8);
	for (uint64_t i = 0; i < 100000; i++)
		block(BASE + 4096 + 32 * i, 24);
	for (uint64_t i = 0; i + 1 < n_blocks; i++)
		put(blocks[i].address, blocks[i + 1].address);
	put(BASE, blocks[0].address);
	n_reads = 0;
	{
		struct pointers p;
		bool all = !find(&p, 1, 0);

		reachability_judge(&p, kinds);
		for (size_t i = 0; i < n_blocks; i++)
			all &= kinds[i] == BLOCK_REACHABLE;
		ok(all && n_reads < 40, "a chain of %zu, in %zu readings", n_blocks, n_reads);
		pointers_release(&p);
	}
}

static void test_giving_up(void)
{
	struct pointers p;

	begin();
	root(BASE, 1024);
	block(BASE + 4096, 1 << 20);
	ok(find(&p, 0, clock_now_ns() - 1) == -ETIME, "the deadline");
	pointers_release(&p);
	read_error = -ESRCH;
	ok(find(&p, 0, 0) == -ESRCH, "what cannot be read");
	pointers_release(&p);
	read_error = 0;
	n_blocks = 0;
	ok(!find(&p, 0, 0) && !p.roots.n_edges, "no blocks");
	reachability_judge(&p, kinds);
	pointers_release(&p);
}

int main(void)
{
	const char *seed = getenv("HEAPTRAIL_SEED");

	test_chains();
	test_doubtful();
	test_edges_of_words();
	test_cliques();
	test_heuristics();
	test_index();
	test_random(seed ? strtoull(seed, NULL, 0) : clock_now_ns());
	test_large();
	test_giving_up();
	return done();
}
