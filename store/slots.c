/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/slots.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

void slots_release(struct slots *s)
{
	free(s->freed);
	memset(s, 0, sizeof(*s));
}

void slots_reset(struct slots *s)
{
	s->n_freed = 0;
	s->next = 0;
}

uint32_t slots_take(struct slots *s)
{
	return s->n_freed ? s->freed[--s->n_freed] : s->next++;
}

void slots_give(struct slots *s, uint32_t slot)
{
	ARRAY_GROW(s->freed, s->cap, s->n_freed);
	s->freed[s->n_freed++] = slot;
}
