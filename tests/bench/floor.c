/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor of the benchmark: heaptrail's own probes, at the same places, with
 * programs that do nothing.  Attaches to a process, says "ready", and lets go of
 * it at the end of standard input.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "collector/plan.h"
#include "collector/probes.h"
#include "image/process_maps.h"

int main(int argc, char **argv)
{
	pid_t pid = argc == 2 ? (pid_t)strtol(argv[1], NULL, 10) : 0;
	struct probes_options options = {.pid = pid, .ring_bytes = 4096, .measure = PROBES_EMPTY,
					 .stack_mode = STACK_MODE_CALLER};
	struct process_maps maps;
	struct probes *probes;
	struct plan plan;
	struct err err;
	int c;

	if (process_maps_read(pid, &maps, &err) || probes_load(&options, &probes, &err)) {
		fprintf(stderr, "floor: %s\n", err.what);
		return 1;
	}
	plan_make(pid, &maps, &plan);
	if (probes_attach(probes, &plan, &err)) {
		fprintf(stderr, "floor: %s\n", err.what);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	do
		c = getchar();
	while (c != EOF);
	probes_free(probes);
	plan_release(&plan);
	process_maps_release(&maps);
	return 0;
}
