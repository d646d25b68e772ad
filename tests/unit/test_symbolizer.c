/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What symbolize_file() says of files that are none, or have no debug information, or
 * damaged one; and of a child that dies, hangs or talks nonsense.  Whether the names
 * are right is for tests/e2e/symbols.py.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/xalloc.h"
/* to reach those who listen to the child */
#include "image/symbolizer.c" /* NOLINT */
#include "tests/unit/files.h"
#include "tests/unit/tap.h"

#define PLACES 200
#define SECTIONS_MAX 32

static struct bytes file;
static struct {
	size_t offset, len;
} debug_sections[SECTIONS_MAX];
static size_t n_debug_sections;
static uint64_t addresses[PLACES];

/* ---- who listens to the results -------------------------------------------------- */

struct heard {
	size_t n, places, with_file;
	size_t place, n_places; /* the last one; how many there are */
	uint32_t depth;
	bool seen[PLACES], sane;
};

static void hear(void *arg, const struct symbolized *s)
{
	struct heard *h = arg;

	if (s->place >= h->n_places ||
	    (s->depth && (s->place != h->place || s->depth != h->depth + 1)) ||
	    (!s->depth && h->seen[s->place]) || (s->function && !*s->function) ||
	    (s->file && !*s->file) || (!s->file && s->line)) {
		h->sane = false;
		return;
	}
	h->seen[s->place] = true;
	h->place = s->place;
	h->depth = s->depth;
	h->n++;
	h->places += !s->depth;
	h->with_file += !s->depth && s->file;
}

static int look_up(const char *path, struct heard *h, enum debug_info *ret)
{
	const struct symbolizer_options o = {.seconds_max = 3};
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	*h = (struct heard){.n_places = PLACES, .sane = true};
	r = symbolize_file(fd, path, addresses, PLACES, &o, hear, h, ret);
	close(fd);
	return r;
}

static size_t open_files(void)
{
	size_t n = 0;

	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static bool no_children(void)
{
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

/* ---- the program ----------------------------------------------------------------- */

static void read_program(void)
{
	const char *targets = getenv("TARGETS");
	char *path = xasprintf("%s/threads", targets ? targets : "tests/targets");
	Elf_Scn *section = NULL;
	GElf_Shdr sh;
	size_t names;
	Elf *elf;

	if (!read_file(path, &file))
		bail_out("cannot read %s", path);
	elf_version(EV_CURRENT);
	elf = elf_memory((char *)file.data, file.len);
	elf_getshdrstrndx(elf, &names);
	while ((section = elf_nextscn(elf, section))) {
		const char *name;

		gelf_getshdr(section, &sh);
		name = elf_strptr(elf, names, sh.sh_name);
		if (!strncmp(name, ".debug_", 7) && n_debug_sections < SECTIONS_MAX) {
			debug_sections[n_debug_sections].offset = sh.sh_offset;
			debug_sections[n_debug_sections++].len = sh.sh_size;
		}
		if (!strcmp(name, ".text"))
			for (size_t i = 0; i < PLACES; i++)
				addresses[i] = sh.sh_addr + i * sh.sh_size / PLACES;
	}
	elf_end(elf);
	free(path);
}

/* Its section headers are not found any more. */
static void test_no_debug_info(void)
{
	uint8_t *copy = xmalloc(file.len);
	enum debug_info found;
	struct heard h;
	int r;

	memcpy(copy, file.data, file.len);
	memset(copy + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
	memset(copy + offsetof(Elf64_Ehdr, e_shnum), 0, 4);
	write_file(in_folder("program"), copy, file.len);
	r = look_up(in_folder("program"), &h, &found);
	ok(r == 0 && found <= DEBUG_SYMBOLS && h.sane &&
		   !h.with_file,
	   "no debug information: %zu places named, no files", h.places);
	free(copy);
}

static void test_debug_info(void)
{
	enum debug_info found;
	struct heard h;
	int r;

	write_file(in_folder("program"), file.data, file.len);
	r = look_up(in_folder("program"), &h, &found);
	ok(r == 0 && found == DEBUG_INFO && h.sane &&
		   h.with_file > PLACES / 2,
	   "a program: %zu places, %zu with their files, %zu functions", h.places, h.with_file,
	   h.n);
}

static void test_no_elf(void)
{
	enum debug_info found;
	struct heard h;

	write_file(in_folder("text"), "#!/bin/sh\n", 10);
	write_file(in_folder("empty"), "", 0);
	write_file(in_folder("header"), file.data, 64);
	ok(look_up(in_folder("text"), &h, &found) == -ENOEXEC && !h.n, "a script is no ELF file");
	ok(look_up(in_folder("empty"), &h, &found) == -ENOEXEC && !h.n, "nor is an empty one");
	ok(look_up(in_folder("header"), &h, &found) <= 0 && !h.n, "one cut off behind its header");
	ok(look_up(folder, &h, &found) == -ENOEXEC && !h.n, "nor is a folder");
	ok(look_up("/dev/zero", &h, &found) == -ENOEXEC && !h.n, "nor is a device");
}

static void test_options(void)
{
	struct symbolizer_options o = {.debug_path = "/nowhere"};
	struct heard h = {.n_places = PLACES, .sane = true};
	enum debug_info found;
	int fd = open(in_folder("program"), O_RDONLY | O_CLOEXEC);

	ok(symbolize_file(fd, "program", addresses, PLACES, &o, hear, &h, &found) == -ENOENT,
	   "a folder for debug files that is not there");
	o.debug_path = NULL;
	ok(symbolize_file(fd, "program", addresses, 0, &o, hear, &h, &found) == 0 && !h.n,
	   "no addresses");
	close(fd);
}

/* ---- damaged files ---------------------------------------------------------------- */

static void test_damaged(void)
{
	const char *text = getenv("HEAPTRAIL_CASES");
	size_t cases = text ? strtoul(text, NULL, 0) : 1000, results[DEBUG_DAMAGED + 1] = {0};
	size_t refused = 0, named = 0, files = open_files();
	uint8_t *copy = xmalloc(file.len);
	bool fine = true;

	for (size_t i = 0; i < cases && fine; i++) {
		size_t flips = 1 + random_below(8), s = random_below(n_debug_sections);
		enum debug_info found;
		struct heard h;
		int r;

		memcpy(copy, file.data, file.len);
		while (flips-- && debug_sections[s].len)
			copy[debug_sections[s].offset + random_below(debug_sections[s].len)] =
				(uint8_t)random_u64();
		write_file(in_folder("damaged"), copy, file.len);
		r = look_up(in_folder("damaged"), &h, &found);
		fine = r <= 0 && h.sane && found <= DEBUG_DAMAGED;
		refused += r < 0;
		results[found]++;
		named += h.places;
	}
	ok(fine, "%zu damaged: refused %zu, without %zu, symbols %zu, info %zu, damaged %zu", cases,
	   refused, results[DEBUG_NONE], results[DEBUG_SYMBOLS], results[DEBUG_INFO],
	   results[DEBUG_DAMAGED]);
	ok(named > cases * PLACES / 2, "in the mean %zu of %d places are named", named / cases,
	   PLACES);
	ok(open_files() == files && no_children(), "no file stays open, and no child is left");
	free(copy);
}

/* ---- the child ------------------------------------------------------------------- */

static void end_badly(void *arg, int out)
{
	switch (*(const char *)arg) {
	case 'a':
		abort();
	case 'l': /* a loop */
		for (volatile int i = 0;; i++)
			;
	case 's':
		pause();
		break;
	case 'm':
		for (;;)
			memset(xmalloc(1 << 20), 1, 1 << 20);
	case 'n': /* nonsense */
		while (write(out, "nonsense, and much of it", 24) > 0)
			;
		break;
	case 'f': /* files */
		for (int i = 3; i < 256; i++)
			if (i != out && fcntl(i, F_GETFD) >= 0)
				return;
		if (open("/dev/null", O_WRONLY) == out)
			return;
		if (write(out, "none open", 9) < 0)
			return;
	}
}

static void test_child(char *how, const char *name)
{
	struct confined_task task = {.run = end_badly,
				     .arg = how,
				     .keep = {-1, -1},
				     .cpu_s = 1,
				     .idle_s = 2,
				     .memory_bytes = 256 << 20};
	struct listener *l = xcalloc(1, sizeof(*l));
	enum debug_info found = DEBUG_NONE;
	struct heard h = {.n_places = PLACES, .sane = true};
	int r;

	l->n_places = PLACES;
	l->named = xcalloc(PLACES, sizeof(*l->named));
	l->bytes_left = 1 << 20;
	l->each = hear;
	l->arg = &h;
	r = confined_start(&l->child, &task);
	if (!r) {
		r = listen_to_end(l, &found);
		confined_stop(&l->child);
	}
	ok(!r && found == DEBUG_DAMAGED && !h.n && no_children(), "a child that %s", name);
	free(l->named);
	free(l->body);
	free(l);
}

static void test_files_of_child(void)
{
	struct confined_task task = {.run = end_badly,
				     .arg = (char[]){"f"},
				     .keep = {-1, -1},
				     .cpu_s = 1,
				     .idle_s = 5,
				     .memory_bytes = 256 << 20};
	struct confined c;
	char said[9] = "";
	int other = open("/dev/null", O_RDONLY);

	ok(confined_start(&c, &task) == 0 && confined_read(&c, said, 9) &&
		   !memcmp(said, "none open", 9),
	   "the child has none of our files");
	confined_stop(&c);
	close(other);
}

/* Whatever it says, we hear what is sane or nothing. */
static void talk_at_random(void *arg, int out)
{
	struct speaker s = {.fd = out};

	tap_random_state = *(uint64_t *)arg;
	for (int i = 0; i < 20; i++) {
		struct symbolized chain[4] = {{0}};
		size_t n = 1 + random_below(4), start = s.out.len;

		for (size_t k = 0; k < n; k++) {
			chain[k].place = random_below(PLACES + 2);
			chain[k].function = random_below(2) ? "f" : NULL;
			chain[k].file = random_below(2) ? "/a/file.c" : NULL;
			chain[k].line = chain[k].file ? 7 : 0;
		}
		say_place(&s, chain, n);
		if (!random_below(4))
			s.out.data[start + random_below(s.out.len - start)] = (uint8_t)random_u64();
	}
	flush(&s);
}

static void test_talk(void)
{
	bool fine = true;
	size_t heard = 0;

	for (int i = 0; i < 200; i++) {
		uint64_t seed = random_u64();
		struct confined_task task = {.run = talk_at_random,
					     .arg = &seed,
					     .keep = {-1, -1},
					     .cpu_s = 5,
					     .idle_s = 10,
					     .memory_bytes = 256 << 20};
		struct listener *l = xcalloc(1, sizeof(*l));
		struct heard h = {.n_places = PLACES, .sane = true};
		enum debug_info found;

		l->n_places = PLACES;
		l->named = xcalloc(PLACES, sizeof(*l->named));
		l->bytes_left = 1 << 20;
		l->each = hear;
		l->arg = &h;
		if (!confined_start(&l->child, &task)) {
			listen_to_end(l, &found);
			confined_stop(&l->child);
		}
		/* a name of no characters is as long as it says; only order and bounds are held */
		fine = fine && found == DEBUG_DAMAGED;
		heard += h.n;
		free(l->named);
		free(l->body);
		free(l);
	}
	ok(fine && heard, "200 children that talk at random: %zu functions taken", heard);
}

/* What damaged debug information says. */
static void say_nothing(void *arg, int out)
{
	struct speaker s = {.fd = out};
	const struct symbolized chain[] = {{.function = "", .file = ""},
					   {.depth = 1, .function = "f", .file = "", .line = 7}};

	(void)arg;
	say_place(&s, chain, COUNT_OF(chain));
	flush(&s);
}

static void test_empty_names(void)
{
	struct confined_task task = {.run = say_nothing,
				     .keep = {-1, -1},
				     .cpu_s = 5,
				     .idle_s = 10,
				     .memory_bytes = 256 << 20};
	struct heard h = {.n_places = PLACES, .sane = true};
	struct listener *l = xcalloc(1, sizeof(*l));
	enum debug_info found;

	l->n_places = PLACES;
	l->named = xcalloc(PLACES, sizeof(*l->named));
	l->bytes_left = 1 << 20;
	l->each = hear;
	l->arg = &h;
	if (!confined_start(&l->child, &task)) {
		listen_to_end(l, &found);
		confined_stop(&l->child);
	}
	ok(h.sane && h.n == 2, "a name without a letter is none: %zu functions", h.n);
	free(l->named);
	free(l->body);
	free(l);
}

int main(void)
{
	seed_random();
	make_folder("symbolizer");
	read_program();
	test_debug_info();
	test_no_debug_info();
	test_no_elf();
	test_options();
	test_damaged();
	test_child((char[]){"a"}, "aborts");
	test_child((char[]){"l"}, "does not end");
	test_child((char[]){"s"}, "says nothing");
	test_child((char[]){"m"}, "takes all memory");
	test_child((char[]){"n"}, "talks nonsense");
	test_files_of_child();
	test_talk();
	test_empty_names();
	empty_folder();
	ok(remove_folder(), "nothing is left behind");
	free(file.data);
	return done();
}
