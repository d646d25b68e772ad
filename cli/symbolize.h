/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SYMBOLIZE_H
#define CLI_SYMBOLIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/reader.h"
#include "store/writer.h"

struct symbolize_options {
	const char *debug_path; /* folder with debug files, or NULL */
	const char *sysroot;	/* goes before the modules' paths, or NULL */
	bool debuginfod;	/* the servers of $DEBUGINFOD_URLS may be asked */
	uint64_t debuginfod_max; /* bytes of a file from there; 0: any */
	enum symbolize_names {
		SYMBOLIZE_AS_RECORDED,
		SYMBOLIZE_DEMANGLED,
		SYMBOLIZE_LINKAGE, /* as linkers know them */
	} names; /* other ones than were recorded: those that are there are looked up, too */
	unsigned int seconds_max; /* for all files together, about; 0: as long as it takes */
	bool verbose; /* says on stderr which files could not be used, and why */
};

struct symbolize_result {
	size_t frames;	/* that got a name, or a better one */
	size_t modules; /* they are in */
	size_t refused; /* files that are of another build */
	size_t missing; /* files that could not be used, these included; of the first of them: */
	const char *missing_path; /* as long as the catalog lives */
	enum symbolize_missing {
		SYMBOLIZE_GONE,	       /* it is not there, or cannot be read */
		SYMBOLIZE_OTHER_BUILD, /* or is another one now */
		SYMBOLIZE_NO_BUILD_ID, /* so that this cannot be told */
		SYMBOLIZE_NO_TIME,
	} missing_why;
};

/*
 * Names the functions of a recording, from the files it was made of: those that are
 * there, with the very build id.  What has a file and line already stays as it is,
 * unless names of another kind are wanted.
 */
void symbolize(struct store_writer *w, const struct catalog *c, const struct symbolize_options *o,
	       struct symbolize_result *ret);

/* The same in memory, of frames that have no name at all; the recording stays as it is. */
void symbolize_in_memory(struct catalog *c, const struct symbolize_options *o,
			 struct symbolize_result *ret);

#endif
