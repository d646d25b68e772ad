#include "subtitles.h"

/* Shows a line until the next one comes. */
void subtitle_show(struct screen *s, const char *text)
{
	struct line *line;
	line = line_new(text);
	line->next = s->lines;
	s->lines = line;	/* and nobody ever takes one off */
}

struct line *line_new(const char *text)
{
	struct line *line;

	line = malloc(sizeof(*line) + strlen(text) + 1);
	strcpy(line->text, text);
	return line;
}
