/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_EMULATION_H
#define IMAGE_EMULATION_H

#include <capstone/capstone.h>

/* Which instructions the kernel emulates at a probe, instead of single-stepping a copy. */
enum emulation {
	NOT_EMULATED,
	EMULATED_SOMETIMES, /* newer kernels only: endbr64 and long nops */
	EMULATED,
};

enum emulation emulation_of(const cs_insn *insn);

#endif
