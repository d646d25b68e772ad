// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program whose frames go in every other way than by returning: exceptions, long
 * jumps, cancelled and exiting threads, forks.  Each scenario checks itself and
 * prints one line, always the same.
 *
 *   unwinding NAME		runs one		unwinding	lists them
 *   unwinding --gate NAME	first reads a byte of standard input, without allocating
 *
 * Programs with return probes on them break here if frames vanish under the probes.
 */
#include <alloca.h>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <map>
#include <memory>
#include <new>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#define NOINLINE __attribute__((noinline))

namespace
{

void *volatile sink; /* what the compiler must not do without */

void *block(size_t size)
{
	void *p = malloc(size);

	sink = p;
	if (p)
		memset(p, 0x5a, size);
	return p;
}

[[noreturn]] void fail(const char *what)
{
	fprintf(stderr, "unwinding: %s\n", what);
	_exit(99);
}

void need(bool condition, const char *what)
{
	if (!condition)
		fail(what);
}

/* ---- exceptions -------------------------------------------------------------------- */

struct Counted {
	static int made, gone;
	char *text;

	explicit Counted(size_t size) : text(static_cast<char *>(block(size)))
	{
		made++;
	}
	Counted(const Counted &) = delete;
	Counted &operator=(const Counted &) = delete;
	~Counted()
	{
		free(text);
		gone++;
	}
};
int Counted::made, Counted::gone;

NOINLINE int descend(int depth)
{
	Counted here(16 + static_cast<size_t>(depth) % 100);
	std::unique_ptr<char[]> more(new char[32]);

	if (!depth)
		throw std::runtime_error("a text that is long enough to be allocated by itself");
	return descend(depth - 1) + more[0];
}

void throw_deep()
{
	int caught = 0;

	for (int i = 0; i < 300; i++) {
		try {
			descend(i % 50);
		} catch (const std::runtime_error &e) {
			caught += e.what()[0] == 'a';
		}
	}
	printf("caught %d, made %d, gone %d\n", caught, Counted::made, Counted::gone);
}

struct Half {
	Counted first, second;

	explicit Half(int i) : first(40), second(50)
	{
		if (i % 3 == 0)
			throw std::string("half made, and never more than that, in a constructor");
	}
};

void throw_in_constructor()
{
	int caught = 0;

	for (int i = 0; i < 300; i++) {
		try {
			std::vector<std::unique_ptr<Half>> all;
			for (int j = i; j < i + 5; j++)
				all.push_back(std::make_unique<Half>(j));
		} catch (const std::string &s) {
			caught += s.size() > 10;
		}
	}
	printf("caught %d, made %d, gone %d\n", caught, Counted::made, Counted::gone);
}

void throw_bad_alloc()
{
	volatile size_t huge = SIZE_MAX / 4;
	int caught = 0, none = 0;

	for (int i = 0; i < 200; i++) {
		Counted here(64);

		try {
			std::unique_ptr<char[]> p(new char[huge]);
			p[0] = 1;
		} catch (const std::bad_alloc &) {
			std::vector<char> in_the_handler(100);
			caught++;
		}
		none += !new (std::nothrow) char[huge];
	}
	printf("caught %d, none %d, gone %d\n", caught, none, Counted::gone);
}

NOINLINE void rethrow(int depth)
{
	Counted here(24);

	try {
		if (!depth)
			throw 42;
		rethrow(depth - 1);
	} catch (...) {
		Counted there(48);
		throw;
	}
}

void throw_again()
{
	int caught = 0;

	for (int i = 0; i < 100; i++) {
		std::exception_ptr kept;

		try {
			rethrow(i % 20);
		} catch (...) {
			kept = std::current_exception();
		}
		try {
			std::rethrow_exception(kept);
		} catch (int n) {
			caught += n;
		}
	}
	printf("caught %d, made %d, gone %d\n", caught, Counted::made, Counted::gone);
}

int compare(const void *a, const void *b)
{
	static int calls;
	Counted here(8);

	if (++calls % 1000 == 0)
		throw calls;
	return *static_cast<const int *>(a) - *static_cast<const int *>(b);
}

void throw_through_qsort()
{
	std::vector<int> numbers(2000);
	int caught = 0;

	for (int i = 0; i < 50; i++) {
		for (size_t j = 0; j < numbers.size(); j++)
			numbers[j] = static_cast<int>(j * 7919 % 2003);
		try {
			qsort(numbers.data(), numbers.size(), sizeof(int), compare);
		} catch (int) {
			caught++;
		}
	}
	printf("caught %d, made %d, gone %d\n", caught, Counted::made, Counted::gone);
}

template <class F> void in_threads(int n, F f)
{
	std::vector<pthread_t> threads(static_cast<size_t>(n));

	for (auto &t : threads)
		need(!pthread_create(
			     &t, nullptr,
			     [](void *arg) -> void * { return (*static_cast<F *>(arg))(); }, &f),
		     "no thread");
	for (auto &t : threads) {
		void *result;

		need(!pthread_join(t, &result) && !result, "a thread failed");
	}
}

void throw_in_threads()
{
	in_threads(4, []() -> void * {
		intptr_t caught = 0;

		for (int i = 0; i < 300; i++) {
			free(block(100));
			try {
				std::map<int, std::string> all;
				for (int j = 0; j < 10; j++)
					all[j] = std::string(40, 'x');
				all.at(i % 10 + (i & 1) * 10);
			} catch (const std::out_of_range &) {
				caught++;
			}
		}
		return reinterpret_cast<void *>(caught - 150);
	});
	printf("4 threads\n");
}

/* ---- jumps ------------------------------------------------------------------------- */

jmp_buf back;
sigjmp_buf signal_back;
volatile sig_atomic_t may_jump, ticks;

NOINLINE void jump_from(int depth, std::vector<void *> *all)
{
	all->push_back(block(33));
	if (!depth)
		longjmp(back, 1);
	jump_from(depth - 1, all);
	sink = all;
}

void jump_over_frames()
{
	static std::vector<void *> all; /* the frames' blocks are not theirs to free */
	static volatile int jumps;

	for (volatile int i = 0; i < 300; i = i + 1) {
		if (!setjmp(back))
			jump_from(i % 60, &all);
		jumps = jumps + 1;
	}
	for (void *p : all)
		free(p);
	printf("%d jumps, %zu blocks\n", jumps, all.size());
}

void on_tick(int)
{
	ticks = ticks + 1;
	if (may_jump) {
		may_jump = 0;
		siglongjmp(signal_back, 1);
	}
}

void start_ticks(int us, int flags = 0)
{
	struct sigaction a = {};
	struct itimerval every = {{0, us}, {0, us}};

	a.sa_handler = on_tick;
	a.sa_flags = flags;
	need(!sigaction(SIGALRM, &a, nullptr), "no handler");
	need(!setitimer(ITIMER_REAL, &every, nullptr), "no timer");
}

void stop_ticks()
{
	struct itimerval never = {};

	setitimer(ITIMER_REAL, &never, nullptr);
}

/* Ticks come at any time, in malloc, too; the jump is made where it is allowed. */
void jump_from_handler()
{
	static volatile int jumps;
	static void *volatile kept[3];

	start_ticks(500);
	for (volatile int i = 0; i < 300; i = i + 1) {
		for (int j = 0; j < 3; j++)
			kept[j] = block(50 + static_cast<size_t>(j));
		kept[0] = realloc(kept[0], 500);
		if (!sigsetjmp(signal_back, 1)) {
			may_jump = 1;
			for (;;)
				continue;
		}
		jumps = jumps + 1;
		for (int j = 0; j < 3; j++)
			free(kept[j]);
	}
	stop_ticks();
	printf("%d jumps\n", jumps);
}

/* Nothing but interruptions. */
void ticks_while_allocating()
{
	unsigned long sum = 0;

	start_ticks(100, SA_RESTART);
	for (int i = 0; i < 60000; i++) {
		char *volatile p = static_cast<char *>(malloc(20 + static_cast<size_t>(i) % 200));

		p = static_cast<char *>(realloc(p, 300));
		p[0] = 1;
		sum += static_cast<unsigned long>(p[0]);
		free(p);
	}
	stop_ticks();
	need(ticks > 0, "no ticks came");
	printf("sum %lu\n", sum);
}

/*
 * Jumps out of the allocator itself: the kernel refuses its mmap() with a signal.
 * With one thread, and nothing changed before that call, glibc does not mind.
 */
#define REFUSED (size_t{1} << 30)

void on_refusal(int)
{
	siglongjmp(signal_back, 1);
}

void refuse_large_mmaps()
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, REFUSED, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
	struct sigaction a = {};

	a.sa_handler = on_refusal;
	need(!sigaction(SIGSYS, &a, nullptr) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
		     !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program),
	     "no filter");
}

NOINLINE void allocate_hugely(int how, int depth)
{
	char room[200];

	sink = room;
	if (depth)
		allocate_hugely(how, depth - 1);
	switch (how % 5) {
	case 0:
		sink = malloc(REFUSED);
		break;
	case 1:
		sink = calloc(REFUSED / 16, 16);
		break;
	case 2:
		sink = realloc(nullptr, REFUSED);
		break;
	case 3:
		sink = memalign(4096, REFUSED);
		break;
	case 4:
		void *p;
		sink = posix_memalign(&p, 64, REFUSED) ? nullptr : p;
		break;
	}
	fail("no jump");
}

void jump_out_of_malloc()
{
	static volatile int jumps;

	refuse_large_mmaps();
	for (volatile int i = 0; i < 1000; i = i + 1) {
		void *volatile p = block(70);

		/* ever deeper, then ever less so: what the kernel keeps of the frames piles up */
		if (!sigsetjmp(signal_back, 1))
			allocate_hugely(i, i % 80 < 40 ? i % 40 : 40 - i % 40);
		jumps = jumps + 1;
		free(p);
		free(block(90));
	}
	printf("%d jumps\n", jumps);
}

/* ---- threads that do not return ------------------------------------------------------ */

pthread_key_t key;

void free_it(void *p)
{
	free(p);
	__atomic_add_fetch(&Counted::gone, 1, __ATOMIC_RELAXED);
}

struct Local {
	std::string text = std::string(100, 'l');
	std::vector<int> numbers = std::vector<int>(50);

	~Local()
	{
		__atomic_add_fetch(&Counted::made, 1, __ATOMIC_RELAXED);
	}
};
thread_local Local local;

NOINLINE void exit_from(int depth)
{
	std::string here(60, 'e');
	void *p = block(44);

	sink = &here;
	pthread_cleanup_push(free_it, p);
	if (!depth)
		pthread_exit(nullptr);
	exit_from(depth - 1);
	pthread_cleanup_pop(1);
}

void exit_threads()
{
	need(!pthread_key_create(&key, free_it), "no key");
	for (int i = 0; i < 20; i++)
		in_threads(4, []() -> void * {
			pthread_setspecific(key, block(55));
			local.text += "more of it";
			exit_from(20);
			return &key;
		});
	printf("cleaned up %d, thread locals %d\n", Counted::gone, Counted::made);
}

void thread_locals()
{
	for (int i = 0; i < 40; i++)
		in_threads(3, []() -> void * {
			static thread_local std::map<int, std::string> names;
			static thread_local std::unique_ptr<Local> other(new Local);

			names[1] = std::string(70, 'n');
			local.numbers.resize(100);
			return names.size() == 1 && other ? nullptr : &names;
		});
	printf("thread locals %d\n", Counted::made);
}

int never[2];
volatile int is_at_work;

NOINLINE void wait_for_ever(int depth)
{
	std::string here(60, 'w');
	void *p = block(44);
	char c;

	sink = &here;
	pthread_cleanup_push(free_it, p);
	if (!depth) {
		__atomic_add_fetch(&is_at_work, 1, __ATOMIC_SEQ_CST);
		if (read(never[0], &c, 1) >= 0)
			fail("something to read");
	} else {
		wait_for_ever(depth - 1);
	}
	pthread_cleanup_pop(1);
}

void cancel_all(int n, void *(*f)(void *), int wait_us)
{
	std::vector<pthread_t> threads(static_cast<size_t>(n));

	is_at_work = 0;
	for (auto &t : threads)
		need(!pthread_create(&t, nullptr, f, nullptr), "no thread");
	while (__atomic_load_n(&is_at_work, __ATOMIC_SEQ_CST) < n)
		usleep(100);
	usleep(static_cast<useconds_t>(wait_us));
	for (auto &t : threads)
		pthread_cancel(t);
	/* glibc up to 2.36 gives NULL for one that is cancelled as it allows that again */
	for (auto &t : threads) {
		void *result;

		need(!pthread_join(t, &result), "not joined");
		need(result == PTHREAD_CANCELED || !result, "not cancelled");
	}
}

void cancel_deferred()
{
	need(!pipe(never), "no pipe");
	for (int i = 0; i < 20; i++)
		cancel_all(
			4,
			[](void *) -> void * {
				wait_for_ever(10);
				return &key;
			},
			0);
	printf("cleaned up %d\n", Counted::gone);
}

/* No destructors in here: where it is cancelled is not known. */
NOINLINE void compute(bool allocates)
{
	unsigned int n = 0;
	int old;

	__atomic_add_fetch(&is_at_work, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		if (allocates) {
			pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
			free(block(30 + n % 100));
			pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
		}
		for (volatile int i = 0; i < 100; i = i + 1)
			n++;
	}
}

template <bool allocates> void *compute_for_ever(void *)
{
	void *p = block(66);
	int old;

	pthread_cleanup_push(free_it, p);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	compute(allocates);
	pthread_cleanup_pop(1);
	return &key;
}

void cancel_asynchronously()
{
	for (int i = 0; i < 20; i++)
		cancel_all(3, compute_for_ever<false>, 200);
	printf("cleaned up %d\n", Counted::gone);
}

void cancel_at_any_time()
{
	for (int i = 0; i < 50; i++)
		cancel_all(3, compute_for_ever<true>, i * 50);
	printf("cleaned up %d\n", Counted::gone);
}

/* ---- stacks ------------------------------------------------------------------------ */

NOINLINE size_t use_stack(size_t n)
{
	char vla[n];
	char *dynamic = static_cast<char *>(alloca(n * 3));
	char *p = static_cast<char *>(block(n));

	memset(vla, 1, n);
	memset(dynamic, 2, n * 3);
	sink = dynamic;
	size_t sum = static_cast<size_t>(vla[n - 1] + dynamic[n * 3 - 1] + p[n - 1]);
	p = static_cast<char *>(realloc(p, n * 2));
	sum += n > 100 ? use_stack(n / 2) : 0;
	free(p);
	return sum;
}

void stack_frames()
{
	size_t sum = 0;

	for (size_t i = 1; i < 300; i++)
		sum += use_stack(i * 37);
	printf("sum %zu\n", sum);
}

NOINLINE size_t recurse(int depth)
{
	char *p = static_cast<char *>(block(24));
	size_t sum = depth ? recurse(depth - 1) : 0;

	sum += static_cast<size_t>(p[3]);
	free(p);
	return sum;
}

void deep_recursion()
{
	size_t sum = 0;

	for (int i = 0; i < 3; i++)
		sum += recurse(10000);
	printf("sum %zu\n", sum);
}

ucontext_t contexts[5];
volatile int turns;

void take_turns(int self)
{
	for (int i = 0; i < 100; i++) {
		void *p = block(static_cast<size_t>(20 + self * 8));

		turns = turns + 1;
		swapcontext(&contexts[self], &contexts[self % 4 + 1]);
		free(p);
	}
	swapcontext(&contexts[self], &contexts[0]);
}

void coroutines()
{
	void *stacks[5];

	for (int i = 1; i < 5; i++) {
		stacks[i] = block(65536);
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_sp = stacks[i];
		contexts[i].uc_stack.ss_size = 65536;
		contexts[i].uc_link = &contexts[0];
		makecontext(&contexts[i], reinterpret_cast<void (*)()>(take_turns), 1, i);
	}
	for (int i = 1; i < 5; i++)
		swapcontext(&contexts[0], &contexts[i]);
	for (int i = 1; i < 5; i++)
		free(stacks[i]);
	printf("%d turns\n", turns);
}

volatile int handled;

void allocating_handler(int)
{
	for (size_t i = 0; i < 10; i++) {
		char *p = static_cast<char *>(block(100 + i));

		p = static_cast<char *>(realloc(p, 3000));
		free(p);
	}
	handled = handled + 1;
	if (may_jump)
		siglongjmp(signal_back, 1);
}

/* raise() is not in malloc: its handler may allocate. */
void raise_on(void *stack, size_t size)
{
	stack_t alternate = {};

	alternate.ss_sp = stack;
	alternate.ss_size = size;
	need(!sigaltstack(&alternate, nullptr), "no signal stack");
	for (volatile int i = 0; i < 200; i = i + 1) {
		void *volatile p = block(40);

		may_jump = i & 1;
		if (!sigsetjmp(signal_back, 1))
			raise(SIGUSR1);
		free(p);
	}
	alternate.ss_flags = SS_DISABLE;
	sigaltstack(&alternate, nullptr);
}

void signal_stack()
{
	char above[65536]; /* of main's stack: above a thread's */
	struct sigaction a = {};
	void *below = block(65536);

	a.sa_handler = allocating_handler;
	a.sa_flags = SA_ONSTACK;
	need(!sigaction(SIGUSR1, &a, nullptr), "no handler");
	raise_on(below, 65536);
	free(below);
	in_threads(1, [&]() -> void * {
		raise_on(above, sizeof(above));
		return nullptr;
	});
	printf("%d signals\n", handled);
}

/* ---- processes ---------------------------------------------------------------------- */

void fork_in_thread()
{
	static volatile int children;

	in_threads(2, []() -> void * {
		for (int i = 0; i < 5; i++) {
			void *p = block(80);
			int status = 1;
			pid_t child = fork();

			if (child == 0) {
				for (int j = 0; j < 500; j++) {
					free(block(123));
					sink = calloc(3, 40);
				}
				free(p);
				_exit(sink ? 7 : 8);
			}
			need(child > 0 && waitpid(child, &status, 0) == child, "no child");
			need(WIFEXITED(status) && WEXITSTATUS(status) == 7, "a child failed");
			__atomic_add_fetch(&children, 1, __ATOMIC_SEQ_CST);
			free(p);
		}
		return nullptr;
	});
	printf("%d children\n", children);
}

void vfork_and_exec()
{
	static volatile int children;

	for (volatile int i = 0; i < 20; i = i + 1) {
		void *volatile p = block(90);
		int status = 1;
		pid_t child = vfork();

		if (child == 0) {
			execl("/bin/true", "true", nullptr);
			_exit(9);
		}
		need(child > 0 && waitpid(child, &status, 0) == child && !status, "a child failed");
		children = children + 1;
		free(p);
		free(block(91));
	}
	printf("%d children\n", children);
}

const struct scenario {
	const char *name;
	void (*run)();
} scenarios[] = {
	{"nothing", [] { printf("nothing\n"); }},
	{"throw-deep", throw_deep},
	{"throw-in-constructor", throw_in_constructor},
	{"throw-bad-alloc", throw_bad_alloc},
	{"throw-again", throw_again},
	{"throw-through-qsort", throw_through_qsort},
	{"throw-in-threads", throw_in_threads},
	{"jump-over-frames", jump_over_frames},
	{"jump-from-handler", jump_from_handler},
	{"jump-out-of-malloc", jump_out_of_malloc},
	{"ticks-while-allocating", ticks_while_allocating},
	{"exit-threads", exit_threads},
	{"thread-locals", thread_locals},
	{"cancel-deferred", cancel_deferred},
	{"cancel-asynchronously", cancel_asynchronously},
	{"cancel-at-any-time", cancel_at_any_time},
	{"stack-frames", stack_frames},
	{"deep-recursion", deep_recursion},
	{"coroutines", coroutines},
	{"signal-stack", signal_stack},
	{"fork-in-thread", fork_in_thread},
	{"vfork-and-exec", vfork_and_exec},
};

} // namespace

int main(int argc, char **argv)
{
	bool has_gate = argc > 2 && !strcmp(argv[1], "--gate");
	const char *name = argc > 1 ? argv[argc - 1] : nullptr;
	char c;

	if (has_gate && read(STDIN_FILENO, &c, 1) != 1)
		return 2;
	for (const scenario &s : scenarios) {
		if (!name)
			puts(s.name);
		else if (!strcmp(name, s.name))
			return s.run(), fflush(stdout), 3;
	}
	return name ? 2 : 0;
}
