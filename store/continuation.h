/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CONTINUATION_H
#define STORE_CONTINUATION_H

#include <sqlite3.h>

#include "common/err.h"
#include "store/record.h"

/*
 * Copies from the recording @from_path all that events refer to, and what was found out so
 * far, into @to (whose name is @to_path): all but the events and how it ended.  Says in it which
 * events are @earlier: without the state behind them nothing can be read of it.
 */
int continuation_copy(sqlite3 *to, const char *from_path, const char *to_path,
		      const struct dropped_events *earlier, struct err *err);

#endif
