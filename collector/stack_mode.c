/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/stack_mode.h"

#include <stddef.h>
#include <string.h>

#include "common/xalloc.h"

static const char *const names[] = {
	[STACK_MODE_AUTO] = "auto",
	[STACK_MODE_FP] = "fp",
	[STACK_MODE_CALLER] = "caller",
	[STACK_MODE_NONE] = "none",
};

const char *stack_mode_name(enum stack_mode mode)
{
	return names[mode];
}

bool stack_mode_by_name(const char *name, enum stack_mode *ret)
{
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (!strcmp(name, names[i])) {
			*ret = (enum stack_mode)i;
			return true;
		}
	return false;
}
