/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of what heaptrail does at its probes, to be measured alone.  Attaches to a
 * process, says "ready", and lets go of it at the end of standard input.
 *
 *	floor PID pair		all probes, doing nothing: the floor
 *	floor PID entry		the probes at entries of what allocates, doing nothing
 *	floor PID stack		the same, taking the stack
 *	floor PID kernel	the same, with the kernel's own walk (bpf_get_stackid)
 */
#include "config.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/plan.h"
#include "collector/probes.h"
#include "collector/unwind_tables.h"
#include "image/process_maps.h"
#include "tests/bench/stackid.skel.h"

static struct unwind_tables *tables;
static struct process_maps maps;
static struct plan plan;

static void wait_for_end(void)
{
	int c;

	puts("ready");
	fflush(stdout);
	do
		c = getchar();
	while (c != EOF);
}

static int fail(const char *what)
{
	fprintf(stderr, "floor: %s\n", what);
	return 1;
}

static int measure_ours(pid_t pid, bool entries_only, enum probes_measure measure)
{
	struct probes_options options = {.pid = pid,
					 .ring_bytes = 1 << 20,
					 .measure = measure,
					 .entries_only = entries_only};
	struct probes *probes;
	struct err err;

	if (probes_load(&options, &probes, &err))
		return fail(err.what);
	tables = unwind_tables_new(probes, NULL, NULL);
	if (measure == PROBES_STACKS &&
	    unwind_tables_update(tables, pid, &maps, probes_code_generation(probes)))
		return fail("no unwind tables");
	if (probes_attach(probes, &plan, &err))
		return fail(err.what);
	probes_arm(probes, true);
	wait_for_end();
	probes_free(probes);
	unwind_tables_free(tables);
	return 0;
}

static int measure_kernel(pid_t pid)
{
	struct stackid_bpf *bpf = stackid_bpf__open_and_load();
	struct bpf_link *link = NULL;

	for (size_t i = 0; bpf && i < plan.n_objects; i++)
		for (size_t j = 0; j < plan.objects[i].n_points; j++) {
			const struct plan_point *p = &plan.objects[i].points[j];

			if (p->family && !strcmp(p->function->symbol, "malloc"))
				link = bpf_program__attach_uprobe(bpf->progs.stackid, false, pid,
								  plan.objects[i].file,
								  p->file_offset);
		}
	if (!link)
		return fail("cannot attach");
	wait_for_end();
	bpf_link__destroy(link);
	stackid_bpf__destroy(bpf);
	return 0;
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 3 ? (pid_t)strtol(argv[1], NULL, 10) : 0;
	struct err err;
	int r = 2;

	if (process_maps_read(pid, &maps, &err))
		return fail(err.what);
	plan_make(pid, &maps, &plan);
	if (!strcmp(argv[2], "pair"))
		r = measure_ours(pid, false, PROBES_EMPTY);
	else if (!strcmp(argv[2], "entry"))
		r = measure_ours(pid, true, PROBES_EMPTY);
	else if (!strcmp(argv[2], "stack"))
		r = measure_ours(pid, true, PROBES_STACKS);
	else if (!strcmp(argv[2], "kernel"))
		r = measure_kernel(pid);
	plan_release(&plan);
	process_maps_release(&maps);
	return r;
}
