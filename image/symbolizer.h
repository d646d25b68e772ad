/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_SYMBOLIZER_H
#define IMAGE_SYMBOLIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Function, file and line of places in a program file, the functions inlined there
 * included, by its debug information: in the file, or in one of its own beside it,
 * in /usr/lib/debug, or in a folder that is given.
 *
 * Debug information comes from the target and is untrusted, and libdw trusts it in
 * places.  So it is read in a child process, and what that says is checked here.
 */
struct symbolizer_options {
	const char *debug_path;	  /* a folder with debug files, asked first, or NULL: by
				   * build id (.build-id/xx/yy.debug below it) or by name */
	bool linkage_names;	  /* not demangled, where there is such a name */
	unsigned int seconds_max; /* of CPU time; 0: a minute */
	int stop_fd;		  /* when it can be read no more is looked up; 0: none */
	void (*on_wait)(void *arg); /* called every second, or more often; or NULL */
	void *wait_arg;
};

/* One function at a place. */
struct symbolized {
	size_t place;	      /* index into the addresses asked for */
	uint32_t depth;	      /* 0: the innermost of the functions inlined there */
	const char *function; /* demangled, if not asked otherwise; NULL: not known */
	const char *file;     /* NULL: not known; from depth 1 on, of the call inlined */
	uint32_t line;	      /* 0: not known */
};

enum debug_info {
	DEBUG_NONE,
	DEBUG_SYMBOLS, /* the symbol table only */
	DEBUG_INFO,    /* DWARF */
	DEBUG_DAMAGED, /* it could not be read to its end: damaged, or it took too long */
};

/* The strings live until it returns. */
typedef void symbolized_each(void *arg, const struct symbolized *s);

/*
 * Calls @each for the functions at each of the @n @addresses: the file's own, of the
 * instructions themselves (of a call the byte before its return address).  Places come
 * in any order, each at most once, and then with all its functions, from depth 0 up;
 * one of which nothing is known does not come.
 *
 * @fd is the file; @path its name, by which debug files are searched.  Returns 0, or a
 * negative errno where nothing could be done: -ENOEXEC where it is no ELF file.  With
 * DEBUG_DAMAGED some places are missing, and those that came are right.
 */
int symbolize_file(int fd, const char *path, const uint64_t *addresses, size_t n,
		   const struct symbolizer_options *options, symbolized_each *each, void *arg,
		   enum debug_info *ret);

#endif
