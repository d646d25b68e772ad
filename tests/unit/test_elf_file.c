/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF files come from the process that is recorded.  Damaged ones, by bytes
 * changed at random (the seed is printed), must do no harm; build with
 * --enable-asan to see more.
 */
#include "config.h"
#include "image/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "image/demangle.h"
#include "image/probe_site.h"
#include "tests/unit/eh_frame_rows.h"
#include "tests/unit/files.h"
#include "tests/unit/tap.h"

#define ROUNDS 400
#define HEAD_BYTES 1024 /* half of the changes are here, where it hurts */

static char path[96];

static void use_unwind_table(struct elf_file *f)
{
	uint64_t address, offset, bytes;
	struct eh_frame_rows rows;
	uint8_t *data;
	size_t len, i = 0;

	while (elf_file_code_segment(f, i, &address, &offset, &bytes))
		i++;
	if (elf_file_eh_frame(f, &data, &len, &address))
		return;
	if (eh_frame_parse(data, len, address, &rows) == 0)
		eh_frame_rows_release(&rows);
	free(data);
}

/* Asks everything that the collector asks. */
static void use(struct elf_file *f)
{
	static uint8_t code[16384];
	static const char *const names[] = {"malloc", "free", "__libc_memalign", "_dl_debug_state"};

	elf_file_soname(f);
	elf_file_build_id(f);
	elf_file_interpreter(f);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct elf_symbol symbol;
		uint64_t offset;
		ssize_t n;

		elf_file_exports(f, names[i]);
		if (!elf_file_find_function(f, names[i], &symbol))
			continue;
		elf_file_offset_of(f, symbol.address, &offset);
		n = elf_file_read(f, symbol.address, code, sizeof(code));
		if (n > 0)
			probe_site_find(code, (size_t)n, symbol.address, 7, 1, true);
	}
	for (int i = 0; i < 50; i++) {
		uint64_t address;

		if (elf_file_code_address_of(f, random_below(1 << 21), &address)) {
			const char *name = elf_file_function_at(f, address);

			if (name)
				free(demangle(name));
		}
	}
	elf_file_function_at(f, UINT64_MAX);
	use_unwind_table(f);
}

static void damage(struct bytes *b)
{
	size_t n = 1 + random_below(8);

	for (size_t i = 0; i < n; i++) {
		size_t most = random_below(2) && b->len > HEAD_BYTES ? HEAD_BYTES : b->len;
		/* the section headers are at the end */
		size_t at = random_below(4) ? random_below(most) : b->len - 1 - random_below(most);

		b->data[at] = random_below(3) ? (uint8_t)random_u64() : 0xff;
	}
}

static void test_damaged(const char *name)
{
	struct bytes original, b;
	uint64_t start = clock_now_ns();
	size_t opened = 0;

	if (!ok(read_file(name, &original), "%s can be read", name))
		return;
	b.data = xmalloc(original.len);
	for (int i = 0; i < ROUNDS; i++) {
		struct elf_file *f;

		b.len = random_below(10) ? original.len : 1 + random_below(original.len);
		memcpy(b.data, original.data, b.len);
		damage(&b);
		write_file(path, b.data, b.len);
		if (elf_file_open(path, &f, NULL) == 0) {
			opened++;
			use(f);
			elf_file_close(f);
		}
		if (i % 8 == 0 && elf_file_open_memory(b.data, b.len, &f, NULL) == 0) {
			use(f);
			elf_file_close(f);
		}
	}
	ok(opened > 0, "%d damaged copies of %s do no harm: %zu opened, %.1f s", ROUNDS, name,
	   opened, (double)(clock_now_ns() - start) / 1e9);
	free(b.data);
	free(original.data);
}

/* A file that is cut off while we have it open is an error, not a SIGBUS. */
static void test_truncated(const char *name)
{
	struct bytes b;
	struct elf_file *f;
	uint8_t code[64];

	if (!read_file(name, &b))
		return;
	write_file(path, b.data, b.len);
	ok(elf_file_open(path, &f, NULL) == 0, "a copy of %s is opened", name);
	if (truncate(path, 100))
		diag("cannot truncate");
	use(f);
	ok(elf_file_read(f, 0x2000, code, sizeof(code)) <= 0,
	   "cut off then, it has nothing to read");
	elf_file_close(f);
	free(b.data);
}

static void test_other_kinds(void)
{
	struct elf_file *f;

	unlink(path);
	ok(mkfifo(path, 0600) == 0 && elf_file_open(path, &f, NULL) == -ENOEXEC,
	   "a fifo is no ELF file, and is not waited for");
	ok(elf_file_open("/dev/zero", &f, NULL) == -ENOEXEC, "nor is a device");
	ok(elf_file_open(folder, &f, NULL) == -ENOEXEC, "nor is a folder");
	unlink(path);
	ok(elf_file_open(path, &f, NULL) == -ENOENT, "and nothing is nothing");
}

/* Headers that promise more than there is. */
static void test_absurd(void)
{
	Elf64_Ehdr head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			   .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			   .e_ehsize = sizeof(head), .e_phentsize = sizeof(Elf64_Phdr),
			   .e_shentsize = sizeof(Elf64_Shdr)};
	uint8_t file[4096] = {0};
	Elf64_Shdr section = {.sh_type = SHT_DYNSYM, .sh_size = 1ull << 40, .sh_link = 1,
			      .sh_entsize = sizeof(Elf64_Sym), .sh_offset = 512};
	struct elf_file *f;

	head.e_phoff = head.e_shoff = 1024;
	head.e_phnum = PN_XNUM;
	head.e_shnum = 0; /* the number is in section 0 */
	section.sh_info = UINT32_MAX;
	memcpy(file, &head, sizeof(head));
	memcpy(file + 1024, &section, sizeof(section));
	write_file(path, file, sizeof(file));
	if (elf_file_open(path, &f, NULL) == 0) {
		use(f);
		elf_file_close(f);
	}
	head.e_phoff = head.e_phnum = 0;
	head.e_shnum = 2;
	memcpy(file, &head, sizeof(head));
	memcpy(file + 1024 + sizeof(section), &section, sizeof(section));
	write_file(path, file, sizeof(file));
	ok(truncate(path, (off_t)1 << 40) == 0 || errno == EFBIG, "a sparse file of 1 TiB");
	if (elf_file_open(path, &f, NULL) == 0) {
		use(f);
		elf_file_close(f);
	}
	ok(true, "absurd counts and sizes do no harm");
	unlink(path);
}

static void test_names(void)
{
	char bomb[600] = "_Z1f", *name, *cut;
	size_t at = strlen(bomb);

	/* each pair holds the last one twice; its number has the base 36 */
	at += (size_t)snprintf(bomb + at, sizeof(bomb) - at, "St4pairIiiE");
	for (int i = 0; i < 35; i++) {
		char n = (char)(i < 10 ? '0' + i : 'A' + i - 10);

		at += (size_t)snprintf(bomb + at, sizeof(bomb) - at, "S_IS%c_S%c_E", n, n);
	}
	name = demangle(bomb);
	ok(strlen(name) <= 65536, "a name that grows without end is cut short: %zu", strlen(name));
	free(name);
	name = xcalloc(1, 1 << 20);
	memset(name, '_', (1 << 20) - 1);
	cut = demangle(name);
	ok(strlen(cut) <= 4096, "a name of 1 MiB is cut short: %zu", strlen(cut));
	free(cut);
	free(name);
	name = demangle("_ZNSt6vectorIiSaIiEE9push_backERKi");
	ok(!strcmp(name, "std::vector<int, std::allocator<int> >::push_back(int const&)"),
	   "an honest one is as ever: %s", name);
	free(name);
	name = demangle("_RNvCs1234_7mycrate3foo");
	ok(!strcmp(name, "mycrate::foo"), "and one of Rust: %s", name);
	free(name);
	name = demangle_unless(true, "_RNvCs1234_7mycrate3foo");
	ok(!strcmp(name, "_RNvCs1234_7mycrate3foo"), "as it is, if it is wanted so: %s", name);
	free(name);
}

int main(void)
{
	char libc[4096] = "";

	seed_random();
	make_folder("elf_file");
	snprintf(path, sizeof(path), "%s/elf", folder);
	test_damaged("/bin/true");
	if (ok(find_libc(libc, sizeof(libc)), "our C library is '%s'", libc))
		test_damaged(libc);
	test_truncated("/bin/true");
	test_other_kinds();
	test_absurd();
	test_names();
	unlink(path);
	return remove_folder() ? done() : 1;
}
