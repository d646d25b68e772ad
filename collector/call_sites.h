/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_CALL_SITES_H
#define COLLECTOR_CALL_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/ring_events.h"
#include "common/allocation_form.h"
#include "common/hash.h"
#include "image/allocation_calls.h"
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
/* Whose code a module has that maps memory for others. */
enum code_owner {
	CODE_OF_ANYBODY,
	CODE_OF_LOADER,	   /* ld.so; where that is the C library itself it is not told apart */
	CODE_OF_ALLOCATOR, /* a library that is nothing else */
};

#define CALL_SITES_CALLERS 1024
#define FORM_UNASKED 127
#define FORM_WRITTEN 128

struct call_sites {
	struct store_writer *writer;
	pid_t pid;
	uid_t owner; /* of the process, while this program runs */
	struct perf_map *jit_names; /* read at the end, or NULL */
	struct space_id space;
	/*
	 * The mappings as they were read last, and before that.  Code may have come and
	 * gone between an event and our reading: each is right for the events of its
	 * generation only.  For those between, what both have holds, unless it is of a
	 * file that is known to come and go.
	 */
	struct process_maps maps, older_maps;
	uint16_t generation, older_generation;
	bool is_exact, is_older_exact; /* code did not come or go while they were read */
	uint16_t (*current_generation)(void *arg); /* NULL: code never comes nor goes */
	void *generation_arg;
	bool is_recording;
	uint64_t last_read_ns;
	struct hashmap by_address; /* return address -> frame; cleared when the maps change */
	/*
	 * What was asked for lately, while by_address stays: the stack before, from its
	 * outermost frame on, as the next one often begins as it did; and calls alone.
	 */
	struct call_sites_last {
		uint64_t addresses[RING_FRAMES_MAX];
		struct stack_id stacks[RING_FRAMES_MAX];
		size_t n;
		uint16_t generation;
		enum stack_end end;
	} last;
	struct call_sites_caller {
		uint64_t address;
		struct stack_id stack; /* 0: nothing yet */
		uint16_t generation;
	} callers[CALL_SITES_CALLERS];
	struct hashmap by_frame;   /* module and offset -> frame */
	/* caller's stack (or the end) and frame -> stack, where that is in no list of callees */
	struct hashmap by_branch;
	struct call_site_module {
		char *path;
		dev_t device;
		ino_t inode;
		struct elf_file *elf; /* NULL: no ELF file */
		struct allocation_calls *calls; /* NULL: nobody has asked yet */
		bool is_allocator;
		enum code_owner owner;
		bool has_file;	   /* a number, see call_sites_set_file() */
		bool is_transient; /* it was mapped while events were recorded */
	} *modules; /* [id], from 1 */
	size_t n_modules, cap_modules;
	struct module_id *files; /* [id of a file that frames tell] */
	size_t cap_files;
	struct call_site_frame {
		uint64_t offset;
		struct module_id module;
		/* enum allocation_form: what it calls, and what it is part of; or FORM_UNASKED */
		uint8_t calls, within;
	} *frames; /* [id], from 1 */
	size_t n_frames, cap_frames;
	struct call_site_stack {
		struct frame_id frame; /* the innermost */
		/* stacks that go on from here: a few, one behind the other; 0: no more */
		uint32_t first_callee, next_callee;
	} *stacks; /* [id], from 1 */
	size_t n_stacks, cap_stacks;
	/* [id of a stack]: enum allocation_form, or FORM_UNASKED; FORM_WRITTEN besides */
	uint8_t *forms;
	size_t cap_forms;
	bool linkage_names; /* functions are to be named so */
	/* while they are, called every second, or more often; or NULL */
	void (*on_names)(size_t done, size_t n);
};

void call_sites_init(struct call_sites *c, struct store_writer *writer, pid_t pid);
void call_sites_release(struct call_sites *c);
/* The addresses mean something else from now on: another address space. */
void call_sites_set_space(struct call_sites *c, struct space_id space);
/* Events come: what is mapped from now on, in this space, may go again. */
void call_sites_begin_recording(struct call_sites *c);
/* Reads the mappings anew; false, with the old ones kept, where the process has none any more. */
bool call_sites_read_maps(struct call_sites *c, uint64_t now_ns);
/* Code may have come or gone: what was learnt of addresses is forgotten. */
void call_sites_maps_changed(struct call_sites *c);
/* Frames in the file of that number (ring_events.h) are in what is mapped there. */
void call_sites_set_file(struct call_sites *c, uint32_t id, const struct process_map *map);
/*
 * The stack of these return addresses (or of what they are put as where code comes
 * and goes, see ring_events.h), innermost first; @n is 1 or more.  They are
 * of the code of that @generation: one that cannot be told any more is in no module.
 */
struct stack_id call_sites_stack(struct call_sites *c, const uint64_t *addresses, size_t n,
				 uint16_t generation, enum stack_end end, uint64_t now_ns);
/* The same of a call of which the caller only is known, or wanted: end STACK_CALLER. */
struct stack_id call_sites_caller(struct call_sites *c, uint64_t address, uint16_t generation,
				  uint64_t now_ns);
/* A stack of one frame, in no code, which is called @name: instead of one that is not known. */
struct stack_id call_sites_name(struct call_sites *c, const char *name);
/*
 * By which form the stack's call of an allocator asked for a block, or gave it back: as its
 * code says, so FORM_UNKNOWN of calls by pointers, or of wrappers.
 */
static inline enum allocation_form call_sites_form(const struct call_sites *c,
						   struct stack_id stack)
{
	unsigned int form = c->forms[stack.v] & ~FORM_WRITTEN;

	return form == FORM_UNASKED ? FORM_UNKNOWN : (enum allocation_form)form;
}
/* Writes it to the recording, once. */
void call_sites_write_form(struct call_sites *c, struct stack_id stack);
/* Does the stack's innermost frame lie in an allocator's own code? */
bool call_sites_in_allocator(const struct call_sites *c, struct stack_id stack);
/* Whose code is at that address, or frame, as those of call_sites_stack()? */
enum code_owner call_sites_owner(struct call_sites *c, uint64_t address, uint16_t generation,
				 uint64_t now_ns);
/* What the process tells of code that it made itself; while it may be looked into. */
void call_sites_read_jit_names(struct call_sites *c);
/*
 * Writes functions, files and lines of all frames.  False: not all, since it took too
 * long, or @stop_fd can be read.
 */
bool call_sites_resolve(struct call_sites *c, int stop_fd);

#endif
