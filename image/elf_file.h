/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_ELF_FILE_H
#define IMAGE_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/*
 * What an ELF file says about itself.  Files come from the target and are
 * untrusted: every offset is checked, here or by libelf.
 *
 * "Address" means an address of the file's own (p_vaddr, st_value); "offset" a
 * position in the file.
 */
struct elf_file;

/*
 * Opens @path.  -ENOEXEC with @err where it is no ELF file, -EBADMSG where its
 * headers cannot be, another negative errno where it cannot be opened.
 */
int elf_file_open(const char *path, struct elf_file **ret, struct err *err);
/* The same of @bytes, a vdso for instance; they must outlive @ret. */
int elf_file_open_memory(const uint8_t *bytes, size_t len, struct elf_file **ret, struct err *err);
void elf_file_close(struct elf_file *f);
/* Its descriptor, which stays its own; -1 of what is in memory. */
int elf_file_fd(const struct elf_file *f);

bool elf_file_is_64bit(const struct elf_file *f);
int elf_file_machine(const struct elf_file *f); /* EM_* */
bool elf_file_is_pie(const struct elf_file *f); /* or a shared library */
/* Strings live as long as @f; NULL where it has none. */
const char *elf_file_interpreter(const struct elf_file *f);
const char *elf_file_soname(struct elf_file *f);
const char *elf_file_build_id(struct elf_file *f); /* lower-case hex */

struct elf_symbol {
	uint64_t address;
	uint64_t size; /* bytes; 0: unknown */
};

/* A defined function of that name, in the dynamic or the full symbol table. */
bool elf_file_find_function(struct elf_file *f, const char *name, struct elf_symbol *ret);
/*
 * Calls @each for every defined function, of the full symbol table and of the dynamic one, so
 * that most come twice; until it returns false.  The name lives as long as @f.
 */
typedef bool elf_file_each(void *arg, const char *name, const struct elf_symbol *symbol);
void elf_file_each_function(struct elf_file *f, elf_file_each *each, void *arg);
/* Does the dynamic symbol table define it, so that it can take the place of libc's? */
bool elf_file_exports(struct elf_file *f, const char *name);
/* The function that covers @address, or NULL; as in the symbol table, not demangled. */
const char *elf_file_function_at(struct elf_file *f, uint64_t address);

/*
 * Where the pointer at address @slot will lead once the file is linked: an address in it, or
 * 0 where that is not known, or is in another file.  @ret_name: the symbol's name, or NULL.
 */
uint64_t elf_file_pointer_at(struct elf_file *f, uint64_t slot, const char **ret_name);

/* Does a function, or its cold part, begin at @address, by the unwind information's index? */
bool elf_file_is_function_start(const struct elf_file *f, uint64_t address);

/* Where the last function begins that does so at @address or before; by symbols without index. */
bool elf_file_function_start(struct elf_file *f, uint64_t address, uint64_t *ret);

/* False where no loadable segment of the file's holds it. */
bool elf_file_offset_of(const struct elf_file *f, uint64_t address, uint64_t *ret_offset);
/* Of what is mapped executable, the rest of a segment's first page included. */
bool elf_file_code_address_of(const struct elf_file *f, uint64_t offset, uint64_t *ret_address);

/* Reads code; returns the bytes read (fewer at the end of a segment), or a negative errno. */
ssize_t elf_file_read(const struct elf_file *f, uint64_t address, void *buf, size_t len_bytes);

/* Executable segment number @i, as far as it is in the file; false from their number on. */
bool elf_file_code_segment(const struct elf_file *f, size_t i, uint64_t *ret_address,
			   uint64_t *ret_offset, uint64_t *ret_file_bytes);

/*
 * The unwind table, for eh_frame_walk(); @ret_data is to be freed.  -ENOENT where
 * there is none; -EBADMSG where it is damaged, -EFBIG where it is larger than any
 * program's, -EIO and the like where it cannot be read.  Without section headers
 * there are other bytes behind the table, whose end is marked in itself.
 */
int elf_file_eh_frame(struct elf_file *f, uint8_t **ret_data, size_t *ret_len,
		      uint64_t *ret_address);

#endif
