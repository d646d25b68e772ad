/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PRIVILEGES_H
#define COLLECTOR_PRIVILEGES_H

#include "common/err.h"

/*
 * What the recorder itself may do, and what may happen to it.  All of this comes
 * after the command was forked, which has everything as we found it.
 */

/*
 * No closed pipe and no limit of file sizes may end the recorder, and it may open
 * as many files as it is allowed to: each probe is two.  Fails where that is too few.
 */
int privileges_begin(struct err *err);

#endif
