/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_ALLOCATION_CALLS_H
#define IMAGE_ALLOCATION_CALLS_H

#include <stdint.h>

#include "image/elf_file.h"
#include "common/allocation_form.h"

/*
 * Which of the allocator's functions a file's code calls: told by the call instruction
 * before a return address, through the linkage table if need be.  operator delete of
 * libstdc++ is but a jump to free(): only its caller's code says which was meant.
 */
struct allocation_calls;

/* @elf must live as long. */
struct allocation_calls *allocation_calls_new(struct elf_file *elf);
/* NULL is fine. */
void allocation_calls_free(struct allocation_calls *c);

/*
 * Of the function that the call before @return_address, of the file's own, calls.  In an
 * operator that the program has replaced it is FORM_UNKNOWN: it may keep its books there.
 */
enum allocation_form allocation_calls_to(struct allocation_calls *c, uint64_t return_address);
/*
 * Of the operator new or delete whose code the call is part of, if that is the C++ runtime's
 * or the call is one of another operator; elsewhere FORM_UNKNOWN.
 */
enum allocation_form allocation_calls_within(struct allocation_calls *c, uint64_t return_address);

/* That of a function of that name, as linkers know it. */
enum allocation_form allocation_form_of(const char *symbol);

#endif
