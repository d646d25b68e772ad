/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mappings MODE [SEED OPERATIONS THREADS [MS]] [wait]: maps, unmaps and moves memory, and says what it
 * did, a line each, and at the end what it has mapped, as /proc/self/maps has it.
 *
 * MODE: known (each kind of call once), random, or storm (threads that map and unmap the same
 * few sizes, so that one is given at once what another has given back).
 * With wait it begins after a line on standard input.  A thread's operations are spread over
 * MS milliseconds, by the clock.
 *
 * THREAD map ADDRESS BYTES FIXED
 * THREAD unmap ADDRESS BYTES
 * THREAD remap OLD BYTES NEW BYTES FLAGS
 * Between "maps before" and "maps after" and a line "end": lines of /proc/self/maps.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define THREADS_MAX 8
#define STEPS_MAX 40000
#define PIECES_MAX 512

struct piece {
	uintptr_t start, end;
	bool is_shared;
};

static struct thread {
	unsigned int number;
	uint64_t random;
	struct step {
		enum { MAP, UNMAP, REMAP } what;
		uintptr_t address, bytes, to, to_bytes;
		unsigned int flags;
	} steps[STEPS_MAX];
	size_t n_steps;
	struct piece pieces[PIECES_MAX];
	size_t n;
	pthread_t id;
} threads[THREADS_MAX];

static const char *mode;
static size_t operations = 1000;
static uint64_t lasts_ms;
static struct timespec begun;

/* Not the C library's: the call is in this very function. */
static void *own_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	register long r10 __asm__("r10") = flags, r8 __asm__("r8") = fd, r9 __asm__("r9") = offset;
	long result;

	__asm__ volatile("mov $9, %%eax\n\tsyscall"
			 : "=a"(result)
			 : "D"(address), "S"(bytes), "d"((long)protection), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result < 0 && result > -4096 ? MAP_FAILED : (void *)result;
}

static void *library_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

/* ---- what it has ----------------------------------------------------------------------- */

static void note(struct thread *t, struct step s)
{
	if (t->n_steps == STEPS_MAX)
		abort();
	t->steps[t->n_steps++] = s;
}

static void drop(struct thread *t, uintptr_t start, uintptr_t end)
{
	for (size_t i = 0; i < t->n;) {
		struct piece p = t->pieces[i];

		if (p.end <= start || p.start >= end) {
			i++;
			continue;
		}
		t->pieces[i] = t->pieces[--t->n];
		if (p.start < start)
			t->pieces[t->n++] = (struct piece){p.start, start, p.is_shared};
		if (p.end > end)
			t->pieces[t->n++] = (struct piece){end, p.end, p.is_shared};
		i = 0;
	}
}

static void keep(struct thread *t, uintptr_t start, size_t bytes, bool is_shared)
{
	t->pieces[t->n++] =
		(struct piece){start, start + ((bytes + PAGE - 1) & -PAGE), is_shared};
}

/* ---- its calls ------------------------------------------------------------------------- */

static void *map(struct thread *t, void *at, size_t bytes, int flags, int fd)
{
	static void *(*const ways[8])(void *, size_t, int, int, int, off_t) = {
		own_mmap, mmap, mmap, mmap, library_mmap, mmap, mmap, mmap};
	void *p = ways[t->n_steps & 7](at, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		return NULL;
	note(t, (struct step){MAP, (uintptr_t)p, bytes, 0, 0, !!(flags & MAP_FIXED)});
	drop(t, (uintptr_t)p, (uintptr_t)p + bytes);
	keep(t, (uintptr_t)p, bytes, flags & MAP_SHARED);
	return p;
}

static void unmap(struct thread *t, uintptr_t start, size_t bytes)
{
	/* before: another thread may be given it at once */
	note(t, (struct step){UNMAP, start, bytes, 0, 0, 0});
	drop(t, start, start + bytes);
	if (t->n_steps & 3 ? munmap((void *)start, bytes) : (int)syscall(SYS_munmap, start, bytes))
		abort();
}

static uintptr_t remap(struct thread *t, uintptr_t start, size_t bytes, size_t wish,
		       unsigned int flags, uintptr_t to, bool is_shared)
{
	void *p = mremap((void *)start, bytes, wish, (int)flags, (void *)to);

	if (p == MAP_FAILED)
		return 0;
	note(t, (struct step){REMAP, start, bytes, (uintptr_t)p, wish, flags});
	if (bytes && !(flags & MREMAP_DONTUNMAP))
		drop(t, start, start + bytes);
	drop(t, (uintptr_t)p, (uintptr_t)p + wish);
	keep(t, (uintptr_t)p, wish, is_shared);
	return (uintptr_t)p;
}

static void fail_all(void)
{
	char *p = mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED || munmap((void *)1, PAGE) == 0 || munmap((void *)PAGE, 0) == 0 ||
	    mmap(NULL, 1ul << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
	    mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) != MAP_FAILED ||
	    mmap((void *)mode, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 1) !=
		    MAP_FAILED ||
	    mmap((void *)((uintptr_t)threads & -PAGE), PAGE, PROT_READ,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED ||
	    mremap((void *)(1ul << 46), PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED ||
	    sbrk((intptr_t)1 << 50) != (void *)-1 || shmdt((void *)PAGE) == 0)
		abort();
}

/* ---- known ----------------------------------------------------------------------------- */

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static void segments(void)
{
	int id = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
	void *a, *b;

	if (id < 0)
		abort();
	a = shmat(id, NULL, 0);
	b = shmat(id, NULL, SHM_RDONLY);
	shmctl(id, IPC_RMID, NULL);
	if (a == (void *)-1 || b == (void *)-1 || shmdt(a))
		abort();
}

static void known(struct thread *t)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	void *volatile block;
	uintptr_t p, q;

	p = (uintptr_t)map(t, NULL, 10 * PAGE, ANONYMOUS, -1);
	unmap(t, p + 4 * PAGE, 2 * PAGE); /* a hole */
	unmap(t, p, PAGE);		  /* the beginning */
	unmap(t, p + 9 * PAGE, PAGE);	  /* the end */
	p = (uintptr_t)map(t, NULL, 30 * PAGE, ANONYMOUS, -1);
	unmap(t, p + 10 * PAGE, 10 * PAGE);
	map(t, (void *)(p + 10 * PAGE), 5 * PAGE, ANONYMOUS | MAP_FIXED, -1);
	unmap(t, p + 5 * PAGE, 20 * PAGE); /* over three blocks and a gap */
	p = (uintptr_t)map(t, NULL, 8 * PAGE, ANONYMOUS, -1);
	map(t, (void *)(p + 2 * PAGE), 3 * PAGE, ANONYMOUS | MAP_FIXED, -1);
	map(t, NULL, 12345, ANONYMOUS, -1); /* four pages */
	map(t, NULL, 10000, MAP_PRIVATE, fd);
	close(fd);
	p = (uintptr_t)map(t, NULL, 6 * PAGE, ANONYMOUS, -1);
	p = remap(t, p, 6 * PAGE, 1000 * PAGE, MREMAP_MAYMOVE, 0, false);
	p = remap(t, p, 1000 * PAGE, 20 * PAGE, 0, 0, false);
	remap(t, p + 12 * PAGE, 8 * PAGE, 3 * PAGE, 0, 0, false); /* of the end */
	remap(t, p + 2 * PAGE, 2 * PAGE, 50 * PAGE, MREMAP_MAYMOVE, 0, false); /* of the middle */
	q = (uintptr_t)map(t, NULL, 7 * PAGE, ANONYMOUS, -1);
	p = (uintptr_t)map(t, NULL, 3 * PAGE, ANONYMOUS, -1);
	remap(t, p, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + 2 * PAGE, false);
	p = (uintptr_t)map(t, NULL, 4 * PAGE, ANONYMOUS, -1);
	remap(t, p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, false);
	p = (uintptr_t)map(t, NULL, 4 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
	remap(t, p, 0, 4 * PAGE, MREMAP_MAYMOVE, 0, true); /* the same memory once more */
	fail_all();
	sbrk(100000);
	sbrk(300000);
	sbrk(-200000);
	segments();
	block = malloc(64 << 20); /* of the allocator, and gone */
	free(block);
	block = malloc(32 << 20);
}

/* ---- random ---------------------------------------------------------------------------- */

static uint64_t below(struct thread *t, uint64_t n)
{
	t->random = t->random * 6364136223846793005ull + 1442695040888963407ull;
	return (t->random >> 33) % n;
}

/* Some pages of one piece. */
static struct piece some(struct thread *t)
{
	struct piece p = t->pieces[below(t, t->n)];
	uint64_t pages = (p.end - p.start) / PAGE, first = below(t, 2) ? 0 : below(t, pages);
	uint64_t n = below(t, 2) ? pages - first : 1 + below(t, pages - first);

	return (struct piece){p.start + first * PAGE, p.start + (first + n) * PAGE, p.is_shared};
}

static void step(struct thread *t)
{
	size_t bytes = 1 + below(t, 40 * PAGE);
	struct piece p, q;

	if (t->n < 3 || (t->n < PIECES_MAX / 2 && !below(t, 3))) {
		map(t, NULL, bytes, (below(t, 4) ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS, -1);
		return;
	}
	p = some(t);
	q = some(t);
	switch (t->n > PIECES_MAX - 20 ? 0 : below(t, 7)) {
	case 0:
	case 1:
		unmap(t, p.start, p.end - p.start);
		break;
	case 2:
		map(t, (void *)p.start, p.end - p.start, ANONYMOUS | MAP_FIXED, -1);
		break;
	case 3:
		remap(t, p.start, p.end - p.start, bytes, MREMAP_MAYMOVE, 0, p.is_shared);
		break;
	case 4:
		remap(t, p.start, p.end - p.start, bytes, 0, 0, p.is_shared); /* may fail */
		break;
	case 5:
		if (q.end - q.start >= p.end - p.start) /* fails where they overlap */
			remap(t, p.start, p.end - p.start, p.end - p.start,
			      MREMAP_MAYMOVE | MREMAP_FIXED, q.start, p.is_shared);
		break;
	default:
		if (mmap(NULL, 0, 0, ANONYMOUS, -1, 0) != MAP_FAILED || !munmap((void *)1, PAGE))
			abort();
	}
}

/* Not before so many of the operations are due. */
static void wait_for(size_t n)
{
	uint64_t ns = (uint64_t)begun.tv_nsec + lasts_ms * 1000000 * n / operations;
	struct timespec t = {.tv_sec = begun.tv_sec + (time_t)(ns / 1000000000),
			     .tv_nsec = (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void *run(void *arg)
{
	struct thread *t = arg;

	for (size_t i = 0; i < operations; i++) {
		if (lasts_ms && i % 100 == 99)
			wait_for(i + 1);
		if (!strcmp(mode, "random")) {
			step(t);
		} else {
			char *p = map(t, NULL, (1 + below(t, 3)) * PAGE, ANONYMOUS, -1);

			if (!p || (t->n > 1 && below(t, 100)))
				unmap(t, t->pieces[0].start,
				      t->pieces[0].end - t->pieces[0].start);
		}
	}
	return NULL;
}

/* ---- what it says ---------------------------------------------------------------------- */

static char maps[2][256 << 10];

static void read_maps(char *to)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	ssize_t n;

	for (size_t len = 0; (n = read(fd, to + len, sizeof(maps[0]) - 1 - len)) > 0;)
		len += (size_t)n;
	close(fd);
}

static void say(const struct thread *t)
{
	for (size_t i = 0; i < t->n_steps; i++) {
		const struct step *s = &t->steps[i];

		if (s->what == MAP)
			printf("%u map %" PRIxPTR " %zu %u\n", t->number, s->address, s->bytes,
			       s->flags);
		else if (s->what == UNMAP)
			printf("%u unmap %" PRIxPTR " %zu\n", t->number, s->address, s->bytes);
		else
			printf("%u remap %" PRIxPTR " %zu %" PRIxPTR " %zu %u\n", t->number,
			       s->address, s->bytes, s->to, s->to_bytes, s->flags);
	}
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 4 ? (unsigned int)atoi(argv[4]) : 1;
	static char buffer[1 << 16];
	char line[8];

	mode = argc > 1 ? argv[1] : "known";
	if (argc > 3)
		operations = strtoul(argv[3], NULL, 10);
	if (argc > 5 && strcmp(argv[5], "wait"))
		lasts_ms = strtoul(argv[5], NULL, 10);
	if (n > THREADS_MAX)
		return 2;
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)); /* no memory that comes late */
	read_maps(maps[0]);
	if (!strcmp(argv[argc - 1], "wait") && read(0, line, sizeof(line)) < 0)
		return 2;
	for (unsigned int i = 0; i < n; i++) {
		threads[i].number = i;
		threads[i].random = argc > 2 ? strtoull(argv[2], NULL, 0) + i : i;
	}
	clock_gettime(CLOCK_MONOTONIC, &begun);
	if (!strcmp(mode, "known"))
		known(&threads[0]);
	for (unsigned int i = 0; i < n && strcmp(mode, "known"); i++)
		pthread_create(&threads[i].id, NULL, run, &threads[i]);
	for (unsigned int i = 0; i < n && strcmp(mode, "known"); i++)
		pthread_join(threads[i].id, NULL);
	read_maps(maps[1]);
	for (unsigned int i = 0; i < n; i++)
		say(&threads[i]);
	printf("maps before\n%send\nmaps after\n%send\n", maps[0], maps[1]);
	fflush(stdout);
	_exit(0);
}
