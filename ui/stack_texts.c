/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "analyzer/stacks.h"
#include "common/buffer.h"
#include "common/xalloc.h"

/* Of a frame what place_name() says. */
static void put_place(struct buffer *text, const struct catalog *c, struct frame_id id)
{
	const struct catalog_frame *f = catalog_frame(c, id);
	char *name;

	if (f->function) {
		buffer_append(text, f->function, strlen(f->function));
		return;
	}
	name = place_name(c, f);
	buffer_append(text, name, strlen(name));
	free(name);
}

/* What place_where() says. */
static void put_where(struct buffer *text, const struct catalog *c, const struct catalog_frame *f)
{
	const char *module = catalog_module_path(c, f->module);
	const char *where = f->file ? path_base(f->file) : module ? path_base(module) : NULL;
	char line[16], *digit = line + sizeof(line);

	if (!f->function || !where)
		return;
	buffer_append(text, "  ", 2);
	buffer_append(text, where, strlen(where));
	if (!f->file)
		return;
	for (uint32_t n = f->line; digit == line + sizeof(line) || n; n /= 10)
		*--digit = (char)('0' + n % 10);
	*--digit = ':';
	buffer_append(text, digit, (size_t)(line + sizeof(line) - digit));
}

/* A stack by its own function, where that is, and who called it. */
static char *make_stack_text(const struct ui *u, struct stack_id id)
{
	static const char arrow[] = " ← ";
	const struct catalog *c = history_catalog(u->history);
	struct buffer text = {0};
	struct stack_walk w;
	size_t at;

	stacks_walk(c, id, &w);
	if (!w.n)
		return xasprintf("[%s]", stacks_end_text(w.end));
	at = own_frame(&u->own, &w);
	put_place(&text, c, w.frames[at]);
	put_where(&text, c, catalog_frame(c, w.frames[at]));
	for (size_t i = at + 1; i < w.n && i < at + 6; i++) {
		buffer_append(&text, arrow, strlen(arrow));
		put_place(&text, c, w.frames[i]);
	}
	buffer_append(&text, "", 1);
	return (char *)text.data;
}

/* The same, as long as no name changes made once only; to be freed. */
char *stack_texts_get(const struct ui *u, struct stack_id id)
{
	struct stack_texts *t = u->texts;

	if (id.v >= history_catalog(u->history)->n_stacks)
		return make_stack_text(u, id);
	ARRAY_GROW(t->texts, t->cap, id.v);
	if (!t->texts[id.v])
		t->texts[id.v] = make_stack_text(u, id);
	return xstrdup(t->texts[id.v]);
}

void stack_texts_free(struct stack_texts *t)
{
	for (size_t i = 0; t && i < t->cap; i++)
		free(t->texts[i]);
	if (t) {
		free(t->texts);
		free(t->alike);
		free(t->places);
		hashmap_release(&t->identities);
	}
	free(t);
}

static char *row_stack_text(void *arg, const struct table_row *r)
{
	return stack_texts_get(arg, (struct stack_id){r->item});
}

void stack_texts_use(struct ui *u, struct table *t, const char *title)
{
	t->text_title = title;
	t->text_columns = 40;
	t->make_text = row_stack_text;
	t->text_arg = u;
}
