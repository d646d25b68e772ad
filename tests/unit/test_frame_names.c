/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/frame_names.h"
#include "tests/unit/tap.h"

static void test_source_path(void)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{"/a/b/../c.h", "/a/c.h"},
		{"/a/b/c.h", "/a/b/c.h"},
		{"/a/./b//c.h", "/a/b/c.h"},
		{"a/../b.c", "b.c"},
		{"../a/../b.c", "../b.c"},
		{"../../b.c", "../../b.c"},
		{"a/../../b.c", "../b.c"},
		{"/../../b.c", "/b.c"},
		{"./b.c", "b.c"},
		{"b.c", "b.c"},
		{"/b.c", "/b.c"},
		{"/", "/"},
		{"", ""},
		{"..", ".."},
		{"/a/..", "/"},
		{"a/..", ""},
		{"/a/b/", "/a/b"},
		{"/a/...", "/a/..."},
		{"/a/..b/.c", "/a/..b/.c"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *got = source_path(cases[i].path);

		ok(!strcmp(got, cases[i].want), "'%s' is '%s', not '%s'", cases[i].path,
		   cases[i].want, got);
		free(got);
	}
}

/* Whatever it is: no longer than it was, and the same when it is done again. */
static void test_random_paths(void)
{
	static const char letters[] = "./ab";
	bool is_right = true;

	for (int i = 0; i < 20000; i++) {
		char path[24] = "", *once, *twice;
		size_t n = random_below(sizeof(path));

		for (size_t k = 0; k < n; k++)
			path[k] = letters[random_below(4)];
		once = source_path(path);
		twice = source_path(once);
		if (strlen(once) > strlen(path) || strcmp(once, twice) || strstr(once, "//") ||
		    strstr(once, "/./")) {
			diag("'%s' is '%s', then '%s'", path, once, twice);
			is_right = false;
		}
		free(once);
		free(twice);
	}
	ok(is_right, "random paths");
}

int main(void)
{
	seed_random();
	test_source_path();
	test_random_paths();
	return done();
}
