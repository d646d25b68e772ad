/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/one_shot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/invoker.h"
#include "cli/recording.h"
#include "common/buffer.h"
#include "common/xalloc.h"
#include "store/copy.h"

/* A new folder for it, of the user who runs the command.  To be freed. */
static char *make_folder(const struct target_identity *id, struct err *err)
{
	const char *tmp = getenv("TMPDIR");
	char *folder = xasprintf("%s/heaptrail.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");

	if (mkdtemp(folder) && (!id->change || !chown(folder, id->uid, id->gid)))
		return folder;
	err_set(err, ERR_FAILED, errno, "cannot make the folder '%s'", folder);
	err_hint(err, "set TMPDIR to a folder that you can write, with room for the recording");
	free(folder);
	return NULL;
}

/* The name of a recording in it.  In those % begins something else: it stands twice. */
static char *output_in(const char *folder)
{
	struct buffer b = {0};

	for (; *folder; folder++) {
		buffer_append(&b, folder, 1);
		if (*folder == '%')
			buffer_append(&b, folder, 1);
	}
	buffer_append(&b, "/%c.%p.trail", sizeof("/%c.%p.trail"));
	return (char *)b.data;
}

/* Reports go to standard output; what the command wrote there must stay apart from this one. */
static void report_to_standard_error(void)
{
	fflush(stdout);
	dup2(STDERR_FILENO, STDOUT_FILENO);
}

int one_shot_record(struct session_options *o, bool as_root, one_shot_report *report, void *arg)
{
	char *folder = NULL, *output = NULL;
	struct recording_end end;
	struct err err;
	int status, failed;

	if (!as_root)
		invoker_find(&o->identity);
	if (!o->output) {
		folder = make_folder(&o->identity, &err);
		if (!folder) {
			status = print_error(&err);
			return o->argv ? ERR_FAILED : status;
		}
		output = output_in(folder);
		o->output = output;
	}
	status = recording_make(o, NULL, false, &end);
	if (end.is_there) {
		if (!folder)
			recording_say_end(&end);
		if (o->argv)
			report_to_standard_error();
		failed = report(arg, end.result.path);
		if (!failed && end.lacks_look) /* that is what was asked for */
			failed = print_error(&o->reach.failure);
		status = !failed ? status : o->argv ? ERR_FAILED : failed;
	}
	if (folder) {
		if (end.is_there)
			store_remove(end.result.path);
		rmdir(folder);
	}
	recording_release(&end);
	free(output);
	free(folder);
	return status;
}
