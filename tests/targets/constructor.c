/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

extern void *constructor_blocks[];

int main(void)
{
	return constructor_blocks[99] ? 0 : 1;
}
