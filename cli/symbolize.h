/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SYMBOLIZE_H
#define CLI_SYMBOLIZE_H

#include <stddef.h>

#include "store/reader.h"
#include "store/writer.h"

/*
 * Names the functions of a recording that has no names yet, from the files it
 * was made of: those that are still there, with the very build id.  Returns how
 * many frames got a name.
 */
size_t symbolize(struct store_writer *w, const struct catalog *c);

#endif
