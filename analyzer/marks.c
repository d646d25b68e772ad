/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/marks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

const char *mark_key(char *buf, unsigned int number)
{
	snprintf(buf, MARK_KEY_BYTES, MARK_KEY "%04u", number);
	return buf;
}

void mark_put(struct store_writer *w, unsigned int number, uint64_t t_ns, const char *text)
{
	char *value = xasprintf("%" PRIu64 " %s", t_ns, text);
	char key[MARK_KEY_BYTES];

	store_writer_put_text(w, mark_key(key, number), value);
	free(value);
}

bool mark_is_key(const char *key)
{
	return !strncmp(key, MARK_KEY, strlen(MARK_KEY));
}

static bool parse(const char *text, struct mark *ret)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	ret->t_ns = strtoull(text, &end, 10);
	if (errno || *end != ' ')
		return false;
	ret->text = end + 1;
	return true;
}

bool marks_next(const struct catalog *c, size_t *at, struct mark *ret)
{
	while (*at < c->n_facts) {
		size_t i = (*at)++;

		if (mark_is_key(c->facts[i].key) && parse(c->facts[i].text, ret))
			return true;
	}
	return false;
}
