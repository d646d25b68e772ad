/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C whose places tests/e2e/symbols.py looks up: inlined functions of a header, cold parts, clones. */
#include <errno.h>
#include <stdio.h>

#include "symbols.h"

#define TWICE(x) ((x) + (x))

static inline __attribute__((always_inline)) int innermost(int x)
{
	return TWICE(x) + mix(x, 7);
}

static inline __attribute__((always_inline)) int inner(int x)
{
	int y = innermost(x + 1);

	return y > 100 ? innermost(y) : y;
}

static __attribute__((noinline)) int clone_me(const char *text, size_t len, int base)
{
	int h = base;

	for (size_t i = 0; i < len; i++)
		h = mix(h, inner(text[i]));
	return h;
}

__attribute__((noinline, cold)) static void complain(const char *what)
{
	fprintf(stderr, "cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

int sort_them(int *numbers, size_t n)
{
	if (!numbers)
		complain("sort nothing");
	qsort(numbers, n, sizeof(*numbers), compare);
	for (size_t i = 1; i < n; i++)
		numbers[i] = mix(numbers[i], numbers[i - 1]);
	return numbers[n - 1];
}

static int state_machine(const char *p)
{
	int depth = 0, words = 0;

	for (;; p++) {
		switch (*p) {
		case 0:
			return depth ? -words : words;
		case '(':
			depth++;
			break;
		case ')':
			if (--depth < 0)
				complain("close what is not open");
			break;
		case ' ':
		case '\t':
			words += inner(depth);
			break;
		default:
			if (*p >= '0' && *p <= '9')
				words = mix(words, *p - '0');
		}
	}
}

int main(int argc, char **argv)
{
	int numbers[16], total = 0;
	struct list *l = NULL;

	for (int i = 0; i < 16; i++) {
		numbers[i] = inner(i) ^ argc;
		l = push(l, numbers[i]);
	}
	for (int i = 0; i < argc; i++)
		total += clone_me(argv[i], strlen(argv[i]), 17) + state_machine(argv[i]);
	total += sort_them(numbers, 16) + sum(l);
	drop(l);
	printf("%d\n", total);
	return 0;
}
