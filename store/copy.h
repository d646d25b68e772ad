/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_COPY_H
#define STORE_COPY_H

#include "common/err.h"

/*
 * Copies the recording @from, as it is at one moment, also while it is being written: its
 * WAL is in the copy.  @to is a new file, mode 0600, never over another one and never through
 * a symbolic link; where it fails none is left.  A copy of one without a seal has none either.
 * The recorder goes on meanwhile, but its WAL grows.
 */
int store_copy(const char *from, const char *to, struct err *err);
/* Removes a recording, with what SQLite keeps beside it; what is not there is no error. */
void store_remove(const char *path);

#endif
