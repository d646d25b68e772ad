/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "common/err.h"
#include "store/reader.h"
#include "store/writer.h"

/*
 * Puts the summaries (tables site and file) of the recording at @path, all of
 * whose events have been flushed, through its writer.
 */
int summary_write(struct store_writer *w, const char *path, struct err *err);

#endif
