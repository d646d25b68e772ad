/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_FEATURES_H
#define COLLECTOR_FEATURES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What the collector needs of the kernel and of its own rights: each is tested
 * by trying it, never by a version number.
 */
enum feature_state {
	FEATURE_YES,
	FEATURE_NO,
	FEATURE_UNKNOWN, /* cannot be tried without the rights that are missing */
};

struct feature {
	const char *name;
	const char *since;   /* for people: the kernel that brought it */
	bool required;
	const char *without; /* what is lost without it, or what to do */
	enum feature_state (*test)(void);
};

extern const struct feature features[];
extern const size_t n_features;

#endif
