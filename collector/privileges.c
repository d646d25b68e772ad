/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collector/refusal.h"
#include "common/xalloc.h"

/* Programs, maps and probes of one C library, and the recording; the modules come on top. */
#define FILES_MIN 100

/* The target may wait for us, when it loads code or the ring is full. */
#define NICE_RECORDER (-10)

static int nice_before;

int privileges_begin(struct err *err)
{
	struct rlimit files;
	int r = 0;

	nice_before = getpriority(PRIO_PROCESS, 0);
	signal(SIGCHLD, SIG_DFL); /* children that end wait for us, whatever we were started with */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	setpriority(PRIO_PROCESS, 0, NICE_RECORDER); /* if we may */
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

/* ---- capabilities ------------------------------------------------------------------ */

static const cap_value_t for_recording[] = {
	CAP_BPF, CAP_PERFMON,	/* probes come on with each dlopen and exec */
	CAP_SYS_PTRACE,		/* /proc/PID of others */
	CAP_CHECKPOINT_RESTORE, /* /proc/PID/map_files */
	CAP_DAC_READ_SEARCH,	/* programs that only their user may read */
	CAP_KILL,		/* SIGSTOP's counterpart, to a process of another user */
};

/* Reduces what we have to @wanted. */
static void keep(const cap_value_t *wanted, size_t n)
{
	cap_t now = cap_get_proc(), then = cap_init();

	for (size_t i = 0; now && then && i < n; i++) {
		cap_flag_value_t has = CAP_CLEAR;

		cap_get_flag(now, wanted[i], CAP_PERMITTED, &has);
		if (has != CAP_SET)
			continue;
		cap_set_flag(then, CAP_PERMITTED, 1, &wanted[i], CAP_SET);
		cap_set_flag(then, CAP_EFFECTIVE, 1, &wanted[i], CAP_SET);
	}
	if (!now || !then || cap_set_proc(then) < 0)
		abort(); /* to give up rights never fails */
	cap_free(now);
	cap_free(then);
}

static void drop_bounding(const cap_value_t *wanted, size_t n)
{
	for (cap_value_t c = 0; cap_get_bound(c) >= 0; c++) {
		bool is_wanted = false;

		for (size_t i = 0; i < n; i++)
			is_wanted |= wanted[i] == c;
		if (!is_wanted)
			cap_drop_bound(c); /* needs CAP_SETPCAP: else there is little to lose */
	}
}

/* Switches one capability, which we have, on or off for now. */
static void set_effective(cap_value_t c, cap_flag_value_t on)
{
	cap_t caps = cap_get_proc();

	if (caps && !cap_set_flag(caps, CAP_EFFECTIVE, 1, &c, on))
		cap_set_proc(caps);
	cap_free(caps);
}

/* Do uprobes take more than CAP_PERFMON?  Since Linux 6.17 they do. */
static bool needs_admin(void)
{
	bool needs;

	if (!refusal_has_capability(CAP_SYS_ADMIN))
		return false;
	set_effective(CAP_SYS_ADMIN, CAP_CLEAR);
	needs = refusal_try_uprobe() != 0;
	set_effective(CAP_SYS_ADMIN, CAP_SET);
	return needs;
}

/* The files of the recording come and go with it: may we without CAP_DAC_OVERRIDE? */
static bool needs_override(const char *path)
{
	char *folder = xstrdup(path), *slash = strrchr(folder, '/');
	bool needs;

	if (slash)
		slash[slash == folder] = '\0';
	set_effective(CAP_DAC_OVERRIDE, CAP_CLEAR);
	needs = faccessat(AT_FDCWD, slash ? folder : ".", W_OK | X_OK, AT_EACCESS) < 0 ||
		faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) < 0;
	set_effective(CAP_DAC_OVERRIDE, CAP_SET);
	free(folder);
	return needs;
}

void privileges_keep_recording(const char *path)
{
	cap_value_t wanted[COUNT_OF(for_recording) + 2];
	size_t n = COUNT_OF(for_recording);

	memcpy(wanted, for_recording, sizeof(for_recording));
	if (needs_admin())
		wanted[n++] = CAP_SYS_ADMIN;
	if (refusal_has_capability(CAP_DAC_OVERRIDE) && needs_override(path))
		wanted[n++] = CAP_DAC_OVERRIDE;
	drop_bounding(wanted, n);
	cap_reset_ambient();
	keep(wanted, n);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

void privileges_keep_writing(const char *path)
{
	/* debug information may lie where only its user may read */
	const cap_value_t wanted[] = {CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE};
	bool override = refusal_has_capability(CAP_DAC_OVERRIDE) && needs_override(path);

	keep(wanted, override ? 2 : 1);
	setpriority(PRIO_PROCESS, 0, nice_before); /* nobody waits for us any more */
}

/* ---- another user -------------------------------------------------------------------- */

/* What the kernel says now, not what was asked for. */
static bool has_become(const struct target_identity *id)
{
	cap_t now = cap_get_proc(), none = cap_init();
	uid_t uid[3];
	gid_t gid[3];
	bool good = now && none && !cap_compare(now, none) && !getresuid(uid, uid + 1, uid + 2) &&
		    !getresgid(gid, gid + 1, gid + 2);

	for (int i = 0; i < 3 && good; i++)
		good = uid[i] == id->uid && gid[i] == id->gid;
	cap_free(now);
	cap_free(none);
	return good && setuid(0) < 0 && seteuid(0) < 0 && (!id->gid || setgid(0) < 0);
}

int privileges_become_user(const struct target_identity *id, struct err *err)
{
	/* root's own files may be anybody's */
	const cap_value_t of_root[] = {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH};
	bool stays_root = !id->change && geteuid() == 0;

	drop_bounding(of_root, stays_root ? COUNT_OF(of_root) : 0);
	cap_reset_ambient();
	if (id->change && (initgroups(id->name, id->gid) < 0 ||
			   setresgid(id->gid, id->gid, id->gid) < 0 ||
			   setresuid(id->uid, id->uid, id->uid) < 0))
		return err_set(err, ERR_PRIVILEGE, errno, "cannot become user '%s'", id->name);
	keep(of_root, stays_root ? COUNT_OF(of_root) : 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (id->change && !has_become(id))
		return err_set(err, ERR_PRIVILEGE, EPERM, "cannot give up the rights of root");
	return 0;
}

void privileges_act_as(const struct target_identity *id, struct privileges_before *ret)
{
	*ret = (struct privileges_before){.uid = geteuid(), .gid = getegid()};
	if (!id->change)
		return;
	ret->n_groups = getgroups(0, NULL);
	if (ret->n_groups < 0)
		abort();
	ret->groups = xcalloc((size_t)ret->n_groups + 1, sizeof(*ret->groups));
	if (getgroups(ret->n_groups, ret->groups) < 0 || initgroups(id->name, id->gid) < 0 ||
	    setegid(id->gid) < 0 || seteuid(id->uid) < 0)
		abort();
}

void privileges_act_as_before(const struct target_identity *id, struct privileges_before *b)
{
	if (id->change && (seteuid(b->uid) < 0 || setegid(b->gid) < 0 ||
			   setgroups((size_t)b->n_groups, b->groups) < 0))
		abort();
	free(b->groups);
	b->groups = NULL;
}
