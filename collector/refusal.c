/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/refusal.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/xalloc.h"

/* Before Linux 5.11 BPF's memory counts as locked; ours takes less than this. */
#define MEMLOCK_BYTES (64u << 20)

/* ---- facts ------------------------------------------------------------------------- */

bool refusal_has_capability(int capability)
{
	cap_flag_value_t has = CAP_CLEAR, is_admin = CAP_CLEAR;
	cap_t caps = cap_get_proc();

	if (!caps)
		return false;
	cap_get_flag(caps, capability, CAP_EFFECTIVE, &has);
	if (capability == CAP_BPF || capability == CAP_PERFMON)
		cap_get_flag(caps, CAP_SYS_ADMIN, CAP_EFFECTIVE, &is_admin);
	cap_free(caps);
	return has == CAP_SET || is_admin == CAP_SET;
}

const char *refusal_missing_capabilities(char *buf, unsigned int size, bool others_processes)
{
	static const struct {
		int capability;
		const char *name;
	} needed[] = {
		{CAP_BPF, "CAP_BPF"},
		{CAP_PERFMON, "CAP_PERFMON"},
		{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
	};
	const char *missing[COUNT_OF(needed)];
	size_t n = 0, len = 0;

	for (size_t i = 0; i < COUNT_OF(needed); i++)
		if ((others_processes || needed[i].capability != CAP_SYS_PTRACE) &&
		    !refusal_has_capability(needed[i].capability))
			missing[n++] = needed[i].name;
	buf[0] = '\0';
	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s",
					!i ? "" : i + 1 == n ? " and " : ", ", missing[i]);
	return buf;
}

/* The first line of @path that begins with @key, without it; false if there is none. */
static bool read_line(const char *path, const char *key, char *buf, size_t size)
{
	size_t len = strlen(key);
	char line[256];
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, len))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, size, "%s", line + len);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

bool refusal_in_seccomp(void)
{
	char mode[16];

	return read_line("/proc/self/status", "Seccomp:", mode, sizeof(mode)) && strchr(mode, '2');
}

bool refusal_in_user_namespace(void)
{
	unsigned long inside, outside, n;
	char line[80];

	if (!read_line("/proc/self/uid_map", "", line, sizeof(line)) ||
	    sscanf(line, "%lu %lu %lu", &inside, &outside, &n) != 3)
		return false;
	return inside || outside || n != UINT32_MAX;
}

const char *refusal_lockdown(char *buf, unsigned int size)
{
	char line[80], *mode;

	buf[0] = '\0';
	/* "none [integrity] confidentiality" */
	if (!read_line("/sys/kernel/security/lockdown", "", line, sizeof(line)) ||
	    !(mode = strchr(line, '[')))
		return buf;
	mode[strcspn(mode, "]")] = '\0';
	if (strcmp(mode + 1, "none"))
		snprintf(buf, size, "%s", mode + 1);
	return buf;
}

static uint32_t uprobe_pmu_type(void)
{
	unsigned int type = 0;
	char line[16];

	if (read_line("/sys/bus/event_source/devices/uprobe/type", "", line, sizeof(line)))
		sscanf(line, "%u", &type);
	return type;
}

int refusal_try_uprobe(void)
{
	/* the rights are looked at first, then the file: none of this name */
	struct perf_event_attr attr = {.size = sizeof(attr),
				       .type = uprobe_pmu_type(),
				       .disabled = 1,
				       .uprobe_path = (uintptr_t)""};
	int fd;

	if (!attr.type)
		return ENODEV;
	fd = (int)syscall(SYS_perf_event_open, &attr, getpid(), -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == ENOENT || errno == EINVAL ? 0 : errno;
}

/* ---- listing ----------------------------------------------------------------------- */

static void add(struct obstacle *list, size_t *n, const char *name, const char *state,
		const char *advice)
{
	list[*n].name = name;
	list[*n].advice = advice;
	snprintf(list[*n].state, sizeof(list[*n].state), "%s", state);
	++*n;
}

/* 0 where there is none. */
static unsigned long limit(int which)
{
	struct rlimit r;

	return getrlimit(which, &r) < 0 || r.rlim_max > INT32_MAX ? 0 : (unsigned long)r.rlim_max;
}

/* Is /proc mounted with hidepid, and are we not exempt? */
static bool is_proc_hiding(void)
{
	return access("/proc/1/stat", F_OK) < 0;
}

static void list_limits(struct obstacle *list, size_t *n)
{
	unsigned long files = limit(RLIMIT_NOFILE), memlock = limit(RLIMIT_MEMLOCK);
	char text[40];

	if (files && files < 256) {
		snprintf(text, sizeof(text), "%lu", files);
		add(list, n, "limit of open files", text,
		    "recording takes about 100, and one a library: ulimit -n 1024");
	}
	if (memlock && memlock < MEMLOCK_BYTES / 64 && refusal_has_capability(CAP_BPF)) {
		snprintf(text, sizeof(text), "%lu KiB", memlock / 1024);
		add(list, n, "limit of locked mem.", text,
		    "no matter on Linux 5.11 and later; before: ulimit -l unlimited");
	}
}

size_t refusal_list(struct obstacle list[OBSTACLES_MAX])
{
	char text[40];
	size_t n = 0;

	if (refusal_in_user_namespace())
		add(list, &n, "user namespace", "in one",
		    "the rights of a rootless container do not count for BPF: run heaptrail "
		    "outside, as root");
	if (refusal_in_seccomp())
		add(list, &n, "seccomp", "a filter is in force",
		    "a container's may forbid bpf(2) and perf_event_open(2): if something is "
		    "NO above although the capabilities are there, run it outside, or with "
		    "--security-opt seccomp=unconfined");
	if (*refusal_lockdown(text, sizeof(text)))
		add(list, &n, "kernel lockdown", text,
		    "confidentiality forbids BPF to read memory: boot without Secure Boot, or "
		    "with lockdown=none; see kernel_lockdown(7)");
	if (is_proc_hiding())
		add(list, &n, "/proc", "hides processes",
		    "it is mounted with hidepid: processes of others cannot be attached to; "
		    "run as root (sudo)");
	if (read_line("/proc/sys/kernel/yama/ptrace_scope", "", text, sizeof(text)) &&
	    text[0] != '0' && !refusal_has_capability(CAP_SYS_PTRACE))
		add(list, &n, "yama ptrace_scope", text,
		    "without CAP_SYS_PTRACE only launched commands can be looked into");
	if (!refusal_has_capability(CAP_SYS_ADMIN) && refusal_has_capability(CAP_PERFMON) &&
	    refusal_try_uprobe())
		add(list, &n, "uprobes by perf", "not allowed",
		    "this kernel wants CAP_SYS_ADMIN for them; uprobe_multi links (Linux 6.6 and "
		    "later) are used instead");
	list_limits(list, &n);
	return n;
}

/* ---- explaining -------------------------------------------------------------------- */

static void explain_absent(enum refused_call call, struct err *err)
{
	const char *option = call == REFUSED_BPF ? "CONFIG_BPF_SYSCALL" : "CONFIG_PERF_EVENTS";

	if (refusal_in_seccomp())
		err_hint(err, "either a container's seccomp filter hides %s (run heaptrail "
			      "outside, or with --security-opt seccomp=unconfined), or this kernel "
			      "was built without %s",
			 call == REFUSED_BPF ? "bpf(2)" : "perf_event_open(2)", option);
	else
		err_hint(err, "this kernel was built without %s: nothing can be recorded", option);
}

static void explain_missing(const char *missing, struct err *err)
{
	err_hint(err, "%s %s missing: run it as root (sudo), or grant %s; `heaptrail doctor` shows "
		      "more",
		 missing, strchr(missing, ' ') ? "are" : "is",
		 strchr(missing, ' ') ? "them" : "it");
}

static void explain_forbidden(enum refused_call call, struct err *err)
{
	char missing[80], lockdown[32];
	struct rlimit memlock;

	refusal_missing_capabilities(missing, sizeof(missing), call == REFUSED_PROC);
	refusal_lockdown(lockdown, sizeof(lockdown));
	if (missing[0])
		explain_missing(missing, err);
	else if (refusal_in_user_namespace())
		err_hint(err, "the rights of a user namespace (a rootless container) do not count "
			      "for this: run heaptrail outside, as root");
	else if (lockdown[0])
		err_hint(err, "the kernel is locked down (%s), see kernel_lockdown(7): boot it "
			      "without Secure Boot, or with lockdown=none", lockdown);
	else if (refusal_in_seccomp())
		err_hint(err, "the capabilities are there, but a seccomp filter forbids %s: run "
			      "heaptrail outside the container, or that with --security-opt "
			      "seccomp=unconfined",
			 call == REFUSED_BPF	 ? "bpf(2)"
			 : call == REFUSED_PERF ? "perf_event_open(2)"
						 : "it");
	else if (call == REFUSED_PERF && !refusal_has_capability(CAP_SYS_ADMIN))
		err_hint(err, "this kernel wants CAP_SYS_ADMIN for uprobes: run it as root (sudo), "
			      "or grant that");
	else if (call == REFUSED_BPF && !getrlimit(RLIMIT_MEMLOCK, &memlock) &&
		 memlock.rlim_cur < MEMLOCK_BYTES)
		err_hint(err, "too little memory may be locked, it seems: `ulimit -l unlimited`");
	else
		err_hint(err, "the capabilities are there: a security module (SELinux, AppArmor) "
			      "forbids it, it seems; see its log");
}

static void explain_output(int errnum, struct err *err)
{
	struct rlimit size;

	switch (errnum) {
	case EACCES:
	case EPERM:
	case EROFS:
		err_hint(err, "user %u may not write there: name another place with -o",
			 (unsigned int)geteuid());
		break;
	case ENAMETOOLONG:
		err_hint(err, "name a shorter path with -o");
		break;
	case ENOTDIR:
		err_hint(err, "a part of the path is a file, not a folder");
		break;
	case EFBIG:
	case EIO: /* SQLite does not say more */
		if (!getrlimit(RLIMIT_FSIZE, &size) && size.rlim_cur != RLIM_INFINITY)
			err_hint(err, "files may not grow larger than %llu bytes: raise that limit "
				      "(ulimit -f); what was written before can be read",
				 (unsigned long long)size.rlim_cur);
		break;
	}
}

void refusal_explain(enum refused_call call, int errnum, struct err *err)
{
	if (!err || err->hint[0])
		return;
	if (errnum == EMFILE || errnum == ENFILE) {
		err->class = ERR_FAILED;
		err_hint(err, "raise the limit of open files (ulimit -n 1024)");
	} else if (call == REFUSED_OUTPUT) {
		explain_output(errnum, err);
	} else if (errnum == ENOSYS) {
		err->class = ERR_PRIVILEGE;
		explain_absent(call, err);
	} else if (errnum == EPERM || errnum == EACCES) {
		err->class = ERR_PRIVILEGE;
		explain_forbidden(call, err);
	}
}
