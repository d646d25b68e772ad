/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_PACKAGE_H
#define CLI_PACKAGE_H

/*
 * The name of the package that has the debug information of the file @path, which
 * is of an installed package.  NULL where that is not known here; else to be freed.
 */
char *package_of_debug_info(const char *path);

#endif
