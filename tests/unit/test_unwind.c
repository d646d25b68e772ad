/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The unwind step, on the host: stacks of this very process are saved, unwound
 * from the copy by the tables of its files, and compared with what the compiler's
 * own unwinder finds (backtrace()).
 */
#include "config.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/process_maps.h"
#include "tests/unit/eh_frame_rows.h"
#include "tests/unit/tap.h"

#define FRAMES_MAX 512
#define STACK_BYTES (256 << 10)

struct saved_stack {
	uint64_t start;
	size_t len;
	uint8_t bytes[STACK_BYTES];
};

static int read_saved(const struct saved_stack *s, uint64_t address, unsigned long long *ret)
{
	if (address < s->start || address - s->start + 8 > s->len)
		return -EFAULT;
	memcpy(ret, s->bytes + (address - s->start), 8);
	return 0;
}

#define UNWIND_READ(reader, address, ret) read_saved(reader, address, ret)
#include "image/unwind_step.h"

/* ---- tables of all that is mapped -------------------------------------------------- */

static struct object {
	uint64_t start, end, bias;
	struct eh_frame_rows rows;
} objects[64];
static size_t n_objects;

static void add_object(const struct process_map *map, struct elf_file *elf)
{
	struct object *o = &objects[n_objects];
	uint64_t address, code;
	uint8_t *data;
	size_t len;

	if (elf_file_eh_frame(elf, &data, &len, &address) == 0 &&
	    eh_frame_parse(data, len, address, &o->rows) == 0 &&
	    elf_file_code_address_of(elf, map->offset, &code)) {
		o->start = map->start;
		o->end = map->end;
		o->bias = map->start - code;
		n_objects++;
	}
	free(data);
	elf_file_close(elf);
}

static void read_objects(void)
{
	const uint8_t *vdso = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	struct process_maps maps;
	struct elf_file *elf;

	if (process_maps_read(getpid(), &maps, NULL))
		exit(99);
	for (size_t i = 0; i < maps.n && n_objects < COUNT_OF(objects); i++) {
		const struct process_map *m = &maps.maps[i];

		if (!m->executable)
			continue;
		if (m->inode && elf_file_open(m->path, &elf, NULL) == 0)
			add_object(m, elf);
		else if (!strcmp(m->path, "[vdso]") && vdso &&
			 elf_file_open_memory(vdso, m->end - m->start, &elf, NULL) == 0)
			add_object(m, elf);
	}
	process_maps_release(&maps);
}

static uint64_t rule_at(uint64_t pc)
{
	for (size_t i = 0; i < n_objects; i++)
		if (pc >= objects[i].start && pc < objects[i].end)
			return eh_frame_rule_at(&objects[i].rows, pc - objects[i].bias);
	return 0;
}

/* ---- unwinding ---------------------------------------------------------------------- */

struct unwound {
	uint64_t pcs[FRAMES_MAX];
	size_t n;
	enum unwind_result end;
};

static void unwind(struct saved_stack *s, struct unwind_frame f, struct unwound *ret)
{
	ret->n = 0;
	do {
		uint64_t rule = rule_at(f.pc - !f.is_exact);

		ret->pcs[ret->n++] = f.pc;
		ret->end = unwind_is_common(rule) ? unwind_step_common(&f, rule, s)
						  : unwind_step_rare(&f, rule, s);
	} while (ret->end == UNWIND_STEPPED && ret->n < FRAMES_MAX);
}

static struct saved_stack saved;
static struct unwound ours;
static void *theirs[FRAMES_MAX];
static int n_theirs;
static bool was_compared;

/* Both unwinders, from here. */
static __attribute__((noinline)) void compare(const char *what)
{
	struct unwind_frame f = {.is_exact = 1};
	pthread_attr_t attr;
	void *stack;
	size_t size;

	__asm__ volatile("lea 0(%%rip), %0\n\tmov %%rsp, %1\n\tmov %%rbp, %2"
			 : "=r"(f.pc), "=r"(f.sp), "=r"(f.bp));
	n_theirs = backtrace(theirs, FRAMES_MAX);
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &stack, &size);
	pthread_attr_destroy(&attr);
	saved.start = f.sp;
	saved.len = (uint64_t)(uintptr_t)stack + size - f.sp;
	if (saved.len > STACK_BYTES)
		saved.len = STACK_BYTES;
	memcpy(saved.bytes, (const void *)(uintptr_t)f.sp, saved.len);
	unwind(&saved, f, &ours);
	was_compared = true;
	if (!ok(ours.end == UNWIND_FINISHED && (int)ours.n == n_theirs &&
		!memcmp(ours.pcs + 1, theirs + 1, ((size_t)n_theirs - 1) * sizeof(void *)),
		"%s: %d frames, as the compiler's unwinder has them", what, n_theirs))
		for (int i = 0; i < n_theirs || i < (int)ours.n; i++)
			diag("%3d %16llx %p", i,
			     (unsigned long long)(i < (int)ours.n ? ours.pcs[i] : 0),
			     i < n_theirs ? theirs[i] : NULL);
}

static __attribute__((noinline)) void recurse(int depth, const char *what)
{
	if (depth)
		recurse(depth - 1, what);
	else
		compare(what);
	__asm__ volatile("");
}

static __attribute__((noinline)) void grow(size_t bytes, const char *what)
{
	char *p = __builtin_alloca(bytes);

	__asm__ volatile("" : : "r"(p) : "memory");
	recurse(3, what);
	__asm__ volatile("" : : "r"(p) : "memory");
}

static __attribute__((noinline)) void realign(const char *what)
{
	__attribute__((aligned(64))) char buf[256];

	__asm__ volatile("" : : "r"(buf) : "memory");
	recurse(2, what);
	__asm__ volatile("" : : "r"(buf) : "memory");
}

static __attribute__((noinline)) void realign_and_grow(size_t bytes, const char *what)
{
	__attribute__((aligned(64))) char buf[256];
	char *p = __builtin_alloca(bytes);

	__asm__ volatile("" : : "r"(buf), "r"(p) : "memory");
	recurse(2, what);
	__asm__ volatile("" : : "r"(buf), "r"(p) : "memory");
}

static int by_comparing(const void *a, const void *b)
{
	if (!was_compared)
		recurse(1, "from a callback of the C library's");
	return *(const int *)a - *(const int *)b;
}

static void on_signal(int signal)
{
	(void)signal;
	recurse(2, "in a signal handler");
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal;
	(void)info;
	recurse(2, "in the handler of a fault, at an arbitrary instruction");
	registers[REG_RAX] = registers[REG_RSP]; /* what it wanted to read */
}

static __attribute__((noinline)) long fault(void)
{
	long r;

	__asm__ volatile("xor %%eax, %%eax\n\tpush %%rbx\n\tpop %%rbx\n\tmov (%%rax), %0"
			 : "=r"(r) : : "rax", "memory");
	return r;
}

static void *in_thread(void *arg)
{
	recurse(5, arg);
	return NULL;
}

/* ---- single rules, on a stack made by hand ------------------------------------------ */

static void put_word(uint64_t address, uint64_t value)
{
	memcpy(saved.bytes + (address - saved.start), &value, 8);
}

static void test_rules(void)
{
	struct unwind_frame f;

	saved.start = 0x10000;
	saved.len = 4096;
	for (uint64_t at = 0x10000; at < 0x11000; at += 8)
		put_word(at, at + 0x100000);
#define FRAME(...) (f = (struct unwind_frame){.sp = 0x10100, __VA_ARGS__})
#define STEP(...) unwind_step_rare(&f, UNWIND_RULE(__VA_ARGS__), &saved)
#define STEP_COMMON(...) unwind_step_common(&f, UNWIND_RULE(__VA_ARGS__), &saved)
	FRAME(.bp = 7);
	ok(STEP_COMMON(UNWIND_CFA_SP, 32, UNWIND_BP_SAME, 0) == UNWIND_STEPPED &&
		   f.sp == 0x10120 && f.pc == 0x110118 && f.bp == 7 && !f.bp_at,
	   "rsp + offset");
	FRAME(.bp = 0x10200);
	ok(STEP_COMMON(UNWIND_CFA_BP, 16, UNWIND_BP_AT_CFA, -16) == UNWIND_STEPPED &&
		   f.sp == 0x10210 && f.pc == 0x110208 && f.bp_at == 0x10200 && f.bp == 0x10200,
	   "rbp + offset; where rbp is saved is noted, not read");
	ok(STEP_COMMON(UNWIND_CFA_SP, 8, UNWIND_BP_SAME, 0) == UNWIND_STEPPED &&
		   f.bp_at == 0x10200,
	   "… and stays so, while nobody needs it");
	ok(STEP_COMMON(UNWIND_CFA_BP, 0, UNWIND_BP_SAME, 0) == UNWIND_UNREADABLE &&
		   f.bp == 0x110200 && !f.bp_at,
	   "… then it is read; what lies beyond the stack is unreadable");
	FRAME(.bp = 0x10200);
	ok(STEP_COMMON(UNWIND_CFA_BP, -0x100, UNWIND_BP_SAME, 0) == UNWIND_BROKEN &&
		   STEP_COMMON(UNWIND_CFA_BP, -0x104, UNWIND_BP_SAME, 0) == UNWIND_BROKEN &&
		   STEP_COMMON(UNWIND_CFA_BP, 1, UNWIND_BP_SAME, 0) == UNWIND_BROKEN && f.sp == 0x10100,
	   "a caller's frame that does not lie above, or not on a word, is none");
	FRAME(.bp = 0x10200, .bp_at = 0x10ffc);
	ok(STEP_COMMON(UNWIND_CFA_BP, 16, UNWIND_BP_SAME, 0) == UNWIND_UNREADABLE,
	   "a saved rbp that cannot be read");
	FRAME(.pc = 0x40000a);
	ok(STEP(UNWIND_CFA_PLT, 11, UNWIND_BP_SAME, 0) == UNWIND_STEPPED && f.sp == 0x10108,
	   "the PLT, before its push");
	FRAME(.pc = 0x40000b);
	ok(STEP(UNWIND_CFA_PLT, 11, UNWIND_BP_SAME, 0) == UNWIND_STEPPED && f.sp == 0x10110,
	   "the PLT, after its push");
	FRAME(.bp = 0x10200);
	put_word(0x101f8, 0x10300);
	ok(STEP(UNWIND_CFA_DEREF, -8, UNWIND_BP_AT_BP, 0) == UNWIND_STEPPED && f.sp == 0x10300 &&
		   f.bp_at == 0x10200,
	   "a realigned frame");
	FRAME(.bp = 1);
	ok(STEP(UNWIND_SIGNAL, 0, UNWIND_BP_SAME, 0) == UNWIND_STEPPED && f.is_exact &&
		   f.pc == 0x110100 + 168 && f.sp == 0x110100 + 160 && f.bp == 0x110100 + 120,
	   "a signal's frame");
	ok(STEP_COMMON(UNWIND_CFA_SP, 8, UNWIND_BP_UNDEFINED, 0) == UNWIND_UNREADABLE && f.is_exact,
	   "… leads to another stack");
	FRAME(.bp = 5, .bp_at = 0x10108);
	ok(STEP_COMMON(UNWIND_CFA_SP, 8, UNWIND_BP_UNDEFINED, 0) == UNWIND_STEPPED && !f.bp &&
		   !f.bp_at,
	   "an undefined rbp");
	ok(STEP(UNWIND_END, 0, UNWIND_BP_SAME, 0) == UNWIND_FINISHED, "the outermost frame");
	ok(STEP(UNWIND_UNSUPPORTED, 0, UNWIND_BP_SAME, 0) == UNWIND_NOT_KNOWN &&
		   unwind_step_rare(&f, 0, &saved) == UNWIND_NOT_KNOWN &&
		   unwind_step_rare(&f, ~0ull, &saved) == UNWIND_NOT_KNOWN,
	   "no rule, and one that is not understood");
}

int main(void)
{
	struct sigaction on_segv = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	int numbers[] = {3, 1, 2};
	void *warm_up[4];
	pthread_t thread;

	backtrace(warm_up, 4); /* loads libgcc_s */
	read_objects();
	test_rules();
	recurse(0, "a plain call");
	recurse(200, "a recursion");
	grow(4000, "under a frame that grows");
	realign("under a realigned frame");
	realign_and_grow(1000, "under a realigned frame that grows");
	was_compared = false;
	qsort(numbers, COUNT_OF(numbers), sizeof(*numbers), by_comparing);
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	sigaction(SIGSEGV, &on_segv, NULL);
	fault();
	pthread_create(&thread, NULL, in_thread, (void *)"in a thread");
	pthread_join(thread, NULL);
	return done();
}
