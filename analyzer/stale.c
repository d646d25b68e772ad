/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/stale.h"

#include <errno.h>

#define TRIES 100 /* a recorder that drops this often meanwhile is none */

int stale_begin_anew(struct stale *s, uint64_t at)
{
	s->tries = at > s->furthest ? 0 : s->tries + 1;
	if (at > s->furthest)
		s->furthest = at;
	return s->is_of_finished || s->tries >= TRIES ? -EBADMSG : 1;
}
