/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_OUTPUT_PATH_H
#define COLLECTOR_OUTPUT_PATH_H

#include <sys/types.h>

/*
 * The name of the recording: @pattern (NULL: the default) with %p replaced by
 * @pid, %c by the program's name and %% by %.  The program is that of @argv, or
 * where that is NULL, what runs in @pid.  To be freed.
 */
char *output_path(const char *pattern, char *const *argv, pid_t pid);

#endif
