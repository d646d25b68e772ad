/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/live_names.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/symbolize.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/xalloc.h"

#define SECONDS_MAX 120	     /* of a child */
#define AGAIN_NS 1000000000ull /* new functions are looked up together */

/* ---- the child ------------------------------------------------------------------------ */

static void put_text(struct buffer *b, const char *text)
{
	size_t len = text ? strlen(text) + 1 : 0;

	buffer_append_varint(b, len);
	buffer_append(b, text ? text : "", len);
}

/* All functions at the frame's place. */
static void put_frame(struct buffer *b, const struct catalog *c, uint32_t id)
{
	struct frame_id at = {id};

	for (uint32_t depth = 0; at.v; depth++, at = catalog_frame(c, at)->outer) {
		const struct catalog_frame *f = catalog_frame(c, at);

		if (!f->function && !f->file)
			return;
		buffer_append_varint(b, id);
		buffer_append_varint(b, depth);
		buffer_append_varint(b, f->line);
		put_text(b, f->function);
		put_text(b, f->file);
	}
}

static void write_all(int fd, const struct buffer *b)
{
	size_t done = 0;

	while (done < b->len) {
		ssize_t n = write(fd, b->data + done, b->len - done);

		if (n <= 0)
			return; /* nobody wants it any more */
		done += (size_t)n;
	}
}

/* It has a copy of all our memory, but not our terminal. */
static _Noreturn void look_up(struct catalog *c, size_t from, int fd, pid_t parent)
{
	const struct symbolize_options options = {.seconds_max = SECONDS_MAX};
	int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct symbolize_result result;
	struct buffer b = {0};
	bool *is_new = xcalloc(c->n_recorded_frames + 1, sizeof(*is_new));

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "heaptrail-names");
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 3; i++)
		dup2(nowhere, i);
	for (size_t i = 1; i < c->n_recorded_frames; i++) {
		is_new[i] = i >= from && !c->frames[i].function;
		if (!is_new[i] && !c->frames[i].function)
			c->frames[i].function = ""; /* was asked for before */
	}
	symbolize_in_memory(c, &options, &result);
	for (size_t i = from; i < c->n_recorded_frames; i++)
		if (is_new[i])
			put_frame(&b, c, (uint32_t)i);
	write_all(fd, &b);
	_exit(0);
}

/* ---- what it has found ---------------------------------------------------------------- */

/* NULL: none, or (c->bad) there is no end to it. */
static const char *take_text(struct cursor *c)
{
	uint64_t len = cursor_varint(c);
	const char *text = (const char *)c->p;

	if (!len)
		return NULL;
	if (len > (uint64_t)(c->end - c->p) || text[len - 1]) {
		c->bad = 1;
		return NULL;
	}
	c->p += len;
	return text;
}

static void take_names(struct live_names *n, struct history *h)
{
	struct cursor c = {n->data, n->data + n->len, 0};

	while (c.p < c.end) {
		struct symbol_record s = {.frame = {(uint32_t)cursor_varint(&c)}};

		s.depth = (uint32_t)cursor_varint(&c);
		s.line = (uint32_t)cursor_varint(&c);
		s.function = take_text(&c);
		s.file = take_text(&c);
		if (c.bad)
			break;
		history_name(h, &s);
	}
}

static void forget_child(struct live_names *n)
{
	if (!n->pid)
		return;
	close(n->fd);
	while (waitpid(n->pid, NULL, 0) < 0 && errno == EINTR)
		;
	n->pid = 0;
	n->len = 0;
}

/* False: the child is still at it. */
static bool receive(struct live_names *n, struct history *h, uint64_t max_ns)
{
	uint64_t until = clock_now_ns() + max_ns;
	struct pollfd p = {.fd = n->fd, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_now_ns(), left_ms = now < until ? (until - now) / 1000000 : 0;
		ssize_t got;

		if (poll(&p, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms) <= 0)
			return false;
		ARRAY_GROW(n->data, n->cap, n->len + (1 << 16));
		got = read(n->fd, n->data + n->len, 1 << 16);
		if (got <= 0)
			break;
		n->len += (size_t)got;
	}
	if (n->loads == history_loads(h))
		take_names(n, h);
	forget_child(n);
	return true;
}

static bool begin(struct live_names *n, struct catalog *c)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	n->pid = fork();
	if (n->pid == 0) {
		close(fds[0]);
		look_up(c, n->asked, fds[1], parent);
	}
	close(fds[1]);
	n->fd = fds[0];
	if (n->pid > 0)
		return true;
	close(fds[0]);
	n->pid = 0;
	return false;
}

bool live_names_complete(struct live_names *n, struct history *h, uint64_t max_ns)
{
	const struct catalog *c = history_catalog(h);
	uint64_t now = clock_now_ns();

	if (n->pid && !receive(n, h, max_ns))
		return true;
	if (n->loads != history_loads(h)) {
		n->loads = history_loads(h);
		n->asked = 1;
	}
	/* 1: the recorder has looked up all; a recording without the fact was made before it */
	if (catalog_number(c, "names_looked_up", 1) == 1 || n->asked >= c->n_recorded_frames)
		return false;
	if (now < n->next_ns && !max_ns)
		return true;
	n->next_ns = now + AGAIN_NS;
	if (!begin(n, (struct catalog *)c))
		return false; /* next time */
	n->asked = c->n_recorded_frames;
	return !receive(n, h, max_ns);
}

void live_names_release(struct live_names *n)
{
	if (n->pid)
		kill(n->pid, SIGKILL);
	forget_child(n);
	free(n->data);
	memset(n, 0, sizeof(*n));
}
