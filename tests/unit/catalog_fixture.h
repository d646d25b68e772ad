/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_CATALOG_FIXTURE_H
#define TESTS_UNIT_CATALOG_FIXTURE_H

/* A catalog of frames and stacks that a test makes up. */
#include <string.h>

#include "store/reader.h"
#include "store/stack_end.h"

#define FRAMES 4000
#define STACKS 8000

static struct catalog_frame frames[FRAMES];
static struct catalog_stack stacks[STACKS];
static struct catalog catalog = {.frames = frames, .stacks = stacks};

static inline void forget(void)
{
	memset(frames, 0, sizeof(frames));
	memset(stacks, 0, sizeof(stacks));
	catalog.n_frames = catalog.n_recorded_frames = catalog.n_stacks = 1;
}

/* Every frame has another address. */
static inline uint32_t frame(uint32_t module, const char *function)
{
	uint32_t id = (uint32_t)catalog.n_frames++;

	frames[id] = (struct catalog_frame){
		.module = {module}, .offset = 0x100 + id, .function = function};
	return id;
}

static inline uint32_t push(uint32_t parent, uint32_t frame, unsigned int end)
{
	uint32_t id = (uint32_t)catalog.n_stacks++;

	stacks[id] = (struct catalog_stack){{parent}, {frame}, (uint8_t)end};
	return id;
}

#endif
