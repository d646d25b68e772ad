/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_STATEMENTS_H
#define STORE_STATEMENTS_H

#include "store/record.h"
#include "store/seal.h"

/* What the writer says to SQLite. */
enum statement {
	PUT_RECORDING,
	PUT_PROCESS,
	PUT_SPACE,
	PUT_THREAD,
	PUT_FAMILY,
	PUT_MODULE,
	PUT_MAPPING,
	PUT_FRAME,
	PUT_STACK,
	PUT_STACKS,
	ADD_STACKS,
	PUT_SYMBOL,
	PUT_LOSS,
	PUT_RSS,
	PUT_TIMELINE,
	PUT_SITE,
	PUT_CHUNK,
	PUT_CHECKPOINT,
	PUT_SNAPSHOT,
	PUT_REACHABILITY,
	DROP_CHUNKS,
	DROP_CHECKPOINTS,
	THIN_RSS,
	DROP_SNAPSHOTS,
	DELETE_SEAL,
	DELETE_SYMBOLS,
	DELETE_SITES,
	STATEMENTS
};

/*
 * Stacks come in large numbers: so many rows take a statement half the time, and a third less
 * again where SQLite numbers them.
 */
#define STACK_ROWS 65
#define NEXT ",(?,?,?)"
#define NEXT_8 NEXT NEXT NEXT NEXT NEXT NEXT NEXT NEXT
#define NEXT_64 NEXT_8 NEXT_8 NEXT_8 NEXT_8 NEXT_8 NEXT_8 NEXT_8 NEXT_8
#define ROW ",(?,?,?,?)"
#define ROWS_8 ROW ROW ROW ROW ROW ROW ROW ROW
#define ROWS_64 ROWS_8 ROWS_8 ROWS_8 ROWS_8 ROWS_8 ROWS_8 ROWS_8 ROWS_8

static const char *const statement_sql[STATEMENTS] = {
	[PUT_RECORDING] = "INSERT OR REPLACE INTO recording VALUES (?,?)",
	[PUT_PROCESS] = "INSERT OR REPLACE INTO process VALUES (?,?,?,?,?,?,?)",
	[PUT_SPACE] = "INSERT OR REPLACE INTO space VALUES (?,?,?,?,?,?,?,NULL,0)",
	[PUT_THREAD] = "INSERT OR REPLACE INTO thread VALUES (?,?,?,?,?,?)",
	[PUT_FAMILY] = "INSERT OR REPLACE INTO family VALUES (?,?,?)",
	[PUT_MODULE] = "INSERT OR REPLACE INTO module VALUES (?,?,?)",
	[PUT_MAPPING] = "INSERT INTO mapping VALUES (NULL,?,?,?,?,?,?)",
	[PUT_FRAME] = "INSERT OR REPLACE INTO frame VALUES (?,?,?)",
	[PUT_STACK] = "INSERT OR REPLACE INTO stack VALUES (?,?,?,?)",
	[PUT_STACKS] = "INSERT OR REPLACE INTO stack VALUES (?,?,?,?)" ROWS_64,
	[ADD_STACKS] = "INSERT INTO stack (parent, frame, end) VALUES (?,?,?)" NEXT_64,
	[PUT_SYMBOL] = "INSERT OR REPLACE INTO symbol VALUES (?,?,?,?,?)",
	[PUT_LOSS] = "INSERT OR REPLACE INTO loss VALUES (?,?)",
	[PUT_RSS] = "INSERT INTO rss VALUES (?,?,?)",
	[PUT_TIMELINE] = "INSERT OR REPLACE INTO timeline VALUES (?,?,?,?,?,?)",
	[PUT_SITE] = "INSERT OR REPLACE INTO site VALUES (?,?,?,?,?,?,?,?,?,?)",
	[PUT_CHUNK] = "INSERT OR REPLACE INTO chunk VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[PUT_CHECKPOINT] = "INSERT OR REPLACE INTO checkpoint VALUES (?,?,?,?,?,?)",
	[PUT_SNAPSHOT] = "INSERT INTO snapshot VALUES (NULL,?,?,?,?,?,?,?,?,?,?)",
	[PUT_REACHABILITY] = "INSERT OR REPLACE INTO reachability VALUES (?,?,?,?,?,?,?,?,?,?)",
	[DROP_CHUNKS] = "DELETE FROM chunk WHERE id <= ?",
	[DROP_CHECKPOINTS] = "DELETE FROM checkpoint WHERE chunk < ?",
	[THIN_RSS] = "DELETE FROM rss WHERE time_ns <= ? AND rowid % 64 <> 0"
		     " AND rowid < (SELECT max(rowid) FROM rss) - 4096",
	[DROP_SNAPSHOTS] = "DELETE FROM snapshot WHERE time_ns <= ?",
	[DELETE_SEAL] = "DELETE FROM recording WHERE key = '" SEAL_KEY "'",
	[DELETE_SYMBOLS] = "DELETE FROM symbol WHERE frame = ?",
	[DELETE_SITES] = "DELETE FROM site",
};

#endif
