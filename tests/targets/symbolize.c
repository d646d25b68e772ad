/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * symbolize FILE [FOLDER]: reads addresses in hex, and prints for each of the functions at
 * each: the address, the depth, the function, file:line, with a tab between.  At the end
 * what was found.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "image/symbolizer.h"

static uint64_t *addresses;
static size_t n_addresses, cap_addresses;

static void print(void *arg, const struct symbolized *s)
{
	(void)arg;
	printf("%" PRIx64 "\t%u\t%s\t%s:%u\n", addresses[s->place], s->depth,
	       s->function ? s->function : "??", s->file ? s->file : "??", s->line);
}

int main(int argc, char **argv)
{
	static const char *const words[] = {[DEBUG_NONE] = "none",
					    [DEBUG_SYMBOLS] = "symbols",
					    [DEBUG_INFO] = "info",
					    [DEBUG_DAMAGED] = "damaged"};
	struct symbolizer_options o = {.debug_path = argc > 2 ? argv[2] : NULL};
	enum debug_info found;
	uint64_t address;
	int fd, r;

	if (argc < 2)
		return 2;
	while (scanf("%" SCNx64, &address) == 1) {
		ARRAY_GROW(addresses, cap_addresses, n_addresses);
		addresses[n_addresses++] = address;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 3;
	r = symbolize_file(fd, argv[1], addresses, n_addresses, &o, print, NULL, &found);
	printf("= %s\n", r ? strerror(-r) : words[found]);
	close(fd);
	free(addresses);
	return !!r;
}
