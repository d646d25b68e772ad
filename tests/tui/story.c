/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests and pictures of the terminal interface: writes the recording of a media
 * player that never ran, always the same.  story FILE SOURCES [STEPS [layers|marks]]: SOURCES is the
 * folder that its sources are said to be in; with layers there are two besides the heap.
 *
 * A minute: the libraries are scanned, a playlist is loaded, frames are decoded by three
 * threads through a pool, a cache of cover pictures fills and stays, subtitles leak.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/marks.h"
#include "common/xalloc.h"
#include "store/slots.h"
#include "store/snapshot.h"
#include "store/writer.h"

#define START_NS 1000000000ull
#define SECONDS 60
#define BUCKETS 512
#define BLOCKS_AT 0x55d0c0000000ull

enum { PLAYER = 1, LIBC, LIBLUA, LIBVIDEO, MODULES };

static struct store_writer *writer;
static const char *sources;
static uint32_t n_frames, n_stacks;
static struct slots slots;
static struct {
	uint64_t size;
	uint8_t family;
} *blocks; /* [slot] */
static size_t cap_blocks;
static struct timeline_bucket buckets[BUCKETS];
static uint64_t now_ns = START_NS, live_bytes, random_state = 1;

static uint32_t frame(uint32_t module, const char *function, const char *file, uint32_t line)
{
	struct frame_id id = {++n_frames};
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", sources, file ? file : "");
	store_writer_put_frame(writer, id, (struct module_id){module}, 0x1000 + 16 * n_frames);
	store_writer_put_symbol(writer, &(struct symbol_record){.frame = id,
								.function = function,
								.file = file ? path : NULL,
								.line = line});
	return id.v;
}

static uint32_t call(uint32_t parent, uint32_t module, const char *function, const char *file,
		     uint32_t line)
{
	store_writer_put_stack(writer, (struct stack_id){++n_stacks}, (struct stack_id){parent},
			       (struct frame_id){frame(module, function, file, line)},
			       STACK_COMPLETE);
	return n_stacks;
}

static uint64_t random_below(uint64_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % n;
}

static struct timeline_bucket *bucket(void)
{
	size_t i = (now_ns - START_NS) * BUCKETS / (SECONDS * 1000000000ull);

	return &buckets[i < BUCKETS ? i : BUCKETS - 1];
}

static struct {
	uint32_t scan, name, playlist, lua, frame[3], packet[3], cover, subtitle, evil, unknown;
} sites;

/* With layers: the families of two that lie above the heap. */
static bool has_layers;
#define LUA 40
#define COVERS 41

static uint8_t family_of(uint32_t stack)
{
	if (has_layers && stack == sites.lua)
		return LUA;
	return has_layers && stack == sites.cover ? COVERS : 1;
}

static uint32_t allocate(uint32_t stack, uint32_t thread, uint64_t size)
{
	uint32_t slot = slots_take(&slots);
	struct timeline_bucket *b = bucket();

	ARRAY_GROW(blocks, cap_blocks, slot);
	if (family_of(stack) == COVERS)
		size = 0; /* they are counted */
	blocks[slot].size = size;
	blocks[slot].family = family_of(stack);
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_ALLOC,
					       .family = family_of(stack),
					       .thread = {thread},
					       .stack = {stack},
					       .slot = slot,
					       .t_ns = now_ns,
					       .address = BLOCKS_AT + 4096 * (uint64_t)slot,
					       .size = size,
					       .usable = (size + 8 + 15) / 16 * 16 - 8});
	live_bytes += size;
	b->allocs++;
	b->allocated_bytes += size;
	if (live_bytes > b->max_live_bytes)
		b->max_live_bytes = live_bytes;
	return slot;
}

static void release(uint32_t slot, uint32_t thread)
{
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_FREE,
					       .family = blocks[slot].family,
					       .thread = {thread},
					       .slot = slot,
					       .t_ns = now_ns});
	slots_give(&slots, slot);
	live_bytes -= blocks[slot].size;
	bucket()->frees++;
}

/* What every thread of the decoder begins with. */
static uint32_t begin_decoder(void)
{
	uint32_t s = call(0, LIBC, "clone3", NULL, 0);

	s = call(s, LIBC, "start_thread", NULL, 0);
	s = call(s, PLAYER, "decoder_thread", "decoder.c", 12);
	return call(s, LIBVIDEO, "video_decode(Stream&, Packet const&)", "video.cc", 14);
}

static void put_sites(void)
{
	uint32_t s = call(0, PLAYER, "_start", NULL, 0), main, load, lua;

	s = call(s, LIBC, "__libc_start_main_impl", NULL, 0);
	s = call(s, LIBC, "__libc_start_call_main", NULL, 0);
	main = call(s, PLAYER, "main", "player.c", 21);
	s = call(main, PLAYER, "library_scan", "library.c", 9);
	for (int i = 0; i < 6; i++) /* folders in folders */
		s = call(s, PLAYER, "scan_folder", "library.c", 17);
	sites.scan = call(call(s, PLAYER, "entry_new", "library.c", 26), PLAYER, "xmalloc",
			  "util.c", 5);
	sites.name = call(call(s, PLAYER, "entry_new", "library.c", 27), LIBC, "strdup", NULL, 0);
	load = call(main, PLAYER, "playlist_load", "playlist.c", 8);
	sites.playlist = call(call(load, PLAYER, "playlist_append", "playlist.c", 19), PLAYER,
			      "xrealloc", "util.c", 13);
	lua = call(load, LIBLUA, "lua_pcallk", NULL, 0);
	lua = call(lua, LIBLUA, "luaV_execute", NULL, 0);
	sites.lua = call(call(lua, LIBLUA, "luaM_realloc_", NULL, 0), PLAYER, "script_alloc",
			 "script.c", 11);
	for (int i = 0; i < 3; i++) {
		s = begin_decoder();
		sites.packet[i] = call(s, PLAYER, "packet_read", "decoder.c", 24);
		sites.frame[i] = call(call(s, LIBVIDEO, "FramePool::grow(unsigned long)",
					   "frame_pool.cc", 31),
				      LIBVIDEO, "operator new(unsigned long)", NULL, 0);
	}
	sites.cover = call(call(main, PLAYER, "cover_load", "covers.c", 14), PLAYER, "cache_put",
			   "covers.c", 28);
	sites.subtitle = call(call(main, PLAYER, "subtitle_show", "subtitles.c", 7), PLAYER,
			      "line_new", "subtitles.c", 16);
	sites.evil = call(main, PLAYER, "evil\033]0;owned\007name\xff", NULL, 0);
	sites.unknown = call(main, LIBVIDEO, "日本語の名前🎬", "video.cc", 30);
}

static void put_world(void)
{
	static const char *const paths[] = {
		[PLAYER] = "/usr/bin/player", [LIBC] = "/usr/lib/x86_64-linux-gnu/libc.so.6",
		[LIBLUA] = "/usr/lib/x86_64-linux-gnu/liblua5.4.so.0",
		[LIBVIDEO] = "/opt/player/lib/libvideo.so.3"};
	static const char *const threads[] = {"player", "decode:0", "decode:1", "decode:2"};
	uint64_t end = START_NS + SECONDS * 1000000000ull;

	store_writer_put_text(writer, "command", "[\"/usr/bin/player\",\"--shuffle\",\"music/\"]");
	store_writer_put_text(writer, "engine", "story");
	store_writer_put_text(writer, "stack_mode", "unwind");
	store_writer_put_number(writer, "pid", 4242);
	store_writer_put_number(writer, "start_realtime_ns", 4000000000000000000);
	store_writer_put_number(writer, "start_ns", (int64_t)START_NS);
	store_writer_put_number(writer, "end_ns", (int64_t)end);
	store_writer_put_number(writer, "exited", 0);
	store_writer_put_process(writer, &(struct process_record){.id = 1, .pid = 4242,
								  .command = "[\"player\"]",
								  .start_ns = START_NS});
	store_writer_put_space(writer, &(struct space_record){.id = {1},
							      .process = 1,
							      .executable = paths[PLAYER],
							      .start_ns = START_NS,
							      .end_ns = end,
							      .end = "detach"});
	for (uint32_t i = 0; i < 4; i++)
		store_writer_put_thread(writer, &(struct thread_record){.id = {i + 1},
									.process = 1,
									.tid = 4242 + (int)i,
									.name = threads[i],
									.start_ns = START_NS});
	store_writer_put_family(writer, &(struct family_record){1, "libc malloc", "heap"});
	if (has_layers) {
		store_writer_put_family(writer, &(struct family_record){LUA, "lua", "lua"});
		store_writer_put_family(
			writer, &(struct family_record){COVERS, "covers references", "covers"});
	}
	for (uint32_t i = 1; i < MODULES; i++)
		store_writer_put_module(writer, &(struct module_record){{i}, paths[i], NULL});
}

/* Of the blocks' pages seven in eight are resident; the rest of the process is small. */
static void put_snapshot(const char *reason)
{
	struct snapshot s = {0};
	struct snapshot_info i = {.space = {1}, .t_ns = now_ns, .reason = reason,
				  .held_ns = 1234567, .live_bytes = live_bytes};
	struct snapshot_region code = {.start = 0x55d0b0000000, .end = 0x55d0b0200000,
				       .kind = SNAPSHOT_FILE, .rss = 1 << 20},
			       heap = {.start = BLOCKS_AT, .kind = SNAPSHOT_BRK};

	snapshot_add_region(&s, &code, "/usr/bin/player");
	heap.end = heap.start + ((uint64_t)slots.next + 8) / 8 * 8 * SNAPSHOT_PAGE_BYTES;
	snapshot_add_region(&s, &heap, "[heap]");
	for (uint64_t at = heap.start; at < heap.end; at += 8 * SNAPSHOT_PAGE_BYTES) {
		snapshot_add_pages(&s, 7, SNAPSHOT_RESIDENT);
		snapshot_add_pages(&s, 1, at / 65536 % 3 ? SNAPSHOT_ABSENT : SNAPSHOT_SWAPPED);
	}
	i.heap_bytes = s.regions[1].rss = (heap.end - heap.start) / 8 * 7;
	i.rss_bytes = s.rss_bytes = i.heap_bytes + (1 << 20);
	store_writer_put_snapshot(writer, &i, &s);
	snapshot_release(&s);
}

struct ring {
	uint32_t slots[64];
	size_t n, next;
};

/* The oldest goes when there are @max. */
static void keep(struct ring *r, size_t max, uint32_t slot, uint32_t thread)
{
	if (r->n == max)
		release(r->slots[r->next], thread);
	else
		r->n++;
	r->slots[r->next] = slot;
	r->next = (r->next + 1) % max;
}

static void decode(unsigned int i, struct ring *frames)
{
	uint32_t packet = allocate(sites.packet[i], i + 2, 1000 + random_below(30000));

	keep(&frames[i], 24, allocate(sites.frame[i], i + 2, 1920 * 1080 * 3 / 2 / 8), i + 2);
	release(packet, i + 2);
}

static void play(uint64_t n_steps)
{
	static struct ring frames[3], scripts;
	uint32_t list = allocate(sites.playlist, 1, 4096), scratch;

	for (uint64_t i = 0; i < n_steps; i++) {
		uint64_t share = i * 1000 / n_steps;

		now_ns = START_NS + i * (SECONDS * 1000000000ull / n_steps);
		if (share < 150) {
			allocate(sites.scan, 1, 200);
			allocate(sites.name, 1, 20 + random_below(60));
		} else if (share < 200) {
			release(list, 1);
			list = allocate(sites.playlist, 1, 4096 + (share - 150) * 4096);
			keep(&scripts, 40, allocate(sites.lua, 1, 16 + random_below(2000)), 1);
		} else if (share < 900 || i % 7 == 0) {
			decode((unsigned int)(i % 3), frames);
		}
		if (share > 200 && share < 500 && i % 50 == 0)
			allocate(sites.cover, 1, 30000 + random_below(90000));
		if (share > 200 && i % 20 == 0)
			allocate(sites.subtitle, 1, 80 + random_below(400));
		if (i % 1000 == 500) {
			scratch = allocate(i % 2000 == 500 ? sites.evil : sites.unknown, 1, 777);
			release(scratch, 1);
		}
		bucket()->live_bytes = live_bytes;
		if (n_steps >= 12 && (i + 1) % (n_steps / 12) == 0)
			put_snapshot("every");
	}
}

static void put_measures(void)
{
	for (int i = 0; i < BUCKETS; i++) {
		if (i && !buckets[i].allocs && !buckets[i].frees)
			buckets[i].live_bytes = buckets[i].max_live_bytes = buckets[i - 1].live_bytes;
		if (buckets[i].live_bytes > buckets[i].max_live_bytes)
			buckets[i].max_live_bytes = buckets[i].live_bytes;
	}
	store_writer_put_timeline(writer, buckets, BUCKETS, START_NS,
				  SECONDS * 1000000000ull / BUCKETS);
	for (uint64_t s = 0; s <= SECONDS; s++)
		store_writer_put_rss(writer, (struct space_id){1}, START_NS + s * 1000000000ull,
				     8000000 + s * 100000 +
				     buckets[s * (BUCKETS - 1) / SECONDS].max_live_bytes * 9 / 8);
}

static void put_marks(void)
{
	mark_put(writer, 1, START_NS + 9 * 1000000000ull, "'live > 1MiB': live is 1.02 MiB");
	mark_put(writer, 2, START_NS + SECONDS / 2 * 1000000000ull,
		 "'live > 2MiB': \033[31mlive is 2.01 MiB; command started");
	mark_put(writer, 3, UINT64_MAX, "a mark that is after the end");
	store_writer_put_text(writer, MARK_KEY "0004", "no time");
}

int main(int argc, char **argv)
{
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	struct err err;

	if (argc < 3 || store_writer_create(argv[1], &o, &writer, &err)) {
		fprintf(stderr, "story: %s\n", argc < 3 ? "FILE SOURCES [STEPS [layers]]" : err.what);
		return 1;
	}
	sources = argv[2];
	has_layers = argc > 4 && !strcmp(argv[4], "layers");
	if (argc > 4 && !has_layers)
		put_marks();
	put_world();
	put_sites();
	play(argc > 3 ? strtoul(argv[3], NULL, 10) : 40000);
	put_measures();
	store_writer_seal(writer);
	if (store_writer_close(writer, &err)) {
		fprintf(stderr, "story: %s\n", err.what);
		return 1;
	}
	slots_release(&slots);
	free(blocks);
	return 0;
}
