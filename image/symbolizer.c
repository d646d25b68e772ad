/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/symbolizer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/xalloc.h"
#include "image/confined.h"
#include "image/debug_file.h"

#define SECONDS 60	   /* of CPU time, if nothing else is said */
#define IDLE_SECONDS 60	   /* in addition: disks may be slow */
#define MEMORY_BYTES (4ull << 30)
#define FLUSH_BYTES (64u << 10)

/*
 * The child says of each place: its number, how many functions, and then each of
 * them: line, bytes of its name and of the file's name, both names.  At the end it
 * says how it went.  Its limits are the parent's too, who believes nothing.
 */
#define DEPTH_MAX 256u
#define NAME_BYTES_MAX (64u << 10)
#define FILE_BYTES_MAX 8192u
#define PLACE_BYTES_MAX (16u << 20)
#define BYTES_PER_PLACE 16384ull /* of all places together, on average */
#define THE_END UINT32_MAX

struct message {
	uint32_t bytes; /* that follow */
	uint32_t place; /* or THE_END */
	uint32_t n;	/* functions; at the end: enum debug_info */
	int32_t status; /* at the end */
};

struct message_function {
	uint32_t line, name_bytes, file_bytes; /* with their 0; no bytes: not known */
};

/* ---- the child ------------------------------------------------------------------ */

struct request {
	int fd, debug_fd; /* the file; the folder with debug files, or -1 */
	const char *path;
	const uint64_t *addresses;
	size_t n;
	bool linkage_names;
};

struct speaker {
	int fd;
	struct buffer out;
};

static void flush(struct speaker *s)
{
	for (size_t done = 0; done < s->out.len;) {
		ssize_t n = write(s->fd, s->out.data + done, s->out.len - done);

		if (n < 0 && errno != EINTR)
			_exit(1); /* nobody listens any more */
		if (n > 0)
			done += (size_t)n;
	}
	buffer_reset(&s->out);
}

/* With its 0; none at all where it is too long, or says nothing. */
static uint32_t string_bytes(const char *s, size_t max)
{
	size_t len = s ? strnlen(s, max) : max;

	return len && len < max ? (uint32_t)len + 1 : 0;
}

static void say_place(void *arg, const struct symbolized *chain, size_t n)
{
	struct speaker *s = arg;
	size_t start = s->out.len;
	struct message m = {.place = (uint32_t)chain[0].place};

	m.n = n < DEPTH_MAX ? (uint32_t)n : DEPTH_MAX;

	buffer_append(&s->out, &m, sizeof(m));
	for (size_t i = 0; i < m.n; i++) {
		struct message_function f = {.line = chain[i].line};

		f.name_bytes = string_bytes(chain[i].function, NAME_BYTES_MAX);
		f.file_bytes = string_bytes(chain[i].file, FILE_BYTES_MAX);
		buffer_append(&s->out, &f, sizeof(f));
		buffer_append(&s->out, chain[i].function, f.name_bytes);
		buffer_append(&s->out, chain[i].file, f.file_bytes);
	}
	m.bytes = (uint32_t)(s->out.len - start - sizeof(m));
	memcpy(s->out.data + start, &m, sizeof(m));
	if (m.bytes > PLACE_BYTES_MAX)
		s->out.len = start;
	if (s->out.len >= FLUSH_BYTES)
		flush(s);
}

static void read_debug_info(void *arg, int out)
{
	const struct request *q = arg;
	struct speaker s = {.fd = out};
	struct message end = {.place = THE_END};
	enum debug_info found = DEBUG_NONE;

	unsetenv("DEBUGINFOD_URLS"); /* libdw would ask them */
	end.status = debug_file_look_up(q->fd, q->path, q->debug_fd, q->linkage_names, q->addresses,
					q->n, say_place, &s, &found);
	end.n = found;
	buffer_append(&s.out, &end, sizeof(end));
	flush(&s);
}

/* ---- the parent ----------------------------------------------------------------- */

struct listener {
	struct confined child;
	size_t n_places;
	bool *named; /* by place */
	uint64_t bytes_left;
	uint8_t *body;
	size_t cap_body;
	struct symbolized chain[DEPTH_MAX];
	symbolized_each *each;
	void *arg;
};

/* Of @len bytes at *@at; false where it is none, or too long. */
static bool take_string(const uint8_t **at, const uint8_t *end, uint32_t len, const char **ret)
{
	const char *s = (const char *)*at;

	*ret = NULL;
	if (len > (size_t)(end - *at))
		return false;
	if (!len)
		return true;
	if (len < 2 || strnlen(s, len) != len - 1)
		return false;
	*at += len;
	*ret = s;
	return true;
}

static bool take_functions(struct listener *l, const struct message *m)
{
	const uint8_t *at = l->body, *end = at + m->bytes;

	for (uint32_t i = 0; i < m->n; i++) {
		struct symbolized *s = &l->chain[i];
		struct message_function f;

		if ((size_t)(end - at) < sizeof(f))
			return false;
		memcpy(&f, at, sizeof(f));
		at += sizeof(f);
		if (f.name_bytes > NAME_BYTES_MAX || f.file_bytes > FILE_BYTES_MAX ||
		    !take_string(&at, end, f.name_bytes, &s->function) ||
		    !take_string(&at, end, f.file_bytes, &s->file))
			return false;
		s->place = m->place;
		s->depth = i;
		s->line = s->file ? f.line : 0;
	}
	return at == end;
}

static bool take_place(struct listener *l, const struct message *m)
{
	if (m->place >= l->n_places || l->named[m->place] || !m->n || m->n > DEPTH_MAX ||
	    m->bytes > PLACE_BYTES_MAX || m->bytes > l->bytes_left)
		return false;
	l->bytes_left -= m->bytes;
	if (m->bytes)
		ARRAY_GROW(l->body, l->cap_body, m->bytes - 1);
	if (!confined_read(&l->child, l->body, m->bytes) || !take_functions(l, m))
		return false;
	l->named[m->place] = true;
	for (uint32_t i = 0; i < m->n; i++)
		l->each(l->arg, &l->chain[i]);
	return true;
}

static int listen_to_end(struct listener *l, enum debug_info *ret)
{
	struct message m;

	*ret = DEBUG_DAMAGED;
	while (confined_read(&l->child, &m, sizeof(m))) {
		if (m.place == THE_END) {
			if (m.bytes || m.n > DEBUG_DAMAGED || m.status > 0 || m.status < -4095)
				break;
			*ret = (enum debug_info)m.n;
			return m.status;
		}
		if (!take_place(l, &m))
			break;
	}
	return 0;
}

static int run(const struct request *q, const struct symbolizer_options *o, uint64_t file_bytes,
	       struct listener *l, enum debug_info *ret)
{
	struct confined_task task = {.run = read_debug_info, .keep = {q->fd, q->debug_fd}};
	int r;

	task.arg = (void *)(uintptr_t)q; /* only read */
	task.cpu_s = o->seconds_max ? o->seconds_max : SECONDS;
	task.idle_s = task.cpu_s + IDLE_SECONDS;
	task.memory_bytes = MEMORY_BYTES + 2 * file_bytes;
	task.stop_fd = o->stop_fd;
	task.on_wait = o->on_wait;
	task.wait_arg = o->wait_arg;
	r = confined_start(&l->child, &task);
	if (r)
		return r;
	r = listen_to_end(l, ret);
	confined_stop(&l->child);
	return r;
}

int symbolize_file(int fd, const char *path, const uint64_t *addresses, size_t n,
		   const struct symbolizer_options *o, symbolized_each *each, void *arg,
		   enum debug_info *ret)
{
	struct request q = {.fd = fd, .debug_fd = -1, .path = path, .addresses = addresses, .n = n};
	struct listener *l;
	struct stat st;
	int r;

	if (n >= THE_END)
		return -E2BIG;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	if (o->debug_path)
		q.debug_fd = open(o->debug_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (o->debug_path && q.debug_fd < 0)
		return -errno;
	q.linkage_names = o->linkage_names;
	l = xcalloc(1, sizeof(*l));
	l->n_places = n;
	l->named = xcalloc(n, sizeof(*l->named));
	l->bytes_left = PLACE_BYTES_MAX + BYTES_PER_PLACE * n;
	l->each = each;
	l->arg = arg;
	r = run(&q, o, confined_file_bytes(&st), l, ret);
	if (q.debug_fd >= 0)
		close(q.debug_fd);
	free(l->named);
	free(l->body);
	free(l);
	return r;
}
