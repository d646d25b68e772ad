/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/debug_server.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xalloc.h"

/*
 * What is used of <elfutils/debuginfod.h> (elfutils 0.180 and later; the name of the library
 * stands for its interface), so that it need not be there to build with.
 */
#define LIBRARY "libdebuginfod.so.1"
#define URLS "DEBUGINFOD_URLS"
#define MAXSIZE "DEBUGINFOD_MAXSIZE"
#define BUILD_ID_CHARS_MIN 4
#define BUILD_ID_CHARS_MAX 128

struct debuginfod_client;

static struct library {
	void *handle;
	struct debuginfod_client *(*begin)(void);
	void (*end)(struct debuginfod_client *c);
	/* Returns a descriptor or a negative errno; @len 0: @build_id is hex. */
	int (*find)(struct debuginfod_client *c, const unsigned char *build_id, int len,
		    char **ret_path);
	/* Not 0 ends it.  @done and @of are bytes once a server has answered. */
	void (*set_progress)(struct debuginfod_client *c,
			     int (*call)(struct debuginfod_client *c, long done, long of));
	void (*set_data)(struct debuginfod_client *c, void *data);
	void *(*get_data)(struct debuginfod_client *c);
} lib;

struct debug_server {
	struct debug_server_options options;
	struct debuginfod_client *client;
	bool is_too_large; /* the file that is being fetched */
};

static bool load(void)
{
	const struct {
		const char *name;
		void **ret;
	} functions[] = {
		{"debuginfod_begin", (void **)&lib.begin},
		{"debuginfod_end", (void **)&lib.end},
		{"debuginfod_find_debuginfo", (void **)&lib.find},
		{"debuginfod_set_progressfn", (void **)&lib.set_progress},
		{"debuginfod_set_user_data", (void **)&lib.set_data},
		{"debuginfod_get_user_data", (void **)&lib.get_data},
	};
	void *handle;

	if (lib.handle)
		return true;
	handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; handle && i < COUNT_OF(functions); i++) {
		*functions[i].ret = dlsym(handle, functions[i].name);
		if (*functions[i].ret)
			continue;
		dlclose(handle);
		handle = NULL;
	}
	lib.handle = handle;
	return handle;
}

bool debug_server_is_available(void)
{
	return load();
}

/* Servers that do not say a file's size before it comes are held to the limit, too. */
static int on_progress(struct debuginfod_client *c, long done, long of)
{
	struct debug_server *s = lib.get_data(c);
	uint64_t max = s->options.bytes_max;

	s->is_too_large |= max && ((uint64_t)done > max || (of > 0 && (uint64_t)of > max));
	if (!s->is_too_large && of > 0 && s->options.progress)
		s->options.progress(s->options.arg, (uint64_t)done, (uint64_t)of);
	return s->is_too_large;
}

int debug_server_open(const struct debug_server_options *options, struct debug_server **ret)
{
	const char *urls = getenv(URLS);
	char max[24];
	struct debug_server *s;

	if (!load())
		return -ENOSYS;
	if (!urls || !urls[strspn(urls, " ")])
		return -EDESTADDRREQ;
	/* what the library finds larger before anything has come it does not begin to fetch */
	snprintf(max, sizeof(max), "%" PRIu64,
		 options->bytes_max < LONG_MAX ? options->bytes_max : LONG_MAX);
	if (setenv(MAXSIZE, max, 1))
		return -errno;
	s = xcalloc(1, sizeof(*s));
	s->options = *options;
	s->client = lib.begin();
	if (!s->client) {
		free(s);
		return -ENOMEM;
	}
	lib.set_data(s->client, s);
	lib.set_progress(s->client, on_progress);
	*ret = s;
	return 0;
}

void debug_server_close(struct debug_server *s)
{
	if (!s)
		return;
	lib.end(s->client);
	free(s);
}

int debug_server_fetch(struct debug_server *s, const char *build_id, char **ret_path)
{
	size_t len = strlen(build_id);
	char *path = NULL;
	int fd;

	/* it becomes a part of names */
	if (len < BUILD_ID_CHARS_MIN || len > BUILD_ID_CHARS_MAX || len % 2 ||
	    build_id[strspn(build_id, "0123456789abcdef")])
		return -ENOENT;
	s->is_too_large = false;
	fd = lib.find(s->client, (const unsigned char *)build_id, 0, &path);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && path) {
		*ret_path = path;
		return 0;
	}
	free(path);
	if (s->is_too_large)
		return -EFBIG;
	return fd < 0 ? fd : -EIO;
}
