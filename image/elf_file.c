/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "image/dwarf_reader.h"
#include "image/function_table.h"

#define PAGE_BYTES 4096

/*
 * A hostile file must not cost us our memory or our time.  What is larger is as
 * if it were not there, but for unwind tables, where that would make wrong stacks;
 * real programs stay far below.
 */
#define SEGMENTS_MAX 4096
#define SECTION_BYTES_MAX (128u << 20)
#define NAME_BYTES_MAX 4096

struct segment {
	uint64_t address, offset, file_size;
	bool executable;
};

struct elf_file {
	int fd;		      /* -1: it is in memory */
	const uint8_t *bytes; /* then; the caller's */
	uint64_t size_bytes;  /* when it was opened */
	Elf *elf;
	GElf_Ehdr header;
	struct segment *segments;
	size_t n_segments, cap_segments;
	uint64_t eh_frame_hdr; /* address of; 0: none */
	char *interpreter;
	char *soname, *build_id;
	bool soname_read, build_id_read;
	struct function_table functions; /* made when first asked for; names in libelf's memory */
	bool functions_read;
};

/* As pread(): what is not there is not read. */
static ssize_t read_at(const struct elf_file *f, uint64_t offset, void *buf, size_t len)
{
	ssize_t n;

	if (offset > INT64_MAX)
		return -EINVAL;
	if (f->fd < 0) {
		if (offset >= f->size_bytes)
			return 0;
		if (len > f->size_bytes - offset)
			len = f->size_bytes - offset;
		memcpy(buf, f->bytes + offset, len);
		return (ssize_t)len;
	}
	n = pread(f->fd, buf, len, (off_t)offset);
	return n < 0 ? -errno : n;
}

static int read_segments(struct elf_file *f)
{
	size_t n;

	if (elf_getphdrnum(f->elf, &n) || n > SEGMENTS_MAX)
		return -ENOEXEC;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr p;

		if (!gelf_getphdr(f->elf, (int)i, &p))
			return -ENOEXEC;
		if (p.p_type == PT_LOAD) {
			ARRAY_GROW(f->segments, f->cap_segments, f->n_segments);
			f->segments[f->n_segments++] = (struct segment){
				.address = p.p_vaddr,
				.offset = p.p_offset,
				.file_size = p.p_filesz,
				.executable = p.p_flags & PF_X};
		} else if (p.p_type == PT_INTERP && !f->interpreter && p.p_filesz > 1 &&
			   p.p_filesz <= 4096) {
			char *s = xcalloc(1, p.p_filesz + 1);

			if (read_at(f, p.p_offset, s, p.p_filesz) == (ssize_t)p.p_filesz)
				f->interpreter = s;
			else
				free(s);
		} else if (p.p_type == PT_GNU_EH_FRAME) {
			f->eh_frame_hdr = p.p_vaddr;
		}
	}
	return 0;
}

/* To open a device may do something, and a fifo has no end. */
static int open_regular(const char *path, uint64_t *ret_size)
{
	struct stat st;
	int fd;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ENOEXEC;
	}
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

static bool read_headers(struct elf_file *f)
{
	return elf_kind(f->elf) == ELF_K_ELF && gelf_getehdr(f->elf, &f->header) &&
	       read_segments(f) == 0;
}

int elf_file_open(const char *path, struct elf_file **ret, struct err *err)
{
	struct elf_file *f = xcalloc(1, sizeof(*f));
	int r = 0;

	elf_version(EV_CURRENT);
	f->fd = open_regular(path, &f->size_bytes);
	if (f->fd < 0) {
		r = err_set(err, ERR_FAILED, -f->fd, "cannot open '%s'", path);
	} else {
		/* never mapped: who cuts the file off would end us by SIGBUS */
		f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
		if (elf_kind(f->elf) != ELF_K_ELF)
			r = err_set(err, ERR_FAILED, ENOEXEC, "'%s' is not an ELF file", path);
		else if (!read_headers(f))
			r = err_set(err, ERR_FAILED, EBADMSG, "'%s' is a damaged ELF file", path);
	}
	if (r) {
		elf_file_close(f);
		return r;
	}
	*ret = f;
	return 0;
}

int elf_file_open_memory(const uint8_t *bytes, size_t len, struct elf_file **ret, struct err *err)
{
	struct elf_file *f = xcalloc(1, sizeof(*f));

	elf_version(EV_CURRENT);
	f->fd = -1;
	f->bytes = bytes;
	f->size_bytes = len;
	f->elf = elf_memory((char *)(uintptr_t)bytes, len); /* only read */
	if (!read_headers(f)) {
		elf_file_close(f);
		return err_set(err, ERR_FAILED, ENOEXEC, "%zu bytes of memory are not an ELF file",
			       len);
	}
	*ret = f;
	return 0;
}

void elf_file_close(struct elf_file *f)
{
	if (!f)
		return;
	elf_end(f->elf);
	if (f->fd >= 0)
		close(f->fd);
	free(f->segments);
	function_table_release(&f->functions);
	free(f->interpreter);
	free(f->soname);
	free(f->build_id);
	free(f);
}

int elf_file_fd(const struct elf_file *f)
{
	return f->fd;
}

bool elf_file_is_64bit(const struct elf_file *f)
{
	return f->header.e_ident[EI_CLASS] == ELFCLASS64;
}

int elf_file_machine(const struct elf_file *f)
{
	return f->header.e_machine;
}

bool elf_file_is_pie(const struct elf_file *f)
{
	return f->header.e_type == ET_DYN;
}

const char *elf_file_interpreter(const struct elf_file *f)
{
	return f->interpreter;
}

/* The section of @type, with its header in @sh; NULL if there is none. */
static Elf_Scn *find_section(struct elf_file *f, uint32_t type, GElf_Shdr *sh)
{
	Elf_Scn *s = NULL;

	while ((s = elf_nextscn(f->elf, s)))
		if (gelf_getshdr(s, sh) && sh->sh_type == type)
			return s;
	return NULL;
}

/* The content of a section; NULL where it is too large, or not all there. */
static Elf_Data *section_data(Elf_Scn *s, const GElf_Shdr *sh)
{
	return s && sh->sh_size <= SECTION_BYTES_MAX ? elf_getdata(s, NULL) : NULL;
}

/* A string of the string table @section; NULL where it is none, or too long to be meant. */
static const char *string_at(struct elf_file *f, size_t section, size_t offset)
{
	Elf_Scn *s = elf_getscn(f->elf, section);
	const char *name;
	GElf_Shdr sh;

	if (!s || !gelf_getshdr(s, &sh) || sh.sh_size > SECTION_BYTES_MAX)
		return NULL;
	name = elf_strptr(f->elf, section, offset);
	return name && strnlen(name, NAME_BYTES_MAX) < NAME_BYTES_MAX ? name : NULL;
}

const char *elf_file_soname(struct elf_file *f)
{
	GElf_Shdr sh;
	Elf_Scn *s;
	Elf_Data *d;

	if (f->soname_read)
		return f->soname;
	f->soname_read = true;
	s = find_section(f, SHT_DYNAMIC, &sh);
	d = section_data(s, &sh);
	for (int i = 0; d && sh.sh_entsize && i < (int)(sh.sh_size / sh.sh_entsize); i++) {
		GElf_Dyn dyn;
		const char *name;

		if (!gelf_getdyn(d, i, &dyn) || dyn.d_tag != DT_SONAME)
			continue;
		name = string_at(f, sh.sh_link, dyn.d_un.d_val);
		if (name)
			f->soname = xstrdup(name);
		break;
	}
	return f->soname;
}

const char *elf_file_build_id(struct elf_file *f)
{
	Elf_Scn *s = NULL;
	GElf_Shdr sh;

	if (f->build_id_read)
		return f->build_id;
	f->build_id_read = true;
	while (!f->build_id && (s = elf_nextscn(f->elf, s))) {
		Elf_Data *d;
		size_t at = 0, name, desc;
		GElf_Nhdr n;

		if (!gelf_getshdr(s, &sh) || sh.sh_type != SHT_NOTE ||
		    !(d = section_data(s, &sh)))
			continue;
		while ((at = gelf_getnote(d, at, &n, &name, &desc)) > 0) {
			const uint8_t *bytes = (const uint8_t *)d->d_buf + desc;

			if (n.n_type != NT_GNU_BUILD_ID || n.n_namesz != 4 ||
			    memcmp((const char *)d->d_buf + name, "GNU", 4) || n.n_descsz > 64)
				continue;
			f->build_id = xcalloc(1, n.n_descsz * 2 + 1);
			for (size_t i = 0; i < n.n_descsz; i++)
				snprintf(f->build_id + 2 * i, 3, "%02x", bytes[i]);
			break;
		}
	}
	return f->build_id;
}

/* ---- symbols ----------------------------------------------------------------- */

/* Calls @each for every defined function of the table of @type until it returns false. */
static void walk_functions(struct elf_file *f, uint32_t type,
			   bool (*each)(void *arg, const char *name, const GElf_Sym *sym),
			   void *arg)
{
	GElf_Shdr sh;
	Elf_Scn *s = find_section(f, type, &sh);
	Elf_Data *d = section_data(s, &sh);
	size_t n = d && sh.sh_entsize >= sizeof(Elf32_Sym) ? sh.sh_size / sh.sh_entsize : 0;

	for (size_t i = 0; i < n && i < INT32_MAX; i++) {
		GElf_Sym sym;
		const char *name;

		if (!gelf_getsym(d, (int)i, &sym))
			return;
		if (!function_table_takes(&sym))
			continue;
		name = string_at(f, sh.sh_link, sym.st_name);
		if (name && *name && !each(arg, name, &sym))
			return;
	}
}

struct find_by_name {
	const char *name;
	struct elf_symbol *ret;
	bool found;
};

static bool match_name(void *arg, const char *name, const GElf_Sym *sym)
{
	struct find_by_name *q = arg;

	/* what an IFUNC resolves to is not known from the file */
	if (strcmp(name, q->name) || GELF_ST_TYPE(sym->st_info) != STT_FUNC)
		return true;
	if (q->ret)
		*q->ret = (struct elf_symbol){.address = sym->st_value, .size = sym->st_size};
	q->found = true;
	return false;
}

bool elf_file_find_function(struct elf_file *f, const char *name, struct elf_symbol *ret)
{
	struct find_by_name q = {.name = name, .ret = ret};

	walk_functions(f, SHT_DYNSYM, match_name, &q);
	if (!q.found)
		walk_functions(f, SHT_SYMTAB, match_name, &q);
	return q.found;
}

bool elf_file_exports(struct elf_file *f, const char *name)
{
	struct find_by_name q = {.name = name};

	walk_functions(f, SHT_DYNSYM, match_name, &q);
	return q.found;
}

/* What relocation @r, whose section has the header @sh, puts into its place. */
static uint64_t relocated(struct elf_file *f, const GElf_Shdr *sh, const GElf_Rela *r,
			  const char **ret_name)
{
	Elf_Scn *s = elf_getscn(f->elf, sh->sh_link);
	GElf_Shdr symbols;
	GElf_Sym sym;
	Elf_Data *d;

	if (GELF_R_TYPE(r->r_info) == R_X86_64_RELATIVE)
		return (uint64_t)r->r_addend;
	if (GELF_R_TYPE(r->r_info) != R_X86_64_JUMP_SLOT &&
	    GELF_R_TYPE(r->r_info) != R_X86_64_GLOB_DAT && GELF_R_TYPE(r->r_info) != R_X86_64_64)
		return 0;
	if (!s || !gelf_getshdr(s, &symbols) || !(d = section_data(s, &symbols)) ||
	    !gelf_getsym(d, (int)GELF_R_SYM(r->r_info), &sym))
		return 0;
	*ret_name = string_at(f, symbols.sh_link, sym.st_name);
	return sym.st_shndx == SHN_UNDEF ? 0 : sym.st_value;
}

uint64_t elf_file_pointer_at(struct elf_file *f, uint64_t slot, const char **ret_name)
{
	Elf_Scn *s = NULL;
	GElf_Shdr sh;

	*ret_name = NULL;
	while ((s = elf_nextscn(f->elf, s))) {
		Elf_Data *d;
		GElf_Rela r;

		if (!gelf_getshdr(s, &sh) || sh.sh_type != SHT_RELA || !sh.sh_entsize ||
		    !(d = section_data(s, &sh)))
			continue;
		for (size_t i = 0; i < sh.sh_size / sh.sh_entsize && i < INT32_MAX; i++)
			if (gelf_getrela(d, (int)i, &r) && r.r_offset == slot)
				return relocated(f, &sh, &r, ret_name);
	}
	return 0;
}

struct each_function {
	elf_file_each *each;
	void *arg;
	bool is_done;
};

static bool give_function(void *arg, const char *name, const GElf_Sym *sym)
{
	struct each_function *q = arg;
	struct elf_symbol symbol = {.address = sym->st_value, .size = sym->st_size};

	if (GELF_ST_TYPE(sym->st_info) == STT_FUNC)
		q->is_done = !q->each(q->arg, name, &symbol);
	return !q->is_done;
}

void elf_file_each_function(struct elf_file *f, elf_file_each *each, void *arg)
{
	struct each_function q = {.each = each, .arg = arg};

	walk_functions(f, SHT_SYMTAB, give_function, &q);
	if (!q.is_done)
		walk_functions(f, SHT_DYNSYM, give_function, &q);
}

static bool add_function(void *arg, const char *name, const GElf_Sym *sym)
{
	struct elf_file *f = arg;

	function_table_add(&f->functions, name, sym, sym->st_value);
	return true;
}

const char *elf_file_function_at(struct elf_file *f, uint64_t address)
{
	if (!f->functions_read) {
		f->functions_read = true;
		walk_functions(f, SHT_SYMTAB, add_function, f);
		walk_functions(f, SHT_DYNSYM, add_function, f);
		function_table_sort(&f->functions);
	}
	return function_table_find(&f->functions, address);
}

/* ---- addresses --------------------------------------------------------------- */

bool elf_file_offset_of(const struct elf_file *f, uint64_t address, uint64_t *ret)
{
	for (size_t i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];

		if (address >= s->address && address - s->address < s->file_size) {
			*ret = address - s->address + s->offset;
			return true;
		}
	}
	return false;
}

bool elf_file_code_address_of(const struct elf_file *f, uint64_t offset, uint64_t *ret)
{
	for (size_t i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];
		uint64_t before = s->offset & (PAGE_BYTES - 1); /* mapped, but before the segment */

		if (s->executable && offset >= s->offset - before &&
		    offset < s->offset + s->file_size) {
			*ret = offset - s->offset + s->address;
			return true;
		}
	}
	return false;
}

ssize_t elf_file_read(const struct elf_file *f, uint64_t address, void *buf, size_t len)
{
	for (size_t i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];

		if (address < s->address || address - s->address >= s->file_size)
			continue;
		if (len > s->file_size - (address - s->address))
			len = s->file_size - (address - s->address);
		return read_at(f, address - s->address + s->offset, buf, len);
	}
	return -ERANGE;
}

bool elf_file_code_segment(const struct elf_file *f, size_t i, uint64_t *ret_address,
			   uint64_t *ret_offset, uint64_t *ret_file_bytes)
{
	for (size_t k = 0; k < f->n_segments; k++) {
		const struct segment *s = &f->segments[k];

		if (!s->executable || i-- > 0)
			continue;
		*ret_address = s->address;
		*ret_offset = s->offset;
		*ret_file_bytes = s->file_size;
		return true;
	}
	return false;
}

/* ---- .eh_frame --------------------------------------------------------------- */

/* What may be read: where it lies, and where in the file. */
struct extent {
	uint64_t address, offset, len;
};

static bool eh_frame_by_section(struct elf_file *f, struct extent *ret)
{
	Elf_Scn *s = NULL;
	size_t strings;
	GElf_Shdr sh;

	if (elf_getshdrstrndx(f->elf, &strings))
		return false;
	while ((s = elf_nextscn(f->elf, s))) {
		const char *name;

		if (!gelf_getshdr(s, &sh) || sh.sh_type == SHT_NOBITS || sh.sh_type == SHT_NULL)
			continue;
		name = string_at(f, strings, sh.sh_name);
		if (!name || strcmp(name, ".eh_frame"))
			continue;
		*ret = (struct extent){sh.sh_addr, sh.sh_offset, sh.sh_size};
		return true;
	}
	return false;
}

/* By the pointer in .eh_frame_hdr (LSB 5.0 core, 10.6.2), up to its segment's end. */
static bool eh_frame_by_segment(const struct elf_file *f, struct extent *ret)
{
	uint8_t hdr[16];
	ssize_t n = f->eh_frame_hdr ? elf_file_read(f, f->eh_frame_hdr, hdr, sizeof(hdr)) : 0;
	struct dwarf_reader r = dwarf_reader(hdr, n > 0 ? (size_t)n : 0, f->eh_frame_hdr);
	uint64_t version = dwarf_fixed(&r, 1);
	uint8_t encoding = (uint8_t)dwarf_fixed(&r, 1);

	dwarf_fixed(&r, 2); /* how the table behind it is coded */
	ret->address = dwarf_pointer(&r, encoding, f->eh_frame_hdr);
	if (r.bad || version != 1 || encoding == DWARF_OMIT)
		return false;
	for (size_t i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];
		uint64_t before = ret->address - s->address;

		if (ret->address < s->address || before >= s->file_size)
			continue;
		ret->offset = s->offset + before;
		ret->len = s->file_size - before;
		if (ret->len > SECTION_BYTES_MAX) /* it is not all of that */
			ret->len = SECTION_BYTES_MAX;
		return true;
	}
	return false;
}

int elf_file_eh_frame(struct elf_file *f, uint8_t **ret_data, size_t *ret_len,
		      uint64_t *ret_address)
{
	struct extent e;
	uint8_t *data;
	ssize_t n;

	if (!eh_frame_by_section(f, &e) && !eh_frame_by_segment(f, &e))
		return f->eh_frame_hdr ? -EBADMSG : -ENOENT;
	if (!e.len)
		return -ENOENT;
	if (e.len > SECTION_BYTES_MAX)
		return -EFBIG;
	if (e.offset > f->size_bytes || e.len > f->size_bytes - e.offset)
		return -EBADMSG;
	data = xmalloc(e.len);
	n = read_at(f, e.offset, data, e.len);
	if (n != (ssize_t)e.len) {
		free(data);
		return n < 0 ? (int)n : -EIO;
	}
	*ret_data = data;
	*ret_len = e.len;
	*ret_address = e.address;
	return 0;
}

/* .eh_frame_hdr (LSB 5.0 core, section 10.6.2), in the one form that linkers write. */
static bool indexed_start(const struct elf_file *f, uint64_t address, uint64_t *ret)
{
	enum { PC_RELATIVE_4 = 0x1b, UNSIGNED_4 = 0x03, TABLE_RELATIVE_4 = 0x3b };
	struct {
		uint8_t version, frame_encoding, count_encoding, table_encoding;
		int32_t frame;
		uint32_t count;
	} head;
	int64_t wanted = (int64_t)(address - f->eh_frame_hdr);
	uint32_t low = 0, high;
	bool found = false;

	if (!f->eh_frame_hdr ||
	    elf_file_read(f, f->eh_frame_hdr, &head, sizeof(head)) != sizeof(head) ||
	    head.version != 1 || head.frame_encoding != PC_RELATIVE_4 ||
	    head.count_encoding != UNSIGNED_4 || head.table_encoding != TABLE_RELATIVE_4)
		return false;
	for (high = head.count; low < high;) {
		uint32_t middle = low + (high - low) / 2;
		int32_t start;

		if (elf_file_read(f, f->eh_frame_hdr + sizeof(head) + 8ull * middle, &start,
				  sizeof(start)) != sizeof(start))
			return false;
		if (start > wanted) {
			high = middle;
			continue;
		}
		found = true;
		*ret = f->eh_frame_hdr + (uint64_t)(int64_t)start;
		low = middle + 1;
	}
	return found;
}

bool elf_file_is_function_start(const struct elf_file *f, uint64_t address)
{
	uint64_t start;

	return indexed_start(f, address, &start) && start == address;
}

bool elf_file_function_start(struct elf_file *f, uint64_t address, uint64_t *ret)
{
	struct elf_symbol symbol;
	const char *name;

	if (indexed_start(f, address, ret))
		return true;
	name = elf_file_function_at(f, address);
	if (!name || !elf_file_find_function(f, name, &symbol) || symbol.address > address)
		return false;
	*ret = symbol.address;
	return true;
}
