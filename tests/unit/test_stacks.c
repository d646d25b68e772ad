/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <string.h>

#include "analyzer/stacks.h"
#include "analyzer/own.h"
#include "common/xalloc.h"
#include "tests/unit/catalog_fixture.h"
#include "tests/unit/tap.h"

static struct stack_walk walk;
static struct stack_line lines[STACK_FRAMES_MAX];

static const struct stack_walk *walked(uint32_t id)
{
	memset(&walk, 0xff, sizeof(walk));
	stacks_walk(&catalog, (struct stack_id){id}, &walk);
	return &walk;
}

/* Is it of @n frames, and ends so? */
static bool is(uint32_t id, size_t n, unsigned int end)
{
	walked(id);
	if (walk.n == n && walk.end == end)
		return true;
	diag("stack %" PRIu32 " has %zu frames and end %u", id, walk.n, walk.end);
	return false;
}

/* A complete stack of the functions @names, "a", "b", … innermost first, a letter each. */
static uint32_t stack_of(const char *names)
{
	static char text[26][2];
	uint32_t s = 0;

	for (size_t i = strlen(names); i-- > 0;) {
		char *name = text[names[i] - 'a'];

		name[0] = names[i];
		s = push(s, frame(1, name), STACK_COMPLETE);
	}
	return s;
}

/* ---- walking ----------------------------------------------------------------------- */

static void test_walk(void)
{
	uint32_t s;

	forget();
	s = stack_of("abc");
	ok(is(s, 3, STACK_COMPLETE) && !strcmp(frames[walk.frames[0].v].function, "a") &&
		   !strcmp(frames[walk.frames[2].v].function, "c"),
	   "a stack, innermost first");
	ok(is(s - 2, 1, STACK_COMPLETE), "a part of it is a stack, too");
	for (unsigned int end = STACK_CALLER; end < STACK_ENDS; end++)
		ok(is(push(0, 1, end), 1, end), "one that is %s", stacks_end_text(end));
	ok(is(push(0, 1, STACK_ENDS), 1, STACK_END_UNKNOWN) &&
		   is(push(0, 1, STACK_UNRECORDED), 1, STACK_END_UNKNOWN) &&
		   is(push(0, 1, 255), 1, STACK_END_UNKNOWN),
	   "a reason that is not known is one of its own");
}

static void test_hostile(void)
{
	uint32_t f, s = 0;

	forget();
	f = frame(1, "a");
	ok(is(0, 0, STACK_UNRECORDED), "no stack was wanted");
	ok(is(1, 0, STACK_LOST) && is(UINT32_MAX, 0, STACK_LOST), "one that is not there");
	ok(is(push(0, 0, 0), 0, STACK_LOST) && is(push(0, 7, 0), 0, STACK_LOST),
	   "one whose frame is not there");
	ok(is(push(UINT32_MAX, f, 0), 1, STACK_BROKEN), "a caller that is not there");
	ok(is(push(UINT32_MAX, f, STACK_UNREADABLE), 1, STACK_UNREADABLE), "and a reason for it");
	s = (uint32_t)catalog.n_stacks;
	push(s, f, 0);
	ok(is(s, STACK_FRAMES_MAX, STACK_TOO_DEEP), "its own caller");
	push(s + 2, f, 0);
	push(s + 1, f, STACK_LOST);
	ok(is(s + 1, STACK_FRAMES_MAX, STACK_TOO_DEEP) && is(s + 2, STACK_FRAMES_MAX, STACK_LOST),
	   "a circle");
	s = 0;
	for (int i = 0; i < STACK_FRAMES_MAX; i++)
		s = push(s, f, 0);
	ok(is(s, STACK_FRAMES_MAX, STACK_COMPLETE), "the longest");
	ok(is(push(s, f, 0), STACK_FRAMES_MAX, STACK_TOO_DEEP), "one frame more than that");
}

static void test_words(void)
{
	ok(!stacks_end_name(STACK_COMPLETE) && !strcmp(stacks_end_text(0), "complete"),
	   "complete stacks need no reason");
	for (unsigned int end = 1; end < STACK_WALK_ENDS; end++)
		ok(stacks_end_name(end) && stacks_end_text(end) &&
			   !strpbrk(stacks_end_name(end), " -"),
		   "a word for %s", stacks_end_name(end));
	ok(!strcmp(stacks_end_name(255), "unknown") && !strcmp(stacks_end_name(UINT32_MAX), "unknown"),
	   "and for any other");
}

/* ---- frames that read the same ----------------------------------------------------- */

static bool same(uint32_t a, uint32_t b)
{
	uint32_t *classes = stacks_classify_frames(&catalog);
	bool classed = classes[a] == classes[b];
	bool result = stacks_same_frame(&catalog, (struct frame_id){a}, (struct frame_id){b});

	free(classes);
	if (classed != result)
		diag("frames %" PRIu32 " and %" PRIu32 " are classed otherwise", a, b);
	return classed && result;
}

static bool same_stack(uint32_t a, uint32_t b)
{
	struct own own;
	bool result;

	own_init(&own, &catalog, NULL, 0);
	result = own_stack_identity(&own, (struct stack_id){a}) ==
		 own_stack_identity(&own, (struct stack_id){b});
	own_release(&own);
	return result;
}

static void test_same(void)
{
	char other[] = "a";
	uint32_t a, b;

	forget();
	a = frame(1, "a");
	ok(same(a, frame(1, other)), "the same function by another address");
	ok(!same(a, frame(2, "a")), "in another module: not");
	ok(!same(a, frame(1, "b")) && !same(a, frame(1, NULL)), "another function: not");
	a = frame(1, NULL);
	b = frame(1, NULL);
	ok(!same(a, b), "without names other addresses are other frames");
	frames[b].offset = frames[a].offset;
	ok(same(a, b), "the same address is the same");
	a = frame(1, "a");
	b = frame(1, "a");
	frames[a].file = frames[b].file = "a.c";
	frames[a].line = frames[b].line = 1;
	ok(same(a, b), "the same line");
	frames[b].line = 2;
	ok(!same(a, b), "another line: not");
	frames[b].line = 1;
	frames[b].file = NULL;
	ok(!same(a, b), "no file: not");

	ok(same_stack(stack_of("abc"), stack_of("abc")), "stacks of the same frames");
	ok(!same_stack(stack_of("abc"), stack_of("acb")), "another order");
	ok(!same_stack(stack_of("abc"), stack_of("ab")), "one frame less");
	ok(!same_stack(stack_of("aab"), stack_of("aaab")), "one call deeper");
	a = push(0, frame(1, "a"), STACK_COMPLETE);
	b = push(0, frame(1, "a"), STACK_TOO_DEEP);
	ok(!same_stack(a, b), "a truncated one is not the same as a complete one");
	ok(same_stack(UINT32_MAX - 1, UINT32_MAX), "those that are not there are the same");
}

/* ---- lines ------------------------------------------------------------------------- */

/* "a", "b", "+3*2" (the three before come twice more), "-7" (left out). */
static const char *shown(const char *names, size_t max)
{
	static char text[4096];
	size_t n, len = 0, stands_for = 0;

	forget();
	n = stacks_lines(&catalog, walked(stack_of(names)), max, lines);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		stands_for += lines[i].frames;
		if (lines[i].kind == STACK_LINE_FRAME)
			len += (size_t)snprintf(
				text + len, sizeof(text) - len, "%s",
				catalog_frame(&catalog, walk.frames[lines[i].n])->function);
		else if (lines[i].kind == STACK_LINE_REPEATED)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "+%zu*%zu",
						lines[i].cycle, lines[i].n);
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "-%zu", lines[i].n);
	}
	if (stands_for != walk.n)
		return "not all frames are counted";
	return text;
}

static void shows(const char *names, size_t max, const char *want)
{
	const char *got = shown(names, max);

	ok(!strcmp(got, want), "%s in %zu lines: %s", names, max, got);
}

static void test_lines(void)
{
	shows("", 0, "");
	shows("abcdef", 0, "abcdef");
	shows("aa", 0, "aa");
	shows("aaa", 0, "a+1*2");
	shows("xaaaay", 0, "xa+1*3y");
	shows("xababy", 0, "xababy");
	shows("xabababy", 0, "xab+2*2y");
	shows("xabababay", 0, "xab+2*2ay");
	shows("aabaabaab", 0, "aab+3*2");
	shows("abcdefghabcdefghabcdefgh", 0, "abcdefgh+8*2");
	shows("abcdefghiabcdefghiabcdefghi", 0, "abcdefghiabcdefghiabcdefghi");

	shows("abcdefgh", 6, "abcd-2gh");
	shows("abcdefg", 6, "abcdefg");
	shows("abcdefgh", 1, "a-7");
	shows("abcdefgh", 3, "ab-5h");
	shows("ab", 1, "ab");
	shows("", 1, "");
	shows("aaaaaaaaaabcdef", 5, "a+1*9bc-2f");
	shows("abcdefghxxxxxxxxxx", 6, "abcd-4x+1*9");
	shows("abcdefghxxxxxxxxxx", 4, "abc-15");
	shows("abcdefghxxxxxxxxxxy", 6, "abcd-14y");
	shows("abcdefghxxxxxxxxxxyz", 6, "abcd-14yz");
	shows("abcdefghxxxxxyz", 9, "abcdef-7yz");
	shows("abcdefghxxxxxyz", 12, "abcdefghx+1*4yz");
	shows("abcdefghijxxxxxyz", 12, "abcdefgh-2x+1*4yz");
}

/* Whatever the stack: so many lines at most, and no frame is lost. */
static void test_random_lines(void)
{
	char names[121];
	bool fine = true;

	for (int i = 0; i < 20000 && fine; i++) {
		size_t n = random_below(120), max = random_below(20), letters = 1 + random_below(4);

		for (size_t k = 0; k < n; k++)
			names[k] = (char)('a' + random_below(letters));
		names[n] = '\0';
		fine = strcmp(shown(names, max), "not all frames are counted") != 0 &&
		       (!max ||
			stacks_lines(&catalog, walked((uint32_t)catalog.n_stacks - 1), max, lines) <=
				max + 1);
	}
	ok(fine, "random stacks in lines%s%s", fine ? "" : ": not ", fine ? "" : names);
}

/* ---- counting ---------------------------------------------------------------------- */

static void test_count(void)
{
	struct stack_calls calls[7];
	struct analysis a = {.stacks = calls, .n_stacks = COUNT_OF(calls)};
	struct stack_blames blames;
	struct stack_counts counts;
	uint32_t outer;

	forget();
	outer = push(0, frame(7, "z"), STACK_TOO_DEEP);
	calls[0] = (struct stack_calls){{stack_of("ab")}, 1};
	calls[1] = (struct stack_calls){{stack_of("abc")}, 2};
	calls[2] = (struct stack_calls){{push(outer, frame(1, "a"), STACK_TOO_DEEP)}, 4};
	calls[3] = (struct stack_calls){{push(outer, frame(1, "b"), STACK_TOO_DEEP)}, 8};
	calls[4] = (struct stack_calls){{outer}, 16};
	calls[5] = (struct stack_calls){{push(0, frame(7, "y"), 99)}, 32};
	calls[6] = (struct stack_calls){{UINT32_MAX}, 64};
	stacks_count(&catalog, &a, &counts);
	ok(counts.all.stacks == 7 && counts.all.alloc_calls == 127, "all stacks are counted");
	ok(counts.ends[STACK_COMPLETE].stacks == 2 && counts.ends[STACK_COMPLETE].alloc_calls == 3 &&
		   counts.ends[STACK_TOO_DEEP].stacks == 3 &&
		   counts.ends[STACK_TOO_DEEP].alloc_calls == 28 &&
		   counts.ends[STACK_ENDS].alloc_calls == 32 &&
		   counts.ends[STACK_LOST].alloc_calls == 64,
	   "by how they end");
	ok(stacks_have_frames(&counts), "not only callers");

	stacks_blame(&catalog, &a, &blames);
	ok(blames.n == 3 && blames.blames[0].module.v == 0 && blames.blames[0].end == STACK_LOST &&
		   blames.blames[0].count.alloc_calls == 64 && blames.blames[1].module.v == 7 &&
		   blames.blames[1].end == STACK_ENDS && blames.blames[2].module.v == 7 &&
		   blames.blames[2].end == STACK_TOO_DEEP && blames.blames[2].count.stacks == 3 &&
		   blames.blames[2].count.alloc_calls == 28,
	   "where the truncated ones end, most calls first");
	stacks_blame_release(&blames);

	for (size_t i = 0; i < COUNT_OF(calls); i++)
		calls[i].stack.v = push(0, frame(1, "a"), STACK_CALLER);
	stacks_count(&catalog, &a, &counts);
	stacks_blame(&catalog, &a, &blames);
	ok(!stacks_have_frames(&counts) && !blames.n, "only callers: nobody is to blame");
	stacks_blame_release(&blames);
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		calls[i].stack.v = 0;
	stacks_count(&catalog, &a, &counts);
	stacks_blame(&catalog, &a, &blames);
	ok(!stacks_have_frames(&counts) && !blames.n &&
		   counts.ends[STACK_UNRECORDED].stacks == COUNT_OF(calls),
	   "no stacks wanted: nor then");
	stacks_blame_release(&blames);
	a.n_stacks = 0;
	stacks_count(&catalog, &a, &counts);
	ok(!counts.all.stacks && !stacks_have_frames(&counts), "no stacks at all");
}

int main(void)
{
	seed_random();
	test_walk();
	test_hostile();
	test_words();
	test_same();
	test_lines();
	test_random_lines();
	test_count();
	return done();
}
