/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SYMBOLS_H
#define SYMBOLS_H

/* What symbols.c inlines from elsewhere. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct list {
	struct list *next;
	int value;
};

static inline int mix(int a, int b)
{
	a ^= b << 3;
	if (a & 1)
		a += b;
	return a * 31;
}

static inline struct list *push(struct list *head, int value)
{
	struct list *l = malloc(sizeof(*l));

	if (!l)
		return head;
	l->next = head;
	l->value = mix(value, value + 1);
	return l;
}

static inline int sum(const struct list *l)
{
	int total = 0;

	for (; l; l = l->next)
		total = mix(total, l->value);
	return total;
}

static inline void drop(struct list *l)
{
	while (l) {
		struct list *next = l->next;

		free(l);
		l = next;
	}
}

#endif
