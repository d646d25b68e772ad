/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The .eh_frame of our C library and of the vdso, and damaged ones: HEAPTRAIL_CASES
 * of them, the seed is printed.  test_eh_frame_libdw.c compares with another
 * implementation.
 */
#include "config.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/unwind_rule.h"
#include "tests/unit/eh_frame_fixture.h"
#include "tests/unit/eh_frame_rows.h"
#include "tests/unit/files.h"
#include "tests/unit/tap.h"
#include "tests/unit/vdso.h"

/* ---- real ones ------------------------------------------------------------------ */

static bool rows_of(struct elf_file *f, struct eh_frame_rows *ret)
{
	uint64_t address;
	uint8_t *data;
	size_t len;
	int r = elf_file_eh_frame(f, &data, &len, &address);

	if (r)
		return false;
	r = parse(data, len, address, ret);
	free(data);
	return r == 0;
}

static size_t count(const struct eh_frame_rows *r, enum unwind_cfa kind)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += UNWIND_RULE_CFA(r->rows[i].rule) == kind;
	return n;
}

static bool same_rows(const struct eh_frame_rows *a, const struct eh_frame_rows *b)
{
	return a->n == b->n && (!a->n || !memcmp(a->rows, b->rows, a->n * sizeof(*a->rows)));
}

/* @f of the C library, and @rows its rows. */
static void test_libc_rows(struct elf_file *f, const struct eh_frame_rows *rows)
{
	static const char *const names[] = {"malloc", "free", "qsort", "printf"};
	uint64_t address, offset, bytes, back;
	struct elf_symbol symbol;

	ok(is_sound(rows) && rows->n > 1000 && !rows->skipped, "the C library has %zu rows",
	   rows->n);
	for (size_t i = 0; i < COUNT_OF(names); i++)
		ok(elf_file_find_function(f, names[i], &symbol) &&
			   eh_frame_rule_at(rows, symbol.address) == PLAIN(SP, 8),
		   "at the entry of %s it is rsp + 8", names[i]);
	ok(count(rows, UNWIND_SIGNAL) == 1, "it has one frame of signals");
	ok(count(rows, UNWIND_END) > 0, "and an outermost one");
	ok(count(rows, UNWIND_CFA_PLT) > 0, "and a linkage table");
	ok(elf_file_code_segment(f, 0, &address, &offset, &bytes) &&
		   elf_file_code_address_of(f, offset, &back) && back == address &&
		   symbol.address >= address && symbol.address - address < bytes,
	   "its functions lie in its first code segment");
	ok(!elf_file_code_segment(f, 100, &address, &offset, &bytes), "which are not a hundred");
}

static void drop_eh_frame_segment(Elf64_Ehdr *header)
{
	Elf64_Phdr *segments = (Elf64_Phdr *)(void *)((uint8_t *)header + header->e_phoff);

	for (size_t i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_GNU_EH_FRAME)
			segments[i].p_type = PT_NULL;
}

static void expect_rows(struct bytes file, const struct eh_frame_rows *rows, const char *name)
{
	struct eh_frame_rows other = {0};
	struct elf_file *f = NULL;

	ok(elf_file_open_memory(file.data, file.len, &f, NULL) == 0 && rows_of(f, &other) &&
		   same_rows(rows, &other) && !other.skipped,
	   "%s", name);
	eh_frame_rows_release(&other);
	elf_file_close(f);
}

/* The same from memory, then without segment, without section headers, without either. */
static void test_copies(struct bytes file, const struct eh_frame_rows *rows)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)file.data;
	struct bytes copy = {xmalloc(file.len), file.len};
	struct elf_file *f = NULL;
	uint64_t address;
	uint8_t *data;
	size_t len;

	memcpy(copy.data, file.data, file.len);
	expect_rows(copy, rows, "a copy in memory has the same rows");
	ok(elf_file_open_memory(copy.data, copy.len, &f, NULL) == 0 && elf_file_build_id(f) &&
		   elf_file_interpreter(f),
	   "and says what else it says");
	elf_file_close(f);
	drop_eh_frame_segment((Elf64_Ehdr *)(void *)copy.data);
	expect_rows(copy, rows, "without the segment of the table, too");
	header->e_shoff = header->e_shnum = header->e_shstrndx = 0;
	expect_rows(file, rows, "and without section headers");
	drop_eh_frame_segment(header);
	f = NULL;
	ok(elf_file_open_memory(file.data, file.len, &f, NULL) == 0 &&
		   elf_file_eh_frame(f, &data, &len, &address) == -ENOENT,
	   "without either it has none");
	elf_file_close(f);
	ok(elf_file_open_memory((const uint8_t *)"no", 2, &f, NULL) == -ENOEXEC,
	   "2 bytes of memory are no ELF file");
	free(copy.data);
}

static void test_vdso(void)
{
	struct eh_frame_rows rows = {0};
	struct elf_symbol symbol = {0};
	struct elf_file *f = NULL;
	size_t len;
	const uint8_t *image = vdso_image(&len);
	bool read;

	if (!image) {
		diag("no vdso");
		return;
	}
	read = elf_file_open_memory(image, len, &f, NULL) == 0 && rows_of(f, &rows);
	ok(read && is_sound(&rows) && rows.n > 2, "the vdso of %zu bytes has %zu rows", len,
	   rows.n);
	ok(f && elf_file_find_function(f, "__vdso_clock_gettime", &symbol) &&
		   eh_frame_rule_at(&rows, symbol.address) == PLAIN(SP, 8),
	   "at the entry of its clock it is rsp + 8");
	eh_frame_rows_release(&rows);
	elf_file_close(f);
}

/* ---- damaged ones --------------------------------------------------------------- */

#define PART_BYTES 8192 /* most cases take so much of the table: time is for more of them */

static void damage(uint8_t *bytes, size_t len)
{
	size_t n = 1 + random_below(16);

	for (size_t i = 0; i < n; i++) {
		size_t at = random_below(4) ? random_below(len) : random_below(len < 64 ? len : 64);

		bytes[at] = random_below(3)   ? (uint8_t)random_u64()
			    : random_below(2) ? 0xff
					      : (uint8_t)(bytes[at] ^ 1u << random_below(8));
	}
}

static void test_damaged(const uint8_t *data, size_t len, uint64_t address)
{
	const char *text = getenv("HEAPTRAIL_CASES");
	size_t cases = text ? strtoul(text, NULL, 0) : 10000, tables = 0, skipped = 0;
	uint8_t *copy = xmalloc(len);
	uint64_t start = clock_now_ns();
	bool fine = true;

	for (size_t i = 0; i < cases && fine; i++) {
		size_t part = i % 100 && len > PART_BYTES ? 1 + random_below(PART_BYTES) : len;
		struct eh_frame_rows r = {0}, again = {0};
		int status;

		memcpy(copy, data, part);
		damage(copy, part);
		status = parse(copy, part, address, &r);
		fine = is_sound(&r) && (status == 0 || (status == -EINVAL && !r.n));
		if (i % 10 == 0)
			fine = fine && parse(copy, part, address, &again) == status &&
			       same_rows(&r, &again);
		tables += status == 0;
		skipped += r.skipped;
		if (!fine)
			diag("case %zu", i);
		eh_frame_rows_release(&r);
		eh_frame_rows_release(&again);
	}
	ok(fine && (tables || !cases),
	   "%zu damaged tables do no harm: %zu were read, but for %zu records; %.1f s", cases,
	   tables, skipped, (double)(clock_now_ns() - start) / 1e9);
	free(copy);
}

static void test_real(void)
{
	struct eh_frame_rows rows = {0};
	struct elf_file *f = NULL;
	struct bytes file = {0};
	char path[4096] = "";
	uint64_t address;
	uint8_t *data;
	size_t len;

	if (!ok(find_libc(path, sizeof(path)) && read_file(path, &file) &&
			elf_file_open(path, &f, NULL) == 0 && rows_of(f, &rows) &&
			elf_file_eh_frame(f, &data, &len, &address) == 0,
		"the unwind table of our C library, '%s'", path))
		goto out;
	test_libc_rows(f, &rows);
	test_copies(file, &rows);
	test_damaged(data, len, address);
	free(data);
out:
	eh_frame_rows_release(&rows);
	elf_file_close(f);
	free(file.data);
}

int main(void)
{
	seed_random();
	test_real();
	test_vdso();
	return done();
}
