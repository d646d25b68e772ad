/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_INVOKER_H
#define CLI_INVOKER_H

#include "collector/target.h"
#include "common/err.h"

/*
 * Who called sudo?  Nobody, if root is really logged in: then @id stays as it is.  The
 * strings are the C library's, until the next look at its users.
 */
void invoker_find(struct target_identity *id);
/*
 * Becomes that user for good, and gives up all rights beyond theirs: privileges.h.  -EPERM
 * or the like with @err where that fails; then nothing may be done but end.
 */
int invoker_become(const struct target_identity *id, struct err *err);

#endif
