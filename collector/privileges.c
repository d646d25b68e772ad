/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/privileges.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "collector/refusal.h"

/* Programs, maps and probes of one C library, and the recording; the modules come on top. */
#define FILES_MIN 100

int privileges_begin(struct err *err)
{
	struct rlimit files;
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 0;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < FILES_MIN) {
		r = err_set(err, ERR_FAILED, EMFILE,
			    "cannot open the %d files that recording takes", FILES_MIN);
		refusal_explain(REFUSED_OUTPUT, EMFILE, err);
	}
	return r;
}
