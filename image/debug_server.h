/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DEBUG_SERVER_H
#define IMAGE_DEBUG_SERVER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A client of the debuginfod servers in $DEBUGINFOD_URLS: files with debug information by
 * build id.  It asks as who calls it, in the calling process; what comes is untrusted.
 *
 * elfutils' libdebuginfod is loaded when it is first needed, as libdw does it: it brings
 * HTTP and TLS with it, which no other command is to pay for.
 */
struct debug_server;

struct debug_server_options {
	uint64_t bytes_max; /* no larger file is fetched; 0: any */
	/* Called a few times a second while a file comes; @of: all its bytes, 0: not known. */
	void (*progress)(void *arg, uint64_t bytes, uint64_t of);
	void *arg;
};

/* Is the library there? */
bool debug_server_is_available(void);
/* Returns 0; -ENOSYS: no library; -EDESTADDRREQ: no server is named; another negative errno. */
int debug_server_open(const struct debug_server_options *options, struct debug_server **ret);
/* NULL is fine. */
void debug_server_close(struct debug_server *s);

/*
 * The debug information of what has this build id (lower-case hex): *@ret_path, to be freed,
 * is a file of the library's cache, which may have been there before.  -ENOENT: no server
 * has it, or it is no build id; -EFBIG: it is too large; another negative errno: no server
 * could be asked, or there is no place for what it sent.
 */
int debug_server_fetch(struct debug_server *s, const char *build_id, char **ret_path);

#endif
