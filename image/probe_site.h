/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_PROBE_SITE_H
#define IMAGE_PROBE_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where in a function to put its entry probe.
 *
 * The kernel emulates a few instructions when a breakpoint on them is hit: push
 * of a register, jumps and calls with a relative target, and nop.  Any other it
 * copies out and single-steps: a second trap, which makes the probe about ten
 * times as dear.  So the place is the first instruction that is emulated and
 *   - before which no argument register that the probe reads has been written,
 *     nor the stack pointer, so that a return probe may sit there too (for an
 *     entry probe alone it may have moved by a known distance);
 *   - that every path from the entry passes, except that of a NULL argument
 *     where such a call is no event at all: free(NULL);
 *   - to which, and before which, nothing else in the function jumps.
 * Where there is none, it is offset 0, single-stepped.
 */
struct probe_site {
	uint32_t offset; /* bytes from the function's start */
	bool emulated;
	uint32_t stack_bytes; /* by so much the stack has grown since the entry */
	char instruction[40]; /* as a disassembler writes it; "?" if it cannot be decoded */
};

/*
 * @code: the function's @len bytes, at @address.  @arguments: bit N-1 is set
 * where the probe reads argument N (1..6).  @null_argument: the argument for
 * which NULL is no event, or 0.  @returns: there is a return probe, too.
 */
struct probe_site probe_site_find(const uint8_t *code, size_t len, uint64_t address,
				  unsigned int arguments, int null_argument, bool returns);

#endif
