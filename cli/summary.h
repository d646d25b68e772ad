/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/reader.h"
#include "store/writer.h"

/*
 * Puts the summary (table site) of the recording at @path, all of
 * whose events and names have been flushed, through its writer.  @known is what the
 * events come to, by stack, where somebody has read them already; else NULL.
 */
int summary_write(struct store_writer *w, const char *path, const struct analysis *known,
		  struct err *err);

/*
 * Finds anew whose each site is, by names that have changed: without reading the events.
 */
int summary_rewrite_owners(struct store_writer *w, const char *path, struct err *err);

#endif
