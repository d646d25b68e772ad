/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sessions [apart]: a server after its rush hour.  Each session had a buffer, which is freed
 * when it ends, and leaves a note, which is kept.  The notes lie between the buffers, so the
 * pages stay; with "apart" they are taken from chunks of their own, and the pages go.  Says
 * "ready", waits for a line and ends.
 */
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SESSIONS 150000
#define BUFFER 1100
#define NOTES 512 /* in a chunk */

struct note {
	struct note *next;
	char text[184];
};

static struct note *notes;
static char *buffers[SESSIONS];
static bool apart;

__attribute__((noinline)) static struct note *remember(int session)
{
	static struct note *chunk;
	static int used = NOTES;
	struct note *n;

	if (!apart) {
		n = malloc(sizeof(*n));
	} else {
		if (used == NOTES) {
			chunk = malloc(NOTES * sizeof(*chunk));
			used = 0;
		}
		n = &chunk[used++];
	}
	n->next = notes;
	snprintf(n->text, sizeof(n->text), "session %d", session);
	memset(n->text + 20, 'x', sizeof(n->text) - 20);
	return notes = n;
}

__attribute__((noinline)) static void begin(int session)
{
	buffers[session] = malloc(BUFFER);
	memset(buffers[session], 'b', BUFFER);
}

int main(int argc, char **argv)
{
	char line;

	apart = argc > 1 && !strcmp(argv[1], "apart");
	for (int i = 0; i < SESSIONS; i++) {
		begin(i);
		remember(i);
	}
	for (int i = 0; i < SESSIONS; i++)
		free(buffers[i]);
	malloc_trim(0);
	return write(1, "ready\n", 6) != 6 || read(0, &line, 1) < 0;
}
