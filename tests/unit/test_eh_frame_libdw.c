/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rows of eh_frame.c against libdw's, at every byte of the code of whatever
 * objects this system has.  libdw says how far each of its frames reaches, and
 * ours must have the same rule from there to there, and no other row in between.
 */
#include "config.h"

#include "tests/unit/eh_frame_rows.h"
#include "tests/unit/tap.h"
#include "tests/unit/vdso.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/unwind_rule.h"

#define OBJECTS_WANTED 10
#define EVERY_BYTE_MAX (256 << 10) /* of code: asks libdw about each byte of it */
#define DIFFERENCES_SHOWN 5

static const uint64_t unsupported = UNWIND_RULE(UNWIND_UNSUPPORTED, 0, 0, 0);

/* ---- what libdw says, as a rule -------------------------------------------------- */

struct expression {
	Dwarf_Op memory[3], *ops;
	size_t n;
};

static bool op_is(const struct expression *e, size_t i, unsigned int atom, uint64_t number)
{
	return i < e->n && e->ops[i].atom == atom && e->ops[i].number == number;
}

/* Is it all of: [the CFA is pushed,] the register + offset? */
static bool is_breg(const struct expression *e, unsigned int atom, int64_t *ret_offset)
{
	if (e->n != 2 || e->ops[0].atom != DW_OP_call_frame_cfa || e->ops[1].atom != atom)
		return false;
	*ret_offset = (int64_t)e->ops[1].number;
	return true;
}

/* Is it saved in memory at CFA + offset? */
static bool is_at_cfa(const struct expression *e, int64_t *ret_offset)
{
	*ret_offset = 0;
	if (e->n == 1 && e->ops[0].atom == DW_OP_call_frame_cfa)
		return true;
	if (e->n != 2 || e->ops[0].atom != DW_OP_call_frame_cfa ||
	    e->ops[1].atom != DW_OP_plus_uconst)
		return false;
	*ret_offset = (int64_t)e->ops[1].number;
	return true;
}

static bool is_undefined(const struct expression *e)
{
	return !e->n && e->ops;
}

static bool is_same(const struct expression *e)
{
	return !e->n && !e->ops;
}

static uint64_t cfa_rule(const struct expression *e, enum unwind_bp bp, int64_t bp_offset)
{
	int64_t offset = e->n ? (int64_t)e->ops[0].number : 0;

	if (e->n == 1 && e->ops[0].atom == DW_OP_bregx) {
		int64_t second = (int64_t)e->ops[0].number2;

		if (second < INT32_MIN || second > INT32_MAX || (offset != 6 && offset != 7))
			return unsupported;
		return UNWIND_RULE(offset == 6 ? UNWIND_CFA_BP : UNWIND_CFA_SP, second, bp,
				   bp_offset);
	}
	if (e->n == 2 && e->ops[0].atom == DW_OP_breg6 && e->ops[1].atom == DW_OP_deref &&
	    offset >= INT32_MIN && offset <= INT32_MAX)
		return UNWIND_RULE(UNWIND_CFA_DEREF, offset, bp, bp_offset);
	if (e->n == 9 && op_is(e, 0, DW_OP_breg7, 8) && op_is(e, 1, DW_OP_breg16, 0) &&
	    e->ops[2].atom == DW_OP_lit15 && e->ops[3].atom == DW_OP_and &&
	    e->ops[4].atom >= DW_OP_lit0 && e->ops[4].atom <= DW_OP_lit31 &&
	    e->ops[5].atom == DW_OP_ge && e->ops[6].atom == DW_OP_lit3 &&
	    e->ops[7].atom == DW_OP_shl && e->ops[8].atom == DW_OP_plus)
		return UNWIND_RULE(UNWIND_CFA_PLT, e->ops[4].atom - DW_OP_lit0, bp, bp_offset);
	return unsupported;
}

static bool is_rt_sigframe(const struct expression *cfa, const struct expression *bp,
			   const struct expression *sp, const struct expression *ra)
{
	int64_t bp_at, sp_at, ra_at;

	return cfa->n == 2 && op_is(cfa, 0, DW_OP_breg7, 160) && cfa->ops[1].atom == DW_OP_deref &&
	       is_breg(bp, DW_OP_breg7, &bp_at) && bp_at == 120 &&
	       is_breg(sp, DW_OP_breg7, &sp_at) && sp_at == 160 &&
	       is_breg(ra, DW_OP_breg7, &ra_at) && ra_at == 168;
}

/* The stack pointer becomes the CFA, where nothing else is said. */
static bool is_cfa(const struct expression *e)
{
	return (e->n == 2 && e->ops[0].atom == DW_OP_call_frame_cfa &&
		e->ops[1].atom == DW_OP_stack_value);
}

static bool get_register(Dwarf_Frame *frame, int number, struct expression *e)
{
	return dwarf_frame_register(frame, number, e->memory, &e->ops, &e->n) == 0;
}

static uint64_t rule_of(Dwarf_Frame *frame, bool signal)
{
	struct expression cfa, bp, sp, ra;
	int64_t offset = 0;

	if (dwarf_frame_cfa(frame, &cfa.ops, &cfa.n) || !get_register(frame, 6, &bp) ||
	    !get_register(frame, 7, &sp) || !get_register(frame, 16, &ra))
		return unsupported;
	if (signal)
		return is_rt_sigframe(&cfa, &bp, &sp, &ra) ? UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0)
							   : unsupported;
	if (is_undefined(&ra))
		return UNWIND_RULE(UNWIND_END, 0, 0, 0);
	if (!is_at_cfa(&ra, &offset) || offset != -8 || !is_cfa(&sp))
		return unsupported;
	if (is_same(&bp))
		return cfa_rule(&cfa, UNWIND_BP_SAME, 0);
	if (is_undefined(&bp))
		return cfa_rule(&cfa, UNWIND_BP_UNDEFINED, 0);
	if (is_at_cfa(&bp, &offset) && offset >= INT16_MIN && offset <= INT16_MAX)
		return cfa_rule(&cfa, UNWIND_BP_AT_CFA, offset);
	if (is_breg(&bp, DW_OP_breg6, &offset) && offset >= INT16_MIN && offset <= INT16_MAX)
		return cfa_rule(&cfa, UNWIND_BP_AT_BP, offset);
	return unsupported;
}

/* False where libdw has no frame there. */
static bool ask_libdw(Dwarf_CFI *cfi, uint64_t pc, uint64_t *ret_rule, uint64_t *ret_end)
{
	Dwarf_Frame *frame;
	Dwarf_Addr start, end;
	bool signal;

	if (dwarf_cfi_addrframe(cfi, pc, &frame))
		return false;
	*ret_rule = dwarf_frame_info(frame, &start, &end, &signal) == 16 ? rule_of(frame, signal)
									 : unsupported;
	*ret_end = end;
	free(frame);
	return true;
}

/* ---- comparing ------------------------------------------------------------------- */

struct object {
	const char *name;
	Elf *elf;
	Dwarf_CFI *cfi;
	struct eh_frame_rows rows;
	size_t row; /* the one at the last place compared */
	uint64_t ranges, bytes, differences;
};

static void differ(struct object *o, uint64_t pc, uint64_t theirs)
{
	if (o->differences++ < DIFFERENCES_SHOWN)
		diag("%s at %#" PRIx64 ": libdw %#" PRIx64 ", ours %#" PRIx64, o->name, pc, theirs,
		     eh_frame_rule_at(&o->rows, pc));
}

/* Ours must say @rule from @from to @to, and say it in one row. */
static void compare(struct object *o, uint64_t from, uint64_t to, uint64_t rule)
{
	const struct eh_frame_rows *r = &o->rows;

	o->ranges++;
	o->bytes += to - from;
	while (o->row + 1 < r->n && r->rows[o->row + 1].address <= from)
		o->row++;
	if (r->rows[o->row].address > from) { /* before the first */
		if (rule || r->rows[o->row].address < to)
			differ(o, from, rule);
		return;
	}
	if (r->rows[o->row].rule != rule || eh_frame_rule_at(r, from) != rule ||
	    eh_frame_rule_at(r, to - 1) != rule)
		differ(o, from, rule);
	else if (o->row + 1 < r->n && r->rows[o->row + 1].address < to)
		differ(o, r->rows[o->row + 1].address, rule);
}

static void compare_segment(struct object *o, uint64_t start, uint64_t end)
{
	uint64_t before = 0, pc = start;

	while (pc < end) {
		uint64_t rule, next, gap = pc;

		if (ask_libdw(o->cfi, pc, &rule, &next)) {
			compare(o, pc, next > pc ? next : pc + 1, rule);
			before = rule;
			pc = next > pc ? next : pc + 1;
			continue;
		}
		while (++pc < end && !ask_libdw(o->cfi, pc, &rule, &next))
			;
		/* of what is too short to be more than padding, the rule before it */
		compare(o, gap, pc, pc - gap < 16 && pc < end ? before : 0);
	}
}

static void compare_bytes(struct object *o, uint64_t start, uint64_t end)
{
	for (uint64_t pc = start; pc < end; pc++) {
		uint64_t rule, next;

		if (ask_libdw(o->cfi, pc, &rule, &next) && eh_frame_rule_at(&o->rows, pc) != rule)
			differ(o, pc, rule);
	}
}

static void compare_object(struct object *o)
{
	size_t n = 0;

	elf_getphdrnum(o->elf, &n);
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr p;

		if (!gelf_getphdr(o->elf, (int)i, &p) || p.p_type != PT_LOAD || !(p.p_flags & PF_X))
			continue;
		compare_segment(o, p.p_vaddr, p.p_vaddr + p.p_filesz);
		if (p.p_filesz <= EVERY_BYTE_MAX)
			compare_bytes(o, p.p_vaddr, p.p_vaddr + p.p_filesz);
	}
}

/* Ours, and how long it took. */
static bool parse(struct elf_file *f, struct eh_frame_rows *ret, double *ret_ms)
{
	uint64_t address, start = clock_now_ns();
	uint8_t *data;
	size_t len;
	int r;

	if (elf_file_eh_frame(f, &data, &len, &address))
		return false;
	r = eh_frame_parse(data, len, address, ret);
	free(data);
	*ret_ms = (double)(clock_now_ns() - start) / 1e6;
	return r == 0;
}

/* @f and @elf are two views of one object.  False where it has no unwind table. */
static bool test_object(const char *name, struct elf_file *f, Elf *elf)
{
	struct object o = {.name = name, .elf = elf, .cfi = dwarf_getcfi_elf(elf)};
	uint64_t start = clock_now_ns();
	double ms;

	if (!o.cfi)
		return false;
	if (!parse(f, &o.rows, &ms)) {
		ok(false, "%s has an unwind table", name);
		return false;
	}
	compare_object(&o);
	ok(!o.differences && o.rows.n && !o.rows.skipped,
	   "%s: %zu rows, %" PRIu64 " of libdw's over %" PRIu64 " bytes, %" PRIu64
	   " differences; parsed in %.1f ms, compared in %.1f s",
	   name, o.rows.n, o.ranges, o.bytes, o.differences, ms,
	   (double)(clock_now_ns() - start) / 1e9);
	eh_frame_rows_release(&o.rows);
	dwarf_cfi_end(o.cfi);
	return true;
}

static bool test_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
	struct elf_file *f = NULL;
	bool tested = false;

	if (elf && elf_kind(elf) == ELF_K_ELF && elf_file_open(path, &f, NULL) == 0)
		tested = test_object(path, f, elf);
	elf_file_close(f);
	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return tested;
}

static void test_vdso(void)
{
	size_t len;
	const uint8_t *image = vdso_image(&len);
	struct elf_file *f = NULL;
	Elf *elf;

	if (!image) {
		diag("no vdso");
		return;
	}
	elf = elf_memory((char *)(uintptr_t)image, len);
	if (ok(elf && elf_file_open_memory(image, len, &f, NULL) == 0, "the vdso is opened"))
		ok(test_object("[vdso]", f, elf), "it has an unwind table");
	elf_file_close(f);
	elf_end(elf);
}

/* Where gcc keeps its own; "" where it does not say. */
static const char *compiler_path(void)
{
	static char path[512];
	FILE *p = popen("gcc -print-prog-name=cc1 2>/dev/null", "r");

	if (!p || !fgets(path, sizeof(path), p))
		path[0] = '\0';
	path[strcspn(path, "\n")] = '\0';
	if (p)
		pclose(p);
	return path;
}

/* In the first of the usual folders that has it. */
static bool test_named(const char *name)
{
	static const char *const folders[] = {"/usr/lib/x86_64-linux-gnu",
					      "/usr/lib64",
					      "/lib/x86_64-linux-gnu",
					      "/lib64",
					      "/usr/bin",
					      "/bin"};

	for (size_t i = 0; i < COUNT_OF(folders); i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", folders[i], name);
		if (test_file(path))
			return true;
	}
	return false;
}

int main(void)
{
	static const char *const names[] = {
		"ld-linux-x86-64.so.2",
		"libc.so.6",
		"libm.so.6",
		"libstdc++.so.6",
		"libgcc_s.so.1",
		"libcrypto.so.3",
		"libsqlite3.so.0",
		"libelf.so.1",
		"libdw.so.1",
		"libzstd.so.1",
		"libbpf.so.1",
		"libcapstone.so.4",
		"libLLVM-14.so.1",
		"libLLVM.so.19.1",
		"libpython3.11.so.1.0",
		"libperl.so.5.36",
		"python3",
		"bash",
		"git",
		"perl",
		"gdb",
		"sqlite3",
		"xz",
		"make",
		"bpftrace",
		"true",
	};
	size_t found = 0;

	elf_version(EV_CURRENT);
	test_vdso();
	found += test_file("/proc/self/exe");
	for (size_t i = 0; i < COUNT_OF(names); i++)
		found += test_named(names[i]);
	found += test_file(compiler_path());
	ok(found >= OBJECTS_WANTED, "%zu objects were compared", found);
	return done();
}
