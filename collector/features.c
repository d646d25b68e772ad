/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/capability.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/probes.h"
#include "collector/refusal.h"
#include "collector/links.h"
#include "collector/uprobe_multi.h"
#include "common/xalloc.h"

static enum feature_state yes_if(bool x)
{
	return x ? FEATURE_YES : FEATURE_NO;
}

static enum feature_state test_cap_bpf(void)
{
	return yes_if(refusal_has_capability(CAP_BPF));
}

static enum feature_state test_cap_perfmon(void)
{
	return yes_if(refusal_has_capability(CAP_PERFMON));
}

static enum feature_state test_cap_ptrace(void)
{
	return yes_if(refusal_has_capability(CAP_SYS_PTRACE));
}

static enum feature_state test_btf(void)
{
	return yes_if(access("/sys/kernel/btf/vmlinux", R_OK) == 0);
}

static enum feature_state test_uprobe_pmu(void)
{
	return yes_if(links_want_multi() ? uprobe_multi_is_supported() : !refusal_try_uprobe());
}

/* Every test below loads something: without the right to, it tells nothing. */
static enum feature_state of_probe(int result)
{
	if (!refusal_has_capability(CAP_BPF))
		return FEATURE_UNKNOWN;
	return result < 0 ? FEATURE_UNKNOWN : yes_if(result);
}

static enum feature_state test_programs(void)
{
	return of_probe(libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_KPROBE, NULL));
}

static enum feature_state test_ring(void)
{
	return of_probe(libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL));
}

static enum feature_state test_task_storage(void)
{
	return of_probe(libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_task_storage_get,
						NULL));
}

static enum feature_state test_cookie(void)
{
	return of_probe(libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_attach_cookie,
						NULL));
}

static enum feature_state test_loop(void)
{
	return of_probe(libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_loop, NULL));
}

/* The real programs, loaded. */
static enum feature_state test_unwinder(void)
{
	struct probes_options o = {.pid = getpid(), .ring_bytes = 4096};
	enum feature_state state;
	struct probes *p;

	if (probes_load(&o, &p, NULL) < 0)
		return FEATURE_UNKNOWN;
	state = yes_if(probes_stack_mode(p) == STACK_MODE_AUTO);
	probes_free(p);
	return state;
}

/* A child of our own: may it be traced? */
static enum feature_state test_trace(void)
{
	enum feature_state state = FEATURE_NO;
	int gate[2], status;
	char c;
	pid_t pid;

	if (pipe(gate) < 0)
		return FEATURE_UNKNOWN;
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		_exit(read(gate[0], &c, 1) < 0);
	}
	close(gate[0]);
	if (pid > 0) {
		state = yes_if(ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0);
		close(gate[1]);
		while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
			ptrace(PTRACE_CONT, pid, NULL, NULL);
		return state;
	}
	close(gate[1]);
	return FEATURE_UNKNOWN;
}

const struct feature features[] = {
	{"CAP_BPF", "5.8", true, "run as root (sudo), or grant it: nothing can be recorded without",
	 test_cap_bpf},
	{"CAP_PERFMON", "5.8", true, "run as root (sudo), or grant it: probes cannot be attached",
	 test_cap_perfmon},
	{"CAP_SYS_PTRACE", "", false,
	 "run as root (sudo), or grant it: else only processes of your own can be recorded",
	 test_cap_ptrace},
	{"uprobes", "4.17", true,
	 "not allowed, or the kernel was built without CONFIG_UPROBE_EVENTS",
	 test_uprobe_pmu},
	{"BTF of the kernel", "5.2", true, "the kernel was built without CONFIG_DEBUG_INFO_BTF",
	 test_btf},
	{"BPF probe programs", "4.1", true, "BPF is switched off, or a security module forbids it",
	 test_programs},
	{"BPF ring buffer", "5.8", true, "nothing can be recorded: use a newer kernel", test_ring},
	{"BPF task storage", "5.12", true, "nothing can be recorded: use a newer kernel",
	 test_task_storage},
	{"BPF attach cookie", "5.15", true, "nothing can be recorded: use a newer kernel",
	 test_cookie},
	{"BPF loops", "5.17", true, "nothing can be recorded: use a newer kernel", test_loop},
	{"BPF unwinder", "5.17", false,
	 "of call stacks only the callers of the allocator are recorded (--call-graph caller)",
	 test_unwinder},
	{"ptrace of a child", "3.4", false,
	 "a launched command is followed by signals: no last look at its exit", test_trace},
};
const size_t n_features = COUNT_OF(features);
