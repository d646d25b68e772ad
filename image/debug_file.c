/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/debug_file.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "image/confined.h"
#include "image/debug_unit.h"
#include "image/demangle.h"
#include "image/function_table.h"

#define ROWS_MAX 100000 /* of line tables in memory; one takes some 50 bytes there */

struct debug_file {
	Dwfl *dwfl;
	Dwfl_Module *module;
	uint64_t bias; /* of the file's addresses over those in the debug information */
	struct function_table symbols;
	bool symbols_read;
};

/* ---- where it is ---------------------------------------------------------------- */

/* As libdwfl searches it, with room in memory for what it finds. */
static int find_debug_file(Dwfl_Module *m, void **data, const char *name, Dwarf_Addr base,
			   const char *file, const char *link, GElf_Word crc, char **ret)
{
	int fd = dwfl_standard_find_debuginfo(m, data, name, base, file, link, crc, ret);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st))
		confined_allow_memory(2 * confined_file_bytes(&st));
	return fd;
}

/* The folder by its number, since a list of folders could not have a colon in a name. */
static char *search_path(int debug_fd)
{
	static const char standard[] = ":.debug:/usr/lib/debug";

	return debug_fd < 0 ? xstrdup(standard)
			    : xasprintf("/proc/self/fd/%d:%s", debug_fd, standard);
}

static int open_file(struct debug_file *f, int fd, const char *path, int debug_fd)
{
	static char *folders;
	static const Dwfl_Callbacks calls = {.find_elf = dwfl_build_id_find_elf,
					     .find_debuginfo = find_debug_file,
					     .section_address = dwfl_offline_section_address,
					     .debuginfo_path = &folders};

	folders = search_path(debug_fd);
	f->dwfl = dwfl_begin(&calls);
	if (!f->dwfl)
		return -ENOMEM;
	dwfl_report_begin(f->dwfl);
	f->module = dwfl_report_elf(f->dwfl, "", path, fd, 0, true);
	if (!f->module || dwfl_report_end(f->dwfl, NULL, NULL))
		return -ENOEXEC;
	return 0;
}

/* ---- the symbol table ----------------------------------------------------------- */

/* That of the debug file, if there is one, and what is compressed within the file. */
static void read_symbols(struct debug_file *f)
{
	int n = dwfl_module_getsymtab(f->module);

	f->symbols_read = true;
	for (int i = 1; i < n; i++) {
		GElf_Sym sym;
		GElf_Addr address;
		const char *name =
			dwfl_module_getsym_info(f->module, i, &sym, &address, NULL, NULL, NULL);

		if (name && *name && function_table_takes(&sym))
			function_table_add(&f->symbols, name, &sym, address);
	}
	function_table_sort(&f->symbols);
}

/* @address: as in the debug information. */
static const char *symbol_at(void *arg, uint64_t address)
{
	struct debug_file *f = arg;

	if (!f->symbols_read)
		read_symbols(f);
	return function_table_find(&f->symbols, address + f->bias);
}

/* Places of which the debug information says nothing. */
static void look_up_symbols(struct debug_file *f, const struct debug_unit_task *t)
{
	for (size_t i = 0; i < t->places->n; i++) {
		struct debug_place *p = &t->places->places[i];
		struct symbolized s = {.place = p->place};
		const char *symbol = p->done ? NULL : symbol_at(f, p->address);
		char *name;

		if (!symbol)
			continue;
		name = demangle_unless(t->linkage_names, symbol);
		s.function = name;
		t->each(t->arg, &s, 1);
		free(name);
	}
}

/* ---- the units ------------------------------------------------------------------ */

/*
 * Forgets all that was read.  @die stays where it is in the file.  (The ELF file, with what
 * is unpacked of it, is not ours, and stays as it is.)
 */
static Dwarf *reopen(Dwarf *dwarf, Dwarf_Die *die)
{
	Dwarf_Off offset = dwarf_dieoffset(die);
	Elf *elf = dwarf_getelf(dwarf);
	Dwarf *other = dwarf_getalt(dwarf), *ret;

	dwarf_end(dwarf);
	ret = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
	if (ret && other)
		dwarf_setalt(ret, other);
	if (ret && !dwarf_offdie(ret, offset, die)) {
		dwarf_end(ret);
		ret = NULL;
	}
	return ret;
}

/* @whole: of libdwfl, which keeps it. */
static void look_up_units(Dwarf *whole, struct debug_unit_task *t)
{
	Dwarf *dwarf = dwarf_begin_elf(dwarf_getelf(whole), DWARF_C_READ, NULL);
	Dwarf_CU *unit = NULL;
	Dwarf_Die die;
	uint8_t type;
	int r = 0;

	if (dwarf && dwarf_getalt(whole))
		dwarf_setalt(dwarf, dwarf_getalt(whole));
	while (dwarf && !(r = dwarf_get_units(dwarf, unit, &unit, NULL, &type, &die, NULL))) {
		if (type != DW_UT_compile && type != DW_UT_skeleton)
			continue;
		debug_unit_look_up(t, &die);
		if (t->rows < ROWS_MAX)
			continue;
		t->rows = 0;
		dwarf = reopen(dwarf, &die);
		unit = die.cu;
	}
	if (!dwarf || r < 0)
		t->damaged = true;
	dwarf_end(dwarf);
}

static int by_address(const void *a, const void *b)
{
	const struct debug_place *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

static void set_places(const struct debug_file *f, const uint64_t *addresses, size_t n,
		       struct debug_places *ret)
{
	ret->places = xcalloc(n, sizeof(*ret->places));
	ret->n = n;
	for (size_t i = 0; i < n; i++) {
		ret->places[i].address = addresses[i] - f->bias;
		ret->places[i].place = i;
	}
	if (n)
		qsort(ret->places, n, sizeof(*ret->places), by_address);
}

/* Where the first segment with code begins, behind the header if that is in it. */
static uint64_t code_start(struct debug_file *f)
{
	GElf_Addr bias;
	Elf *elf = dwfl_module_getelf(f->module, &bias);
	uint64_t start = UINT64_MAX;
	size_t n = 0;

	if (!elf || elf_getphdrnum(elf, &n))
		return 0;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr p;

		if (gelf_getphdr(elf, (int)i, &p) && p.p_type == PT_LOAD && p.p_flags & PF_X &&
		    p.p_vaddr + !p.p_offset < start)
			start = p.p_vaddr + !p.p_offset;
	}
	return start == UINT64_MAX ? 0 : start;
}

int debug_file_look_up(int fd, const char *path, int debug_fd, bool linkage,
		       const uint64_t *addresses, size_t n, debug_file_each *each, void *arg,
		       enum debug_info *ret)
{
	struct debug_file f = {0};
	struct debug_places places = {0};
	struct debug_unit_task task = {.places = &places,
				       .symbol_at = symbol_at,
				       .symbol_arg = &f,
				       .linkage_names = linkage,
				       .each = each,
				       .arg = arg};
	Dwarf *dwarf;
	int r = open_file(&f, fd, path, debug_fd);

	if (r)
		return r;
	dwarf = dwfl_module_getdwarf(f.module, &f.bias);
	set_places(&f, addresses, n, &places);
	places.code_start = code_start(&f) - f.bias;
	if (dwarf)
		look_up_units(dwarf, &task);
	look_up_symbols(&f, &task);
	if (dwarf)
		*ret = DEBUG_INFO;
	else
		*ret = f.symbols.n ? DEBUG_SYMBOLS : DEBUG_NONE;
	if (task.damaged)
		*ret = DEBUG_DAMAGED;
	return 0;
}
