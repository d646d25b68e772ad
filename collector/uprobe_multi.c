/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/uprobe_multi.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FLAG_RETURN 1u /* BPF_F_UPROBE_MULTI_RETURN */

/* The part of union bpf_attr that is meant: include/uapi/linux/bpf.h, link_create. */
struct link_create {
	uint32_t program, target, attach_type, flags;
	uint64_t path, offsets, reference_counters, cookies;
	uint32_t count, multi_flags, pid, reserved;
};
_Static_assert(offsetof(struct link_create, count) == 48, "as the kernel has it");

int uprobe_multi_attach(int program, pid_t pid, const char *file, const uint64_t *offsets,
			const uint64_t *cookies, uint32_t n, bool at_return)
{
	struct link_create link = {.program = (uint32_t)program,
				   .attach_type = UPROBE_MULTI_ATTACH_TYPE,
				   .path = (uintptr_t)file,
				   .offsets = (uintptr_t)offsets,
				   .cookies = (uintptr_t)cookies,
				   .count = n,
				   .multi_flags = at_return ? FLAG_RETURN : 0,
				   .pid = (uint32_t)pid};
	int fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link));

	return fd < 0 ? -errno : fd;
}

bool uprobe_multi_is_supported(void)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .expected_attach_type = (enum bpf_attach_type)UPROBE_MULTI_ATTACH_TYPE);
	uint64_t none = 0;
	int r, program;

	program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", code, 2, &opts);
	if (program < 0)
		return false;
	r = uprobe_multi_attach(program, getpid(), "/proc/self/fd/-1", &none, &none, 1,
				false);
	if (r >= 0)
		close(r);
	close(program);
	return r == -ENOENT; /* of the file; older kernels: -EINVAL */
}

bool uprobe_multi_is_whole(void)
{
	unsigned int major, minor;
	struct utsname u;

	return !uname(&u) && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 10)) && uprobe_multi_is_supported();
}
