/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Becomes a command for which system calls fail, as in a container or under a
 * kernel without them:
 *   deny CALL[,CALL…] ERRNO COMMAND [ARGUMENT…]
 * CALL: bpf, perf_event_open, ptrace.  ERRNO: EPERM, EACCES, ENOSYS.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *name;
	unsigned int number;
} calls[] = {{"bpf", SYS_bpf}, {"perf_event_open", SYS_perf_event_open}, {"ptrace", SYS_ptrace}};

static int deny(unsigned int number, unsigned int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	/* without no_new_privs, which a container does not set either: needs CAP_SYS_ADMIN */
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	unsigned int error;

	if (argc < 4)
		return 64;
	error = !strcmp(argv[2], "ENOSYS") ? ENOSYS : !strcmp(argv[2], "EACCES") ? EACCES : EPERM;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strstr(argv[1], calls[i].name) && deny(calls[i].number, error)) {
			perror("deny");
			return 65;
		}
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}
