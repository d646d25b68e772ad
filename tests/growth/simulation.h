/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_GROWTH_SIMULATION_H
#define TESTS_GROWTH_SIMULATION_H

/* A program that never ran: places that allocate, by chance, and the recording of what they do. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/writer.h"

#define START_NS 5000000000ull
#define SITES_MAX 64
#define STACKS_MAX 40
#define THREADS 4

/* ---- chance --------------------------------------------------------------------------------- */

void seed_chance(uint64_t seed);
uint64_t next_random(void);
double uniform(double from, double to);
/* Each factor between is as likely. */
double scaled(double from, double to);
int whole(int from, int to);

/* ---- places that allocate ------------------------------------------------------------------- */

enum fate {
	FATE_FREED,    /* after a time; some (@share) never */
	FATE_CACHED,   /* up to @most; then one goes for each that comes, or none comes */
	FATE_TOOTH,    /* up to @most, then nearly all go */
	FATE_QUEUED,   /* the oldest goes, less often than one comes, up to @most */
	FATE_WALK,     /* as likely one comes as one goes, between 0 and @most */
	FATE_REPLACED, /* @most at once, in the place of those before; @more each time */
	FATE_ENLARGED, /* one block, by realloc */
};

struct site {
	uint32_t stacks[STACKS_MAX];
	int n_stacks;
	enum fate fate;
	double rate;	   /* a second */
	double from, until; /* seconds in which it does anything */
	double ramp;	   /* it takes so many to come to its rate */
	double period, depth, phase; /* its rate has a rhythm, from 1 - depth to 1 */
	double lifetime;   /* the mean, in seconds */
	double share;	   /* of blocks that are never freed; of a queue: that go */
	double batch;	   /* so many come at once */
	bool is_regular;   /* by a timer, rather than by chance */
	size_t most, more;
	bool is_replacing; /* a cache that is full goes on */
	double size_low, size_high;
	uint32_t *kept; /* slots, the oldest first */
	size_t n_kept, cap_kept, first_kept;
};

extern struct site sites[SITES_MAX];
extern size_t n_sites;
extern double length; /* seconds */

/* ---- the recording -------------------------------------------------------------------------- */

extern struct store_writer *writer; /* to be opened, and closed */

/* The stack of a function that is called by stack @parent; each function has one frame. */
uint32_t call(uint32_t parent, const char *function);
/* All that comes to pass, from the beginning to the end. */
void simulate(void);
/* For another one. */
void forget_simulation(void);

#endif
