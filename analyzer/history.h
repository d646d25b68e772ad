/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_HISTORY_H
#define ANALYZER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/reader.h"

/*
 * A recording to look into at any moment, also while it grows.  Reading is done in
 * slices, so that whoever shows it stays responsive.
 *
 * What is shown is the end, which moves on while it is being recorded, or the heap at a
 * moment of the past, of all blocks or of those allocated from some moment on.
 *
 * Where it is being recorded the file is only open during a call: a reader that holds it
 * would keep the recorder from closing it.
 */
struct history;

/* Loads all but the events.  -errno with @err. */
int history_open(const char *path, struct history **ret, struct err *err);
/* The same of one that goes on from @earlier (store/earlier.h; or NULL), which outlives it. */
int history_open_after(const char *path, struct store_earlier *earlier, struct history **ret,
		       struct err *err);
void history_close(struct history *h);

/*
 * Reads on, for about @max_ns, or until what is shown is up to date: 1 if it is not yet;
 * 0; or a negative errno with @err: what was read before it remains.
 */
int history_read(struct history *h, uint64_t max_ns, struct err *err);
/*
 * Makes the index that takes history_read() to moments at once, for about @max_ns, where it
 * has nothing else to do: 1 if there is more of it to make, else 0.  Where the recording still
 * grows only once a moment of the past has been shown.
 */
int history_prepare(struct history *h, uint64_t max_ns);
/*
 * Are single blocks wanted: their ages, history_replay()?  They are at first.  Where they are
 * not history_read() may do without, which is quicker, and they are those of some other moment.
 */
void history_want_blocks(struct history *h, bool wanted);
/*
 * Is history_growth() wanted?  Then history_read() is not done before that has been read, which
 * takes all events.
 */
void history_want_growth(struct history *h, bool wanted);
/*
 * What each stack had over time, until the end or the moment that history_read() has come to, which
 * is *@ret_until_ns; NULL: it is not known, of what was dropped and of blocks since some moment.
 */
const struct growth_windows *history_growth(struct history *h, uint64_t *ret_until_ns);
/*
 * While it is held it does not grow, whatever its recorder writes: the end stays where it is,
 * and moments before it can be shown.
 */
void history_hold(struct history *h, bool hold);
/* Has nobody closed it, so that it may grow? */
bool history_is_open_ended(const struct history *h);
/* It changes whenever what is shown has. */
uint64_t history_version(const struct history *h);
/* It changes whenever the catalog's frames, stacks or names have. */
uint64_t history_catalog_version(const struct history *h);
/* How often all names were read from the file: what history_name() put before is gone. */
unsigned int history_loads(const struct history *h);
/* Names a function in memory: see catalog_add_symbol(). */
void history_name(struct history *h, const struct symbol_record *s);
/* 0 to 1: how much of what is to be shown has been read. */
double history_progress(const struct history *h);

/*
 * All that is shown is of one layer, the heap's at first: number @layer of history_layers(),
 * from now on, at its end.  Only of the heap it is known what there was before events that
 * were dropped: of others only blocks that were allocated since are shown, as
 * history_since_ns() says.
 */
void history_show_layer(struct history *h, uint8_t layer);
const struct layers *history_layers(const struct history *h);
uint8_t history_layer(const struct history *h);
/* It is one of countable things, rather than of memory: its time line has their number. */
bool history_is_counted(const struct history *h);
/* Shows the end. */
void history_show_end(struct history *h);
/*
 * Shows the heap at @at_ns, of blocks allocated at @since_ns or later; where that was dropped,
 * the first moment that can be shown.
 */
void history_show(struct history *h, uint64_t since_ns, uint64_t at_ns);
bool history_shows_end(const struct history *h);

/* These are valid until the next call of history_read() or one that shows something else. */
const struct catalog *history_catalog(const struct history *h);
/* Of the layer that is shown, as far as it has been read; not to be released. */
struct timeline history_timeline(const struct history *h);
void history_analysis(struct history *h, enum group_key key, bool ages, struct analysis *ret);
const struct replay *history_replay(const struct history *h);
/* Of the blocks shown: those allocated before do not count. */
uint64_t history_since_ns(const struct history *h);
/* The moment shown. */
uint64_t history_now_ns(const struct history *h);
/* When the recording began, and its last moment so far. */
uint64_t history_start_ns(const struct history *h);
uint64_t history_end_ns(const struct history *h);
/* The first moment that can be shown: events before it may have been dropped. */
uint64_t history_first_ns(const struct history *h);
const char *history_path(const struct history *h);
/* Another reader of the same recording, to be closed soon. */
int history_open_reader(const struct history *h, struct store_reader **ret, struct err *err);

#endif
