/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/command_line.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/json.h"
#include "common/xalloc.h"

static void put_word(struct buffer *line, const char *word)
{
	bool quote = !*word || word[strcspn(word, " \t\n'\"\\$&|;<>()*?")];

	if (line->len)
		buffer_append(line, " ", 1);
	if (quote)
		buffer_append(line, "'", 1);
	buffer_append(line, word, strlen(word));
	if (quote)
		buffer_append(line, "'", 1);
}

char *command_line(const struct catalog *c, bool is_short)
{
	const char *text = catalog_text(c, "command");
	struct buffer line = {0};
	char **args, *safe;

	if (!text || json_parse_strings(text, &args) < 0)
		return xstrdup("?");
	for (char **a = args; *a; a++)
		put_word(&line, is_short && a == args ? path_base(*a) : *a);
	buffer_append(&line, "", 1);
	json_free_strings(args);
	safe = xmalloc(line.len);
	format_safe(safe, line.len, (char *)line.data);
	buffer_release(&line);
	return safe;
}
