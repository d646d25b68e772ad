/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/invoker.h"

#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "collector/privileges.h"
#include "common/format.h"

void invoker_find(struct target_identity *id)
{
	const char *uid_text = getenv("SUDO_UID"), *gid_text = getenv("SUDO_GID");
	const struct passwd *pw;
	uint64_t uid, gid;

	if (geteuid() != 0 || !uid_text || !gid_text || !parse_u64(uid_text, UINT_MAX - 1, &uid) ||
	    !parse_u64(gid_text, UINT_MAX - 1, &gid) || !uid)
		return;
	pw = getpwuid((uid_t)uid);
	if (!pw)
		return;
	id->change = true;
	id->uid = (uid_t)uid;
	id->gid = (gid_t)gid;
	id->name = pw->pw_name;
	id->home = pw->pw_dir;
	id->shell = pw->pw_shell;
}

int invoker_become(const struct target_identity *id, struct err *err)
{
	int r = privileges_become_user(id, err);

	if (r || !id->change)
		return r;
	setenv("USER", id->name, 1);
	setenv("LOGNAME", id->name, 1);
	setenv("HOME", id->home, 1);
	return 0;
}
