/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_EH_FRAME_H
#define IMAGE_EH_FRAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * .eh_frame of an x86-64 file, as a table: which rule finds the caller of a frame,
 * by the place in the code.  (System V ABI for x86-64, section 4.2.4; LSB 5.0 core,
 * section 10.6.)
 *
 * The bytes are untrusted.  Time is linear in them but for a sort, memory within
 * some times their length.
 */

/*
 * One row: from @address on, the file's own, @rule is in force (unwind_rule.h; 0:
 * nothing is known).
 */
typedef void eh_frame_each(void *arg, uint64_t address, uint64_t rule);

/*
 * Reads the @len bytes of .eh_frame that lie at the ELF address @address, and calls
 * @each for every row.  Rows are strictly increasing by address, neighbours of
 * different rules; the last row's rule is 0.  Gaps of less than 16 bytes between
 * functions are padding, in which the rule before them goes on.  Of functions that
 * overlap, the one that begins last is right from there on (of those, the last in
 * .eh_frame).
 *
 * On success @ret_skipped is the number of records left out: damaged, or of a kind
 * that we do not know.  -EINVAL where the bytes are not .eh_frame at all.
 */
int eh_frame_walk(const uint8_t *data, size_t len, uint64_t address, eh_frame_each *each,
		  void *each_arg, size_t *ret_skipped);

#endif
