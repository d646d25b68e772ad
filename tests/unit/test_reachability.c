/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which block was of which kind, in the recording: written, read, damaged, missing. */
#include "config.h"
#include "store/reachability.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store_fixture.h"

static const struct space_id space = {1};

static struct reachability_record make(size_t n)
{
	struct reachability_record r = {.space = space, .t_ns = 5000, .held_ns = 70, .read_bytes = 1 << 20,
					.flags = REACHABILITY_CAUTIOUS, .n = n};
	uint64_t address = 0x555500000000;

	r.addresses = xcalloc(n + 1, sizeof(*r.addresses));
	r.kinds = xcalloc(n + 1, 1);
	for (size_t i = 0; i < n; i++) {
		address += 16 * (1 + i % 7) + (i % 100 ? 0 : 1ull << 40);
		r.addresses[i] = address;
		r.kinds[i] = (uint8_t)(i % BLOCK_KINDS);
	}
	return r;
}

static const char *record(const struct reachability_record *r)
{
	const char *path = in_folder("a.trail");
	struct store_writer *w = create(path, true);

	store_writer_put_space(w, &(struct space_record){.id = space, .process = 1});
	if (r)
		ok(store_writer_put_reachability(w, r), "%zu blocks are put", (size_t)r->n);
	store_writer_seal(w);
	ok(!store_writer_close(w, &err), "closed");
	return path;
}

/* What store_reader_reachability() says. */
static int read_it(const char *path, struct reachability_record *ret)
{
	struct store_reader *r;
	int got;

	memset(ret, 0, sizeof(*ret));
	if (store_reader_open(path, &r, &err) < 0)
		return -1000;
	got = store_reader_reachability(r, ret, &err);
	store_reader_close(r);
	return got;
}

static void test_same(size_t n)
{
	struct reachability_record r = make(n), got;
	const char *path = record(&r);
	int found = read_it(path, &got);

	ok(found == 1 && got.n == n && got.t_ns == 5000 && got.held_ns == 70 &&
		   got.read_bytes == 1 << 20 && got.flags == REACHABILITY_CAUTIOUS &&
		   !memcmp(got.addresses, r.addresses, n * sizeof(*r.addresses)) &&
		   !memcmp(got.kinds, r.kinds, n), "and read: %d", found);
	reachability_release(&got);
	reachability_release(&r);
}

/* Any change is found: by the seal, and by the row's own checksum where the seal is gone. */
static void test_changes(void)
{
	static const char *const changes[] = {
		"held_ns = held_ns + 1", "blocks = blocks - 1", "blocks = 1 << 60", "flags = 0",
		"bytes = bytes + 1", "bytes = 1 << 40", "codec = 2", "time_ns = 4999", "crc = crc + 1",
		"data = x''", "data = zeroblob(5)", "data = substr(data, 1, length(data) - 1)",
		"blocks = -1", "bytes = 'text'",
	};
	struct reachability_record r = make(1000), got;

	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		const char *path = record(&r);
		char *sql = xasprintf("UPDATE OR IGNORE reachability SET %s", changes[i]);
		int sealed, unsealed;

		run_sql(path, sql);
		sealed = read_it(path, &got);
		/* as the recorder leaves it that was killed */
		run_sql(path, "DELETE FROM recording WHERE key = 'seal'; PRAGMA journal_mode = WAL");
		unsealed = read_it(path, &got);
		ok(sealed < 0 && unsealed == -EBADMSG, "%s: %d, %d", changes[i], sealed, unsealed);
		reachability_release(&got);
		free(sql);
	}
	reachability_release(&r);
}

static void test_none(void)
{
	struct reachability_record got;
	const char *path = record(NULL);

	ok(read_it(path, &got) == 0, "nobody looked");
	run_sql(path, "DROP TABLE reachability");
	ok(read_it(path, &got) == 0, "a recording of before there was such a table: its seal is the same");
}

int main(void)
{
	set_up("reachability");
	test_same(0);
	test_same(1);
	test_same(1000);
	test_same(300000);
	test_changes();
	test_none();
	ok(tear_down(), "nothing is left behind");
	return done();
}
