/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * churn FOLDER THREADS LOOPS BLOCKS: threads that load plug-ins, allocate from within them
 * and unload them, and that map, run and unmap generated code, so that the same
 * addresses are now one code's, now another's.  A block's size says where it was
 * allocated: BASE + 64 * plug-in + depth, or BASE + 64 * GENERATED.  Begins at a
 * line on standard input, prints "right N" at the end, N the blocks so allocated.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BASE 4096
#define PLUG_INS 8
#define DEPTHS 6
#define GENERATED 8
#define THREADS_MAX 64
#define PAGES_MAX 16

static const char *folder;
static long loops, n_blocks, right;

static __attribute__((noinline)) void from_plug_in(unsigned int *random)
{
	unsigned int number = rand_r(random) % PLUG_INS, depth;
	void *(*allocate)(int, size_t);
	char path[4096];
	void *handle;

	snprintf(path, sizeof(path), "%s/churn-plug-in-%u.so", folder, number);
	handle = dlopen(path, RTLD_NOW);
	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	allocate = (void *(*)(int, size_t))(uintptr_t)dlsym(handle, "plug_in_allocate");
	for (long i = 0; i < n_blocks; i++) {
		depth = rand_r(random) % DEPTHS;
		free(allocate((int)depth, BASE + 64 * number + depth));
	}
	__atomic_fetch_add(&right, n_blocks, __ATOMIC_RELAXED);
	dlclose(handle);
}

static void *wanted_block;

static __attribute__((noinline)) void allocate_for_generated(void)
{
	void *p = malloc(BASE + 64 * GENERATED);

	__atomic_store_n(&wanted_block, p, __ATOMIC_RELAXED);
	free(p);
}

/* push %rbp; mov %rsp,%rbp; sub $N,%rsp; call *%rdi; leave; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10,
				     0xff, 0xd7, 0xc9, 0xc3};

static __attribute__((noinline)) void from_generated(unsigned int *random)
{
	size_t bytes = 4096 * (1 + rand_r(random) % PAGES_MAX), at;
	unsigned char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);

	if (p == MAP_FAILED)
		exit(1);
	at = rand_r(random) % (bytes - sizeof(code));
	memcpy(p + at, code, sizeof(code));
	p[at + 7] = (unsigned char)(16 * (1 + rand_r(random) % 7));
	mprotect(p, bytes, PROT_READ | PROT_EXEC);
	for (int i = 0; i < 4; i++) {
		((void (*)(void (*)(void)))(uintptr_t)(p + at))(allocate_for_generated);
		__atomic_fetch_add(&right, 1, __ATOMIC_RELAXED);
	}
	munmap(p, bytes);
}

static void *churn(void *arg)
{
	unsigned int random = (unsigned int)(uintptr_t)arg;

	for (long i = 0; i < loops; i++)
		if (rand_r(&random) % 4)
			from_plug_in(&random);
		else
			from_generated(&random);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS_MAX];
	char line[64];
	long n;

	if (argc != 5)
		return 2;
	folder = argv[1];
	n = strtol(argv[2], NULL, 10);
	loops = strtol(argv[3], NULL, 10);
	n_blocks = strtol(argv[4], NULL, 10);
	printf("ready\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	for (long i = 0; i < n && i < THREADS_MAX; i++)
		if (pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1)))
			return 1;
	for (long i = 0; i < n && i < THREADS_MAX; i++)
		pthread_join(threads[i], NULL);
	printf("right %ld\n", right);
	fflush(stdout);
	fgets(line, sizeof(line), stdin);
	return 0;
}
