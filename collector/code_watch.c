/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/code_watch.h"

#include <errno.h>

#include "common/clock.h"

/* Without a thread that waits, the mappings are read no more often. */
#define AGAIN_NS 10000000ull
#define RETRY_NS 1000000000ull /* after a failure */
#define TRIES 3

static uint16_t generation(void *arg)
{
	return probes_code_generation(arg);
}

static void name_file(void *arg, uint32_t id, const struct process_map *map)
{
	call_sites_set_file(arg, id, map);
}

void code_watch_init(struct code_watch *w, struct probes *p, struct drain *d)
{
	*w = (struct code_watch){.probes = p, .drain = d};
	drain_set_stacks(d, probes_stack_mode(p), generation, p);
	if (d->stack_mode == STACK_MODE_AUTO)
		w->tables = unwind_tables_new(p, name_file, &d->sites);
}

void code_watch_release(struct code_watch *w)
{
	unwind_tables_free(w->tables);
	*w = (struct code_watch){0};
}

/* -EAGAIN: code comes and goes so quickly that files and mappings could not be matched. */
static int read_code(struct code_watch *w, uint64_t now)
{
	struct call_sites *sites = &w->drain->sites;
	int r = 0;

	for (int i = 0; i < TRIES; i++) {
		if (!call_sites_read_maps(sites, now) || !w->tables)
			return 0;
		r = unwind_tables_update(w->tables, sites->pid, &sites->maps, sites->generation);
		if (r != -EAGAIN)
			break;
	}
	return r;
}

static int update(struct code_watch *w)
{
	uint64_t asked = probes_tables_asked(w->probes), now = clock_now_ns();
	int r;

	probes_take_tables_wanted(w->probes);
	r = read_code(w, now);
	w->is_wanted = r != 0;
	w->next_ns = now + (r && r != -EAGAIN ? RETRY_NS : AGAIN_NS);
	w->asked = asked;
	probes_set_tables_ready(w->probes, asked);
	return r;
}

int code_watch_begin(struct code_watch *w)
{
	int r;

	unwind_tables_reserve(w->tables);
	r = update(w);
	unwind_tables_reserve(w->tables);
	return r == -EAGAIN ? 0 : r;
}

void code_watch_mark(struct code_watch *w)
{
	if (probes_tables_asked(w->probes) != w->asked)
		update(w);
}

void code_watch_mind(struct code_watch *w)
{
	if (!w->tables)
		return;
	if (probes_take_tables_wanted(w->probes))
		w->is_wanted = true;
	if (probes_tables_asked(w->probes) != w->asked || /* its mark was lost */
	    (w->is_wanted && clock_now_ns() >= w->next_ns)) {
		drain_code_changed(w->drain);
		update(w);
	} else {
		unwind_tables_reserve(w->tables);
	}
}
