/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/xalloc.h"

/* A few hostile bytes may demangle to something without an end: each part twice the last. */
#define SYMBOL_BYTES_MAX 4096
#define NAME_BYTES_MAX 65536

struct output {
	struct buffer name;
	jmp_buf too_long; /* the demanglers cannot be stopped otherwise; they own no memory then */
};

static void take(const char *text, size_t len, void *arg)
{
	struct output *o = arg;

	if (o->name.len + len > NAME_BYTES_MAX)
		longjmp(o->too_long, 1);
	buffer_append(&o->name, text, len);
}

static int run(struct output *o, const char *symbol)
{
	const int options = DMGL_PARAMS | DMGL_ANSI;

	if (setjmp(o->too_long))
		return 0;
	if (rust_demangle_callback(symbol, options, take, o))
		return 1;
	o->name.len = 0;
	return cplus_demangle_v3_callback(symbol, options, take, o);
}

char *demangle(const char *symbol)
{
	struct output o = {0};

	if (symbol[0] == '_' && strlen(symbol) <= SYMBOL_BYTES_MAX && run(&o, symbol) &&
	    o.name.len) {
		buffer_append(&o.name, "", 1);
		return (char *)o.name.data;
	}
	buffer_release(&o.name);
	return xstrndup(symbol, SYMBOL_BYTES_MAX);
}

char *demangle_unless(bool linkage, const char *symbol)
{
	return linkage ? xstrndup(symbol, SYMBOL_BYTES_MAX) : demangle(symbol);
}
