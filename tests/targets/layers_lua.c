/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program with Lua in it, which gives it memory: [live blocks, live bytes] at the end. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long blocks, bytes;

__attribute__((noinline)) void *give_memory(void *user, void *p, size_t old, size_t size)
{
	(void)user;
	if (p) {
		blocks--;
		bytes -= old;
	}
	if (!size) {
		free(p);
		__asm__ volatile("" ::: "memory");
		return NULL;
	}
	blocks++;
	bytes += size;
	p = realloc(p, size);
	__asm__ volatile("" ::: "memory");
	return p;
}

int main(void)
{
	lua_State *l = lua_newstate(give_memory, NULL);

	luaL_openlibs(l);
	if (luaL_dostring(l, "local t = {} for i = 1, 2000 do t[i] = {tostring(i), i} end "
			     "for i = 1, 2000, 2 do t[i] = nil end collectgarbage() kept = t"))
		return 1;
	printf("[%lu, %lu]\n", blocks, bytes);
	fflush(stdout);
	_Exit(0);
}
