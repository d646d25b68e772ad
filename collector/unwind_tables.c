/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/unwind_tables.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/unwind_layout.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/xalloc.h"
#include "image/eh_frame.h"
#include "image/elf_file.h"
#include "image/unwind_rule.h"

#define PAGE_ROWS (1 << UNWIND_PAGE_SHIFT)
#define SLAB_BYTES (UNWIND_SLAB_WORDS * sizeof(uint32_t))
#define SLABS_AT_ONCE 4
#define SLABS_SPARE 2
#define SLABS_MAPPED_MAX 4 /* of them at a time: they count as our memory */
#define WORDS_MAX (UNWIND_SLABS_MAX * UNWIND_SLAB_WORDS)
#define VDSO_BYTES_MAX (64 << 10)
/* A file with more code than this is not read: its index alone would fill all slabs. */
#define CODE_BYTES_MAX (1ull << 31)

/* The same file of the same content, as far as can be told without reading it. */
struct signature {
	off_t size;
	struct timespec changed, modified;
};

struct known_file {
	struct unwind_file_key key;
	struct signature signature;
	struct unwind_file table;
	uint64_t round;	      /* of the update in which it was last seen mapped */
	bool is_shown;	      /* to the kernel */
};

struct unwind_tables {
	struct probes *probes;
	void (*name)(void *arg, uint32_t id, const struct process_map *map);
	void *name_arg;
	struct known_file *files;
	size_t n_files, cap_files;
	struct hashmap by_key; /* hash of a key -> its file, the last one of that key */
	struct hashmap by_rule;
	size_t n_rules;
	uint32_t *slabs[UNWIND_SLABS_MAX]; /* mapped while they are filled */
	uint32_t n_mapped;
	int slab_fds[UNWIND_SLABS_MAX];
	uint32_t n_slabs;
	uint32_t used; /* words, over all slabs */
	uint64_t round;
	uint32_t last_id;
	bool has_vdso, cannot_reserve;
	struct {
		size_t files;	 /* with unwind information */
		size_t without;	 /* those without */
		size_t unusable; /* those that could not be read, or had no room any more */
		size_t rows;	 /* as they lie in the maps */
		size_t damaged;	 /* entries of .eh_frame that could not be understood */
		uint64_t ns;	 /* the time that reading files took */
	} counts;
};

struct unwind_tables *unwind_tables_new(struct probes *p,
					void (*name)(void *arg, uint32_t id,
						     const struct process_map *map),
					void *name_arg)
{
	struct unwind_tables *t = xcalloc(1, sizeof(*t));

	t->probes = p;
	t->name = name;
	t->name_arg = name_arg;
	t->n_rules = 1; /* number 0: no row */
	return t;
}

static void unmap_slabs(struct unwind_tables *t)
{
	for (size_t i = 0; i < COUNT_OF(t->slabs); i++) {
		if (t->slabs[i])
			munmap(t->slabs[i], SLAB_BYTES);
		t->slabs[i] = NULL;
	}
	t->n_mapped = 0;
}

void unwind_tables_free(struct unwind_tables *t)
{
	if (!t)
		return;
	unmap_slabs(t);
	for (uint32_t i = 0; i < t->n_slabs; i++)
		close(t->slab_fds[i]);
	hashmap_release(&t->by_key);
	hashmap_release(&t->by_rule);
	free(t->files);
	free(t);
}

void unwind_tables_put(const struct unwind_tables *t, struct store_writer *w)
{
	if (!t)
		return;
	store_writer_put_number(w, "unwind_files", (int64_t)t->counts.files);
	store_writer_put_number(w, "unwind_files_without", (int64_t)t->counts.without);
	store_writer_put_number(w, "unwind_files_unusable", (int64_t)t->counts.unusable);
	store_writer_put_number(w, "unwind_entries_damaged", (int64_t)t->counts.damaged);
	store_writer_put_number(w, "unwind_rows", (int64_t)t->counts.rows);
	store_writer_put_number(w, "unwind_rules", (int64_t)t->n_rules - 1);
	store_writer_put_number(w, "unwind_bytes", (int64_t)(t->n_slabs * SLAB_BYTES));
	store_writer_put_number(w, "unwind_ns", (int64_t)t->counts.ns);
}

/* ---- words -------------------------------------------------------------------------- */

static int add_slabs(struct unwind_tables *t)
{
	uint32_t n = UNWIND_SLABS_MAX - t->n_slabs;
	int r;

	if (n > SLABS_AT_ONCE)
		n = SLABS_AT_ONCE;
	if (!n)
		return -ENOSPC;
	r = probes_add_unwind_slabs(t->probes, t->n_slabs, n, t->slab_fds + t->n_slabs);
	if (!r)
		t->n_slabs += n;
	return r;
}

void unwind_tables_reserve(struct unwind_tables *t)
{
	if (t && t->n_slabs * UNWIND_SLAB_WORDS - t->used < SLABS_SPARE * UNWIND_SLAB_WORDS &&
	    !t->cannot_reserve && add_slabs(t) < 0)
		t->cannot_reserve = true;
}

/* Where the word lies, or NULL where there is no memory for it. */
static uint32_t *word_at(struct unwind_tables *t, uint32_t position)
{
	uint32_t slab = position >> UNWIND_SLAB_SHIFT;

	if (slab >= UNWIND_SLABS_MAX)
		return NULL;
	while (t->n_slabs <= slab)
		if (add_slabs(t) < 0)
			return NULL;
	if (!t->slabs[slab]) {
		void *m;

		if (t->n_mapped == SLABS_MAPPED_MAX)
			unmap_slabs(t);
		m = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			 t->slab_fds[slab], 0);

		if (m == MAP_FAILED)
			return NULL;
		t->slabs[slab] = m;
		t->n_mapped++;
	}
	return &t->slabs[slab][position & (UNWIND_SLAB_WORDS - 1)];
}

/* The rule's number; one that has no number any more is as if it were not understood. */
static uint32_t number_of(struct unwind_tables *t, uint64_t rule)
{
	uint32_t *number;

	if (!rule)
		return 0;
	if (t->n_rules == UNWIND_RULES_MAX) {
		uint32_t known = hashmap_get(&t->by_rule, rule);

		return known == HASHMAP_NONE ? UNWIND_RULES_MAX - 1 : known;
	}
	number = hashmap_put(&t->by_rule, rule);
	if (*number != HASHMAP_NONE)
		return *number;
	if (t->n_rules == UNWIND_RULES_MAX - 1)
		rule = UNWIND_UNSUPPORTED;
	*number = (uint32_t)t->n_rules++;
	probes_set_unwind_rule(t->probes, *number, rule);
	return *number;
}

/* ---- a file's table ------------------------------------------------------------------ */

#define SEGMENTS_MAX 64

struct build {
	struct unwind_tables *t;
	/* of the file's code, by address and by offset */
	struct segment {
		uint64_t address, offset, bytes;
	} segments[SEGMENTS_MAX];
	size_t n_segments, segment; /* the one that rows are being put for … */
	bool is_in_segment;	    /* … and have been */
	uint64_t last_rule;	    /* of the rows so far */
	uint32_t index;		    /* the word of the first page */
	uint64_t first_page, n_pages;
	uint64_t page;		    /* that is being made */
	uint32_t rows[PAGE_ROWS];   /* of that page */
	uint32_t n;
	uint32_t rule;		    /* in force at its end */
	uint32_t lone_rule, lone_at; /* a page of one row, which others may share */
	int error;
};

static void end_page(struct build *b)
{
	struct unwind_tables *t = b->t;
	uint32_t at = t->used, *index;
	bool is_shared = b->n == 1 && b->lone_at && b->rows[0] == b->lone_rule;

	if (is_shared) {
		at = b->lone_at;
	} else {
		if ((at & (UNWIND_SLAB_WORDS - 1)) + b->n > UNWIND_SLAB_WORDS)
			at = (at + UNWIND_SLAB_WORDS) & ~(UNWIND_SLAB_WORDS - 1);
		for (uint32_t i = 0; i < b->n && !b->error; i++) {
			uint32_t *word = word_at(t, at + i);

			if (word)
				*word = b->rows[i];
			else
				b->error = -ENOSPC;
		}
		t->used = at + b->n;
		t->counts.rows += b->n;
		if (b->n == 1) {
			b->lone_rule = b->rows[0];
			b->lone_at = at;
		}
	}
	index = word_at(t, b->index + (uint32_t)b->page); /* a later one may unmap an earlier one */
	if (!index || b->error)
		b->error = -ENOSPC;
	else
		*index = at << 8 | (b->n - 1);
	b->page++;
	b->rows[0] = b->rule << 8;
	b->n = 1;
}

/* From file offset @offset on, the rule of that number is in force. */
static void begin_rule(struct build *b, uint64_t offset, uint32_t rule)
{
	uint64_t page = (offset >> UNWIND_PAGE_SHIFT) - b->first_page;
	uint32_t low = offset & (PAGE_ROWS - 1);

	while (b->page < page && !b->error)
		end_page(b);
	if (b->error || rule == b->rule)
		return;
	if ((b->rows[b->n - 1] & 255) == low)
		b->n--; /* it begins where the one before would */
	b->rows[b->n++] = rule << 8 | low;
	b->rule = rule;
}

/* The rule that is in force where the segment begins. */
static void begin_segment(struct build *b)
{
	if (!b->is_in_segment)
		begin_rule(b, b->segments[b->segment].offset, number_of(b->t, b->last_rule));
	b->is_in_segment = true;
}

/* Goes on to the segment that holds @address, or to the next one behind it. */
static void go_to_segment(struct build *b, uint64_t address)
{
	while (b->segment < b->n_segments) {
		const struct segment *s = &b->segments[b->segment];

		if (address < s->address || address - s->address < s->bytes)
			return;
		begin_segment(b);
		begin_rule(b, s->offset + s->bytes, 0);
		b->is_in_segment = false;
		b->segment++;
	}
}

static void put_row(void *arg, uint64_t address, uint64_t rule)
{
	struct build *b = arg;
	const struct segment *s;

	go_to_segment(b, address);
	if (b->segment < b->n_segments && address >= b->segments[b->segment].address) {
		s = &b->segments[b->segment];
		begin_segment(b);
		begin_rule(b, address - s->address + s->offset, number_of(b->t, rule));
	}
	b->last_rule = rule;
}

/* Where the code lies.  False where it is not to be understood. */
static bool read_segments(struct build *b, const struct elf_file *elf)
{
	struct segment *s = b->segments;
	uint64_t end = 0, end_address = 0;
	size_t n = 0;

	while (n < SEGMENTS_MAX &&
	       elf_file_code_segment(elf, n, &s[n].address, &s[n].offset, &s[n].bytes)) {
		if (s[n].bytes > CODE_BYTES_MAX || s[n].offset > UINT64_MAX / 2 ||
		    s[n].address > UINT64_MAX / 2 || s[n].offset < end ||
		    s[n].address < end_address)
			return false; /* as the standard has it, they are in order */
		end = s[n].offset + s[n].bytes;
		end_address = s[n].address + s[n].bytes;
		n++;
	}
	b->n_segments = n;
	if (n) {
		b->first_page = s[0].offset >> UNWIND_PAGE_SHIFT;
		b->n_pages = (end >> UNWIND_PAGE_SHIFT) - b->first_page + 1;
	}
	return true;
}

/* Cuts the rows into pages of the file.  @ret->n_pages stays 0 where there is nothing. */
static int put_rows(struct build *b, const uint8_t *data, size_t len, uint64_t address,
		    struct unwind_file *ret)
{
	struct unwind_tables *t = b->t;
	size_t skipped = 0;
	int r;

	if (t->used > WORDS_MAX || b->n_pages > WORDS_MAX - t->used)
		return -ENOSPC;
	b->index = t->used;
	t->used += (uint32_t)b->n_pages;
	r = eh_frame_walk(data, len, address, put_row, b, &skipped);
	t->counts.damaged += skipped;
	if (r)
		return r;
	go_to_segment(b, UINT64_MAX);
	while (b->page < b->n_pages && !b->error)
		end_page(b);
	if (b->error)
		return b->error;
	*ret = (struct unwind_file){.index = b->index,
				    .first_page = (uint32_t)b->first_page,
				    .n_pages = (uint32_t)b->n_pages};
	return 0;
}

static int build_table(struct unwind_tables *t, struct elf_file *elf, struct unwind_file *ret)
{
	struct build b = {.t = t, .n = 1};
	uint32_t used = t->used;
	uint64_t address;
	uint8_t *data;
	size_t len;
	int r = elf_file_eh_frame(elf, &data, &len, &address);

	*ret = (struct unwind_file){0};
	if (r == -ENOENT)
		return 0;
	if (r)
		return r;
	r = read_segments(&b, elf) ? 0 : -EINVAL;
	if (!r && b.n_segments)
		r = put_rows(&b, data, len, address, ret);
	if (r)
		t->used = used; /* nobody was told of its words */
	free(data);
	return r;
}

/* ---- files --------------------------------------------------------------------------- */

static uint64_t hash_key(const struct unwind_file_key *key)
{
	return hash_bytes(key, sizeof(*key));
}

static bool is_same_key(const struct unwind_file_key *a, const struct unwind_file_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static struct known_file *find_file(const struct unwind_tables *t,
				    const struct unwind_file_key *key)
{
	uint32_t i = hashmap_get(&t->by_key, hash_key(key));

	return i != HASHMAP_NONE && is_same_key(&t->files[i].key, key) ? &t->files[i] : NULL;
}

static bool is_unchanged(const struct signature *a, const struct signature *b)
{
	return a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec;
}

/* It will fail the same way as long as the file stays as it is. */
static bool is_lasting(int r)
{
	return r == -ENOSPC || r == -EINVAL || r == -EFBIG || r == -EBADMSG;
}

/* @path may be NULL: it is not to be had. */
static void read_file(struct unwind_tables *t, const char *path, struct known_file *f)
{
	uint64_t begin_ns = clock_now_ns();
	struct elf_file *elf;
	int r = path ? elf_file_open(path, &elf, NULL) : -ENOENT;

	if (r == 0) {
		r = build_table(t, elf, &f->table);
		elf_file_close(elf);
	} else if (r == -ENOEXEC) { /* code, but of no program: there is nothing to know of it */
		r = 0;
	}
	if (r) {
		f->table = (struct unwind_file){.id = UNWIND_FILE_UNUSABLE};
		if (!is_lasting(r)) /* then it is tried again when it is mapped the next time */
			f->signature = (struct signature){0};
		t->counts.unusable++;
	} else if (f->table.n_pages) {
		t->counts.files++;
	} else {
		t->counts.without++;
	}
	t->counts.ns += clock_now_ns() - begin_ns;
}

/* A mapping of a file that was not mapped before, or never. */
static struct known_file *meet_file(struct unwind_tables *t, const struct unwind_file_key *key,
				    const struct process_map *map, const char *path)
{
	struct known_file *f = find_file(t, key);
	struct signature signature = {0};
	struct stat st;

	if (path && !stat(path, &st))
		signature = (struct signature){st.st_size, st.st_ctim, st.st_mtim};
	if (f && is_unchanged(&f->signature, &signature))
		return f;
	if (!f) {
		ARRAY_GROW(t->files, t->cap_files, t->n_files);
		*hashmap_put(&t->by_key, hash_key(key)) = (uint32_t)t->n_files;
		f = &t->files[t->n_files++];
	}
	*f = (struct known_file){.key = *key, .signature = signature};
	read_file(t, path, f);
	f->table.id |= t->last_id < RING_FRAME_FILE_MAX ? ++t->last_id : UNWIND_FILE_UNUSABLE;
	if (t->name)
		t->name(t->name_arg, f->table.id & ~UNWIND_FILE_UNUSABLE, map);
	return f;
}

static void show(struct unwind_tables *t, struct known_file *f, bool shown)
{
	if (f->is_shown == shown)
		return;
	if (probes_show_unwind_file(t->probes, &f->key, shown ? &f->table : NULL) == 0)
		f->is_shown = shown;
}

static void update_mapping(struct unwind_tables *t, pid_t pid, const struct process_maps *maps,
			   const struct unwind_mapping *m)
{
	struct known_file *f = find_file(t, &m->key);
	const struct process_map *map;
	char *path = NULL;

	if (!f || !f->is_shown) { /* while it is mapped, its number is no other file's */
		map = process_maps_find(maps, m->start);
		if (!map || map->start != m->start || map->end != m->end ||
		    map->offset != m->offset)
			return; /* it came after the maps were read: next time */
		if (process_map_file(pid, map, &path))
			path = NULL;
		f = meet_file(t, &m->key, map, path);
		free(path);
		show(t, f, true);
	}
	f->round = t->round;
}

/* Ours is the target's: the kernel has one for all processes. */
static void update_vdso(struct unwind_tables *t, const struct process_maps *maps)
{
	const uint8_t *own = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	const struct process_map *vdso = NULL;
	struct unwind_file table = {0};
	struct elf_file *elf;

	for (size_t i = 0; i < maps->n && !vdso; i++)
		if (!strcmp(maps->maps[i].path, "[vdso]"))
			vdso = &maps->maps[i];
	if (!vdso || !own || vdso->end - vdso->start > VDSO_BYTES_MAX)
		return;
	if (!t->has_vdso) {
		if (elf_file_open_memory(own, vdso->end - vdso->start, &elf, NULL) == 0) {
			build_table(t, elf, &table);
			elf_file_close(elf);
		}
		t->has_vdso = true;
		probes_set_vdso_table(t->probes, &table);
	}
	probes_set_vdso(t->probes, vdso->start, vdso->end);
}

int unwind_tables_update(struct unwind_tables *t, pid_t pid, const struct process_maps *maps,
			 uint16_t generation)
{
	struct unwind_mapping *mappings;
	size_t n;
	int r = probes_list_code(t->probes, &mappings, &n);

	if (r)
		return r;
	if (probes_code_generation(t->probes) != generation) {
		free(mappings);
		return -EAGAIN;
	}
	t->round++;
	for (size_t i = 0; i < n; i++)
		update_mapping(t, pid, maps, &mappings[i]);
	probes_set_listing(t->probes, mappings, n, generation);
	free(mappings);
	for (size_t i = 0; i < t->n_files; i++)
		if (t->files[i].round != t->round)
			show(t, &t->files[i], false);
	update_vdso(t, maps);
	unmap_slabs(t);
	return 0;
}
