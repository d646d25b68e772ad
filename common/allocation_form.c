/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/allocation_form.h"

const char *const allocation_form_names[FORMS] = {
	[FORM_UNKNOWN] = "unknown",
	[FORM_C] = "malloc",
	[FORM_NEW] = "new",
	[FORM_NEW_ARRAY] = "new[]",
	[FORM_ANY_NEW] = "new or new[]",
};
