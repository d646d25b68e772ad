/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/uprobe_multi.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAG_RETURN 1u /* BPF_F_UPROBE_MULTI_RETURN */

/* The part of union bpf_attr that is meant: include/uapi/linux/bpf.h, link_create. */
struct link_create {
	uint32_t program, target, attach_type, flags;
	uint64_t path, offsets, reference_counters, cookies;
	uint32_t count, multi_flags, pid, reserved;
};
_Static_assert(offsetof(struct link_create, count) == 48, "as the kernel has it");

int uprobe_multi_attach(int program, pid_t pid, const char *file, uint64_t offset, uint64_t cookie,
			bool at_return)
{
	struct link_create link = {.program = (uint32_t)program,
				   .attach_type = UPROBE_MULTI_ATTACH_TYPE,
				   .path = (uintptr_t)file,
				   .offsets = (uintptr_t)&offset,
				   .cookies = (uintptr_t)&cookie,
				   .count = 1,
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
	int r, program;

	program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", code, 2, &opts);
	if (program < 0)
		return false;
	r = uprobe_multi_attach(program, getpid(), "/proc/self/fd/-1", 0, 0, false);
	if (r >= 0)
		close(r);
	close(program);
	return r == -ENOENT; /* of the file; older kernels: -EINVAL */
}
