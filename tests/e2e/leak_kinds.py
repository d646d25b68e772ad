#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --reachable: of which kind each leak record is, against valgrind's memcheck, which means the same by it.

memcheck runs with its defaults but for --run-libc-freeres: the heuristics for pointers to insides are all on.  What it can
know and nobody else is which words are undefined: it takes no pointers from those.  Programs that were written for this
leave none; of real ones the records that differ are counted, and each must be one of a block that memcheck calls lost and
we do not, since a word that was left over points to it.
"""
import collections
import os
import subprocess

import memcheck
import tap
from memcheck import build, work

BEGIN = r"""
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define NEVER_INLINE __attribute__((noinline, noclone))
/* nothing is left of it on the stack, nor in a register */
NEVER_INLINE static void forget(void) { volatile long x[1024]; for (int i = 0; i < 1024; i++) x[i] = 0; }
NEVER_INLINE static void *take(size_t n) { return calloc(1, n); }
static void *volatile root, *volatile roots[100];
"""
END = r"""
int main(void) { test(); forget(); return 0; }
"""
PROGRAMS = {
    "chains": r"""
struct node { struct node *next; long n[3]; };
NEVER_INLINE static struct node *lost(int n) { struct node *x = NULL; while (n--) { struct node *y = take(sizeof(*y)); y->next = x; x = y; } return x; }
NEVER_INLINE static struct node *kept(int n) { struct node *x = NULL; while (n--) { struct node *y = take(sizeof(*y)); y->next = x; x = y; } return x; }
NEVER_INLINE static struct node *inside(int n) { struct node *x = NULL; while (n--) { struct node *y = take(sizeof(*y)); y->next = x ? (struct node *)&x->n[1] : x; x = y; } return x; }
NEVER_INLINE static void test(void) { lost(5); root = kept(7); roots[3] = inside(4); roots[9] = kept(100000); lost(1000); }
""",
    "cycles": r"""
struct node { struct node *next, *other; };
NEVER_INLINE static struct node *one(void) { struct node *x = take(32); x->next = x; return x; }
NEVER_INLINE static void two(void) { struct node *x = take(40), *y = take(48); x->next = y; y->next = x; }
NEVER_INLINE static struct node *ring(int n) { struct node *first = take(56), *x = first; while (--n) x = x->next = take(56); x->next = first; return first; }
NEVER_INLINE static void tail(void) { struct node *r = ring(4), *t = take(64); t->next = r; }
NEVER_INLINE static void before(void) { struct node *t = take(72), *r = ring(3); t->other = r->next; }
NEVER_INLINE static void crossing(void) { struct node *a = ring(3), *b = ring(5); a->next->other = b->next; b->other = a; }
NEVER_INLINE static void test(void) { one(); two(); ring(6); tail(); before(); crossing(); root = ring(3); roots[0] = one(); }
""",
    "trees": r"""
struct node { struct node *left, *right; long n; };
NEVER_INLINE static struct node *grow(int depth, int much) { struct node *x = take(sizeof(*x) + much * 8); if (depth) { x->left = grow(depth - 1, much); x->right = grow(depth - 1, much); } return x; }
NEVER_INLINE static void test(void)
{
	struct node *kept = grow(5, 0), *gone;
	root = kept; gone = kept->left; kept->left = NULL; (void)gone;
	grow(4, 1);
	kept->right->left = (struct node *)&grow(3, 2)->n;
	gone = grow(2, 3); gone->left->left->left = gone;
	gone = grow(1, 4); kept->right->right->right = gone->left;
}
""",
    "insides": r"""
NEVER_INLINE static char *block(size_t n) { return take(n); }
NEVER_INLINE static char *other(size_t n) { return take(n); }
NEVER_INLINE static void test(void)
{
	char *a;
	roots[0] = block(100) + 1;
	roots[1] = block(200) + 199;
	roots[2] = block(300) + 300;		/* behind it: no pointer to it */
	roots[3] = block(400) - 1;
	a = block(500); roots[4] = a + 8; roots[5] = a;
	a = block(600); roots[6] = a + 16; *(void **)(a + 48) = other(64);
	a = block(700); roots[7] = a; *(void **)(a + 48) = other(72) + 40;
	a = other(24); roots[8] = a + 23;
	roots[9] = take(0);
	take(0);
	roots[10] = (char *)((uintptr_t)other(32) ^ 0x5555);
	a = block(128); memcpy(a + 3, &(char *){other(48)}, 8); roots[11] = a;	/* no aligned word */
}
""",
    "locals of threads": r"""
static __thread void *volatile own, *volatile own_inside;
NEVER_INLINE static void *of_thread(size_t n) { return take(n); }
NEVER_INLINE static void mine(void) { own = take(40); own_inside = (char *)take(48) + 24; }
NEVER_INLINE static void deep(void) { void *volatile p[2000]; for (int i = 0; i < 2000; i++) p[i] = NULL; for (int i = 0; i < 20; i++) p[100 * i] = of_thread(56); }
NEVER_INLINE static void *ended(void *arg) { own = of_thread(64); deep(); return arg; }
static pthread_barrier_t both;
NEVER_INLINE static void *waits(void *arg)
{
	void *volatile p[3] = {of_thread(72), of_thread(80), (char *)of_thread(88) + 8};
	own = of_thread(96);
	pthread_barrier_wait(&both);
	for (;;) pause();
	return (char *)arg + (p[0] == p[1]);
}
NEVER_INLINE static void test(void)
{
	pthread_t t;
	mine();
	/* first, since it would get the other's stack */
	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&t, NULL, waits, NULL); pthread_barrier_wait(&both);
	pthread_create(&t, NULL, ended, NULL); pthread_join(t, NULL);
}
""",
    "below the stack": r"""
NEVER_INLINE static void deep(void) { void *volatile p[4000]; for (int i = 0; i < 4000; i++) p[i] = NULL; for (int i = 0; i < 4000; i += 100) p[i] = take(40); }
NEVER_INLINE static void test(void) { deep(); void *volatile own[2] = {take(48), (char *)take(56) + 8}; forget(); exit(own[0] == own[1]); }
""",
    "mappings": r"""
NEVER_INLINE static void *block(size_t n) { return take(n); }
NEVER_INLINE static void test(void)
{
	void **map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void **shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void **constant = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void **large = block(3 << 20), **gone = block(1 << 20), **freed = block(2 << 20), **lost = block(5 << 20);
	map[5] = block(40); map[8191] = block(48); shared[7] = block(56); constant[9] = block(64);
	mprotect(constant, 4096, PROT_READ);
	root = large; large[0] = block(72); large[300000] = block(80); large[1000] = &gone[5];
	gone[100000] = block(88);
	lost[11] = block(104);
	freed[77] = block(96); free(freed);
	munmap(map, 4096);
}
""",
    "tails": r"""
union any { void *p; char c[8]; long n; };
struct tailed { int n; char pad; union any items[]; };
struct __attribute__((packed)) odd { char c; void *p; };
NEVER_INLINE static void *item(size_t n) { return take(n); }
NEVER_INLINE static struct tailed *tailed(int n) { struct tailed *t = take(sizeof(*t) + n * sizeof(union any)); t->n = n; for (int i = 0; i < n; i++) t->items[i].p = item(32); return t; }
NEVER_INLINE static void test(void)
{
	root = tailed(10); tailed(20);
	struct odd *o = take(sizeof(*o)); o->p = item(40); roots[1] = o;
	struct tailed *t = tailed(3); roots[2] = &t->items[1]; t->items[0].c[0] ^= 1;
	char *short_one = take(13); memcpy(short_one + 5, &(void *){item(48)}, 8); roots[3] = short_one;
	char *cut = take(15); *(void **)cut = item(56); memcpy(cut + 8, &(void *){item(64)}, 7); roots[4] = cut;
}
""",
    "moved": r"""
NEVER_INLINE static void *item(size_t n) { return take(n); }
NEVER_INLINE static void *again(void *p, size_t n) { return realloc(p, n); }
NEVER_INLINE static void test(void)
{
	void **a = take(80), **b = take(800), **c = take(64), **d = take(1 << 20), **e;
	for (int i = 0; i < 10; i++) a[i] = item(40);
	for (int i = 0; i < 100; i++) b[i] = item(48);
	item(56);
	a = again(a, 4000); memset(a + 10, 0, 4000 - 80); root = a;
	b = again(b, 160); roots[1] = b;		/* of the rest nobody knows any more */
	c[0] = item(64); c = again(c, 100000); memset(c + 8, 0, 100000 - 64); c[9999] = item(72); roots[2] = &c[3];
	d[5] = item(88); d = again(d, 8 << 20); d[1000000] = item(96); roots[3] = d;
	e = again(NULL, 104); memset(e, 0, 104); e[2] = item(112);
	free(again(take(500), 700));
}
""",
    "what is free": r"""
NEVER_INLINE static void *item(size_t n) { return take(n); }
NEVER_INLINE static void test(void)
{
	void **a[64], **last;
	for (int i = 0; i < 64; i++) { a[i] = take(24 + 100 * (i % 20)); for (int k = 0; k < 3; k++) a[i][k] = item(24); }
	for (int i = 0; i < 64; i += 2) free(a[i]);
	for (int i = 1; i < 64; i += 2) roots[i] = i % 4 == 1 ? a[i] : NULL;
	item(24); free(take(5000)); item(24); free(take(70000)); item(24);
	last = take(24); (void)last;
	posix_memalign((void **)&roots[90], 256, 100); memset(roots[90], 0, 100);
	last = aligned_alloc(4096, 8192); memset(last, 0, 8192); last[1000] = item(32); roots[91] = &last[1];
}
""",
    "arenas": r"""
NEVER_INLINE static void *item(size_t n) { return take(n); }
NEVER_INLINE static void *work(void *arg)
{
	long n = (long)arg;
	void **kept = take(800), **lost = take(800), **gone = take(60000);
	for (int i = 0; i < 7500; i += 100) gone[i] = item(56);
	free(gone);
	for (int i = 0; i < 100; i++) { kept[i] = item(24 + 16 * (i % 7)); lost[i] = item(40); free(item(3000)); }
	for (int i = 0; i < 100; i += 3) { free(lost[i]); lost[i] = NULL; }
	roots[n] = kept;
	forget();
	return NULL;
}
NEVER_INLINE static void test(void)
{
	pthread_t t[4];
	for (long i = 0; i < 4; i++) pthread_create(&t[i], NULL, work, (void *)i);
	for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
}
""",
}
CXX = r"""
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <map>
#include <memory>
static void *volatile roots[40];
__attribute__((noinline)) static void forget() { volatile long x[1024]; for (int i = 0; i < 1024; i++) x[i] = 0; }
class with_destructor { public: ~with_destructor() { if (p) free(p); } void *p = nullptr; long n[2] = {}; };
class first { public: virtual ~first() {} virtual long a() { return 1; } long x = 0; void *p = nullptr; };
class second { public: virtual ~second() {} virtual long b() { return 2; } long y = 0; };
class both : public first, public second { public: long a() override { return 3; } long b() override { return 4; } };
/* as strings of C++ before 2011 have it: length, capacity, references, text */
struct old_string { size_t length, capacity, references; char text[1]; };
__attribute__((noinline)) static char *old(const char *text, size_t capacity)
{
	old_string *s = (old_string *)calloc(1, sizeof(size_t) * 3 + capacity + 1);
	s->length = strlen(text); s->capacity = capacity; strncpy(s->text, text, capacity);
	return s->text;
}
__attribute__((noinline)) static void *sized(size_t n) { uint64_t *p = (uint64_t *)calloc(1, n + 8); *p = n; return p + 1; }
__attribute__((noinline)) static void *wrong(size_t n) { uint64_t *p = (uint64_t *)calloc(1, n + 8); *p = 7 * n; return p + 1; }
__attribute__((noinline)) static with_destructor *elements(int n) { return new with_destructor[n]; }
__attribute__((noinline)) static int *plain(int n) { return new int[n](); }
__attribute__((noinline)) static second *object() { return new both; }
__attribute__((noinline)) static first *first_of() { return new both; }
static std::string *volatile text;
static std::vector<std::string> *volatile texts;
static std::map<int, std::unique_ptr<first>> *volatile objects;
__attribute__((noinline)) static void test()
{
	roots[0] = old("text", 10); roots[1] = old("more text", 30); old("lost", 8); roots[2] = old("x", 5) + 1;
	roots[3] = sized(100); sized(200); roots[4] = wrong(48); roots[5] = (char *)sized(64) + 8;
	with_destructor *d = elements(5); d[2].p = calloc(1, 40); roots[6] = d;
	elements(3)[1].p = calloc(1, 48);
	roots[7] = &elements(4)[1];
	roots[8] = plain(10); roots[9] = plain(20) + 2; plain(30);
	second *o = object(); o->y = (long)calloc(1, 56); roots[10] = o;
	first *f = first_of(); f->p = calloc(1, 64); roots[11] = f;
	roots[12] = &first_of()->p;
	object();
	text = new std::string("a text that is too long for the room in the string itself");
	texts = new std::vector<std::string>(10, std::string(100, 'x')); texts->reserve(11);
	objects = new std::map<int, std::unique_ptr<first>>;
	for (int i = 0; i < 20; i++) (*objects)[i] = std::make_unique<both>();
	(*objects)[7].release();
	new std::vector<std::string>(5, std::string(50, 'y'));
}
int main() { test(); forget(); return 0; }
"""


def records(argv, extra):
    mine, data, names = memcheck.heaptrail(argv, extra, "--reachable")
    theirs = memcheck.in_our_names(memcheck.valgrind(argv, extra), names)
    return mine, theirs, data


def says(found):
    count = collections.Counter()
    for (_, kind), (blocks, _) in found.items():
        count[kind] += blocks
    return ", ".join(f"{kind} {n}" for kind, n in sorted(count.items(), key=lambda x: str(x[0])))


def short(key):
    stack, kind = key
    return f"{kind}: " + " < ".join(str(x[0] if isinstance(x, tuple) else x) for _, x in stack[:3])


def check(name, argv, at_least):
    """
    A word that is no pointer, of the loader's say, may look like one into a large block, which is possibly lost then
    instead of definitely: by chance, as mappings lie elsewhere each time.  So what differs is tried again, twice.
    """
    for attempt in range(3):
        mine, theirs, data = records(argv, {})
        different = sorted((short(k), theirs.get(k), mine.get(k)) for k in theirs.keys() | mine.keys() if theirs.get(k) != mine.get(k))
        if not different:
            break
        print(f"# {name}, attempt {attempt + 1}: {different}")
    tap.ok(not different and len(theirs) >= at_least and not data["reachability"]["cautious"] and data["reachability"]["at_exit"],
           f"{name}: {len(theirs)} records ({says(theirs)}), of the kinds that memcheck says" +
           (f"; not {len(different)}: {different[:8]}" if different else ""))


def written_for_it():
    for name, body in PROGRAMS.items():
        for flags in (("-O0", "-g"), ("-O2", "-g")):
            program = build(name.replace(" ", "-"), BEGIN + body + (END if "int main" not in body else ""), "-w", "-pthread", *flags)
            check(f"{name} {flags[0]}", [program], 2)


def cxx():
    for flags in (("-O0", "-g"), ("-O2", "-g")):
        check(f"C++ {flags[0]}", [build("objects", CXX, "-w", "-std=c++17", *flags)], 10)


def real(name, argv, extra=None, at_least=1, may_differ=0.0):
    mine, theirs, _ = records(argv, extra or {})
    by_stack = collections.defaultdict(lambda: ({}, {}))
    for which, found in enumerate((theirs, mine)):
        for (stack, kind), (blocks, _) in found.items():
            by_stack[stack][which][kind] = blocks
    order = {"definite": 0, "indirect": 0, "possible": 1, "reachable": 2}
    blocks = same = more = less = 0
    examples = []
    for stack, (a, b) in by_stack.items():
        blocks += sum(a.values())
        same += sum(min(n, b.get(kind, 0)) for kind, n in a.items())
        # of the others: how far each side thinks they are lost
        weight = sum(order[k] * n for k, n in b.items()) - sum(order[k] * n for k, n in a.items())
        if a != b:
            more += weight > 0
            less += weight <= 0
            if weight <= 0:
                examples.append((short((stack, "")), a, b))
    for e in examples[:10]:
        print("#", name, *e)
    tap.ok(len(by_stack) >= at_least and blocks - same <= may_differ * blocks and not less and
           sum(sum(x.values()) for _, x in by_stack.values()) == blocks,
           f"{name}: {len(by_stack)} stacks, {blocks} blocks ({says(theirs)}); of {blocks - same} memcheck knows that what points to "
           f"them is a word that was left over ({more} stacks)" + (f"; of {less} it is otherwise" if less else ""))


def sqlite3():
    sql = ("create table t(a integer primary key, b text);"
           "with recursive n(x) as (select 1 union all select x+1 from n where x<2000) insert into t select x, 'row '||x from n;"
           "create index t_b on t(b); select count(*) from t;")
    real("sqlite3", ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:", sql])
    real("sqlite3, ended amidst", ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:", sql, ".exit 0"])


def bash():
    real("bash", ["/bin/bash", "--norc", "-c", 's=; for ((i=0;i<200;i++)); do t="item $i"; u=${t//1/one}; done; echo $u'], at_least=50)


def python3():
    with open(f"{work}/work.py", "w") as f:
        f.write("import json\nrows = [dict(a=i, b=str(i) * 3) for i in range(500)]\nprint(len(json.loads(json.dumps(rows))))\n")
    real("python3", ["/usr/bin/python3", "-s", "-S", f"{work}/work.py"],
         extra={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}, at_least=50, may_differ=0.01)


def git():
    folder = f"{work}/repository"
    extra = {"HOME": work, "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
             "GIT_OPTIONAL_LOCKS": "0"}  # looking changes nothing
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "first"]):
        os.makedirs(folder, exist_ok=True)
        for i in range(20):
            with open(f"{folder}/{i}", "w") as f:
                f.write(f"file {i}\n" * i)
        subprocess.run(["/usr/bin/git", "-C", folder, *command], check=True, env={**memcheck.env, **extra})
    with open(f"{folder}/3", "w") as f:
        f.write("other\n")
    real("git status", ["/usr/bin/git", "-C", folder, "status"], extra=extra, at_least=5)
    real("git diff", ["/usr/bin/git", "-C", folder, "diff"], extra=extra, at_least=5)


def perl():
    real("perl", ["/usr/bin/perl", "-e", "my %h; $h{$_} = [1 .. $_ % 20] for 1 .. 500; print scalar keys %h, \"\\n\";"],
         extra={"PERL_HASH_SEED": "0"}, at_least=50)


try:
    memcheck.skip_without()
    tap.run_as_root([written_for_it, cxx, sqlite3, bash, python3, git, perl])
finally:
    memcheck.clean()
