/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes two functions at run time that allocate, and tells profilers their names as
 * just-in-time compilers do, in /tmp/perf-PID.map.  With an argument the file is made
 * a symbolic link to that, which nobody should follow.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* push %rbp; mov %rsp, %rbp; movabs $malloc, %rax; call *%rax; pop %rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8, 0, 0, 0,    0,
				     0,	   0,	 0,    0,    0xff, 0xd0, 0x5d, 0xc3};

static void *make(unsigned char *to)
{
	uint64_t target = (uint64_t)(uintptr_t)malloc;

	memcpy(to, code, sizeof(code));
	memcpy(to + 6, &target, sizeof(target));
	return to;
}

int main(int argc, char **argv)
{
	unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);
	void *(*volatile first)(size_t), *(*volatile second)(size_t);
	void *volatile sink;
	char path[64];
	FILE *f;

	if (p == MAP_FAILED)
		return 2;
	*(void **)&first = make(p);
	*(void **)&second = make(p + sizeof(code));
	if (mprotect(p, 4096, PROT_READ | PROT_EXEC))
		return 2;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	if (argc > 1 && symlink(argv[1], path))
		return 2;
	f = fopen(path, "w");
	if (!f)
		return 2;
	/* the first line is of code that was here before */
	fprintf(f, "%lx %zx old_name\n%lx %zx LazyCompile:*grow app.js:7\n", (unsigned long)p,
		sizeof(code), (unsigned long)p, sizeof(code));
	fprintf(f, "%lx %zx Interpreter.run\n%lx 10", (unsigned long)p + sizeof(code),
		sizeof(code), (unsigned long)p);
	fclose(f);
	sink = first(1000);
	sink = second(2000);
	(void)sink;
	printf("%s\n", path);
	return 0;
}
