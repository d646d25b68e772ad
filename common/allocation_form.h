/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_ALLOCATION_FORM_H
#define COMMON_ALLOCATION_FORM_H

#include <stdbool.h>

/*
 * By which of the language's ways a block was asked for, or given back: each has its own
 * counterpart.  Recordings have their names.
 */
enum allocation_form {
	FORM_UNKNOWN,
	FORM_C,		/* malloc() and its like; free() */
	FORM_NEW,	/* operator new; operator delete */
	FORM_NEW_ARRAY, /* operator new[]; operator delete[] */
	FORM_ANY_NEW,	/* one of these two */
	FORMS
};

/* May a block of the one form be given back by the other?  Of what is not known: yes. */
static inline bool forms_match(enum allocation_form made, enum allocation_form freed)
{
	if (made == freed || !made || !freed)
		return true;
	return made != FORM_C && freed != FORM_C &&
	       (made == FORM_ANY_NEW || freed == FORM_ANY_NEW);
}

/* In recordings: "malloc", "new", "new[]"; of FORM_ANY_NEW "new or new[]". */
extern const char *const allocation_form_names[FORMS];

#endif
