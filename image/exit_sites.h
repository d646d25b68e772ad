/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_EXIT_SITES_H
#define IMAGE_EXIT_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Where a function ends, to see what it returns without a return probe, which
 * must not be on a function that an exception can pass through.
 *
 * The code is followed from the function's start, along jumps to other functions
 * of the file too.  Its returns are ret instructions, which the kernel single-steps;
 * so each site is put at an instruction on the way there that it emulates, where the
 * result is already in some register and nothing is called any more.  That may be a
 * conditional jump which only leads there if it is taken, or if it is not.
 *
 * Every way out passes a site, some may pass several: the first counts.
 *
 * A function that ends in another file's has its result there.  But where all that it calls is
 * known never to throw, as malloc() is, nothing passes through it: a return probe may be on it.
 */
struct exit_site {
	uint64_t address; /* the file's own, of the instruction */
	uint32_t stack_bytes; /* by so much the stack is larger there than at the entry */
	uint8_t reg;	/* which has the result, as x86 numbers them: 0 rax, 1 rcx, … 15 r15 */
	int8_t condition; /* 0 to 15, as jumps code it: counts if that holds; -1: always */
	bool emulated;
	char instruction[40];
};

struct exit_sites {
	struct exit_site *sites;
	size_t n, cap;
	bool never_throws; /* there are no sites then */
	char reason[96]; /* why they could not be found */
};

/* Where code is read, and what pointers to functions are. */
struct exit_code {
	void *arg;
	/* As elf_file_read(). */
	ssize_t (*read)(void *arg, uint64_t address, void *buf, size_t len_bytes);
	/*
	 * Where the pointer at @slot leads, as far as the linker knows: an address in the file,
	 * or 0.  @ret_name: the function, or NULL; it lives as long as the code does.
	 */
	uint64_t (*pointer)(void *arg, uint64_t slot, const char **ret_name);
	/* The name of the function at an address, or NULL. */
	const char *(*name)(void *arg, uint64_t address);
	/* Does another function begin there? */
	bool (*is_start)(void *arg, uint64_t address);
	/* Is a function of that name, in another file, probed itself?  Its end is seen there. */
	bool (*is_probed)(void *arg, const char *name);
};

/* False, with the reason in @ret, where the code cannot be followed to all its ends. */
bool exit_sites_find(const struct exit_code *code, uint64_t address, struct exit_sites *ret);
void exit_sites_release(struct exit_sites *s);

#endif
