/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_CALL_SITES_H
#define COLLECTOR_CALL_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/hash.h"
#include "image/elf_file.h"
#include "image/process_maps.h"
#include "store/record.h"
#include "store/writer.h"

/*
 * From return addresses of the target to stacks of the recording: an address is
 * looked up in the process's mappings when it is first seen, and its module and
 * frame go into the recording; so does each stack, as a branch of the tree of all.
 * Also resolves the function names, at the end, when nobody waits for it.
 *
 * Files are kept open from the moment they are first met, so that names are
 * right even if the file is replaced or the process is gone.
 */
struct call_sites {
	struct store_writer *writer;
	pid_t pid;
	struct space_id space;
	struct process_maps maps;
	uint64_t last_read_ns;
	struct hashmap by_address; /* return address -> frame; cleared when the maps change */
	struct hashmap by_frame;   /* module and offset -> frame */
	struct hashmap by_branch;  /* caller's stack (or the end) and frame -> stack */
	struct call_site_module {
		char *path;
		dev_t device;
		ino_t inode;
		struct elf_file *elf; /* NULL: no ELF file */
		bool is_allocator;
	} *modules; /* [id], from 1 */
	size_t n_modules, cap_modules;
	struct call_site_frame {
		struct module_id module;
		uint64_t offset;
	} *frames; /* [id], from 1 */
	size_t n_frames, cap_frames;
	struct frame_id *innermost; /* [stack id], from 1 */
	size_t n_stacks, cap_stacks;
};

void call_sites_init(struct call_sites *c, struct store_writer *writer, pid_t pid);
void call_sites_release(struct call_sites *c);
/* The addresses mean something else from now on: another address space. */
void call_sites_set_space(struct call_sites *c, struct space_id space);
/* Reads the mappings anew; false, with the old ones kept, where the process has none any more. */
bool call_sites_read_maps(struct call_sites *c, uint64_t now_ns);
/* Code may have come or gone: what was learnt of addresses is forgotten. */
void call_sites_maps_changed(struct call_sites *c);
/* The stack of these return addresses, innermost first; @n is 1 or more. */
struct stack_id call_sites_stack(struct call_sites *c, const uint64_t *addresses, size_t n,
				 enum stack_end end, uint64_t now_ns);
/* Does the stack's innermost frame lie in an allocator's own code? */
bool call_sites_in_allocator(const struct call_sites *c, struct stack_id stack);
/* Writes the function names of all frames. */
void call_sites_resolve(struct call_sites *c);

#endif
