/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/probes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "collector/features.h"
#include "collector/links.h"
#include "collector/probes.skel.h"
#include "collector/process_facts.h"
#include "collector/refusal.h"
#include "collector/uprobe_multi.h"
#include "common/xalloc.h"

#define INITIAL_PID_NAMESPACE 0xeffffffcul /* its inode, in every kernel */

#define SPIN_NS_MAX (20 * 1000 * 1000ull)
/* A thread that loads code waits so long for its tables; longer where we may stop it anyway. */
#define TABLES_NS_MAX (20 * 1000 * 1000ull)
#define TABLES_NS_MAX_WAITING (100 * 1000 * 1000ull)

struct probes {
	struct probes_bpf *bpf;
	struct ring_buffer *ring;
	pid_t pid;
	bool entries_only, free_stacks, mappings;
	struct links links;
	uint32_t forks_swept; /* of the kernel side's count */
	struct attached_file {
		dev_t device;
		ino_t inode;
	} *files;
	size_t n_files, cap_files;
	pthread_t detacher;
	bool is_detaching;
	size_t budget;
	void (*expect)(void *arg, const struct ring_alloc *next);
	void (*each)(void *arg, const struct ring_head *e, size_t len);
	void *each_arg;
	const unsigned long *ring_positions[2]; /* consumer's, producer's */
	int wakeup;
	struct bpf_link *code_list;
	char *mode_reason;
};

/* ---- libbpf's messages ------------------------------------------------------------ */

static bool print_messages;
static char last_message[256]; /* of those that say why */

/* Of a verifier's log, the line that says why is the last one before the summary. */
static const char *reason_in_log(char *log)
{
	char *end = strstr(log, "\nprocessed "), *line;

	if (!end)
		end = strstr(log, "\n-- END");
	if (!end)
		return log;
	while (end > log && end[-1] == '\n')
		end--;
	*end = '\0';
	line = strrchr(log, '\n');
	return line ? line + 1 : log;
}

static void note_message(char *text)
{
	const char *reason = text;

	/* these only say that the ones before were serious, or that they were not */
	if (strstr(text, "failed to load BPF skeleton") || strstr(text, "failed to load object") ||
	    strstr(text, "Retrying without BTF") ||
	    (strstr(text, ": failed to load: ") && last_message[0]))
		return;
	if (strstr(text, "-- BEGIN PROG LOAD LOG --"))
		reason = reason_in_log(text);
	else if (!strncmp(text, "libbpf: ", 8))
		reason = text + 8;
	snprintf(last_message, sizeof(last_message), "%.*s", (int)strcspn(reason, "\n"), reason);
}

static int keep_message(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	va_list again;
	char *text;

	if (level == LIBBPF_WARN) {
		va_copy(again, ap);
		if (vasprintf(&text, fmt, again) >= 0) {
			note_message(text);
			free(text);
		}
		va_end(again);
	}
	return print_messages ? vfprintf(stderr, fmt, ap) : 0;
}

/* "BPF loops (Linux 5.17)": what is needed and not there; or "". */
static void list_missing(char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n_features && len < size; i++)
		if (features[i].required && features[i].test() == FEATURE_NO)
			len += (size_t)snprintf(buf + len, size - len, "%s%s (Linux %s)",
						len ? ", " : "", features[i].name,
						features[i].since);
}

static int load_failed(int r, struct err *err)
{
	char missing[160];

	err_set(err, ERR_PRIVILEGE, -r, "cannot load the probe programs into the kernel");
	refusal_explain(REFUSED_BPF, -r, err);
	if (!err || err->hint[0])
		return r;
	list_missing(missing, sizeof(missing));
	if (missing[0])
		err_hint(err, "this kernel lacks what came with later ones: %s; `heaptrail doctor` "
			      "shows more", missing);
	else if (last_message[0])
		err_hint(err, "libbpf says: %s; `heaptrail doctor` shows what this kernel has",
			 last_message);
	else
		err_hint(err, "`heaptrail doctor` shows what this kernel has");
	return r;
}

/* ---- loading ---------------------------------------------------------------------- */

static int take_event(void *arg, void *data, size_t len)
{
	struct probes *p = arg;

	/* the ring is mapped twice, one after the other: what comes next lies behind this */
	p->expect(p->each_arg,
		  (const void *)((const uint8_t *)data + (len + 7) / 8 * 8 + BPF_RINGBUF_HDR_SZ));
	p->each(p->each_arg, data, len);
	return --p->budget ? 0 : -EAGAIN;
}

/* The ring's two positions, to see how full it is without asking the kernel. */
static int map_positions(struct probes *p, struct err *err)
{
	int fd = bpf_map__fd(p->bpf->maps.ring);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < 2; i++) {
		void *m = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)(i * page));

		if (m == MAP_FAILED)
			return err_set(err, ERR_FAILED, errno, "cannot map the event ring");
		p->ring_positions[i] = m;
	}
	return 0;
}

static void choose_links(struct probes *p)
{
	struct bpf_program *programs[] = {p->bpf->progs.probe_call_entry,
					  p->bpf->progs.probe_unwinding_entry,
					  p->bpf->progs.probe_call_return,
					  p->bpf->progs.probe_call_exit,
					  p->bpf->progs.probe_unwind,
					  p->bpf->progs.probe_free,
					  p->bpf->progs.probe_unwinding_free,
					  p->bpf->progs.probe_mapping,
					  p->bpf->progs.probe_unwinding_mapping,
					  p->bpf->progs.probe_debug_hook};

	p->links.use_multi = links_want_multi();
	bpf_program__set_autoload(p->bpf->progs.on_fork, p->links.use_multi);
	for (size_t i = 0; p->links.use_multi && i < COUNT_OF(programs); i++)
		bpf_program__set_expected_attach_type(programs[i], UPROBE_MULTI_ATTACH_TYPE);
}

/* Where we are not in the initial PID namespace, the programs must count as we do. */
static void set_pid_namespace(struct probes *p)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0 || st.st_ino == INITIAL_PID_NAMESPACE)
		return;
	/* as the kernel puts a device's number together */
	p->bpf->rodata->pidns_dev = (ht_u64)major(st.st_dev) << 20 | minor(st.st_dev);
	p->bpf->rodata->pidns_ino = st.st_ino;
}

/* Have the target and we just one to share, so that who waits in the kernel keeps us waiting? */
static bool has_one_cpu(pid_t pid)
{
	cpu_set_t own, targets;

	if (sched_getaffinity(0, sizeof(own), &own) ||
	    sched_getaffinity(pid, sizeof(targets), &targets))
		return false;
	CPU_OR(&own, &own, &targets);
	return CPU_COUNT(&own) == 1;
}

static void set_constants(struct probes *p, const struct probes_options *o)
{
	p->bpf->rodata->target_pid = (ht_u32)o->pid;
	set_pid_namespace(p);
	p->bpf->rodata->wait_when_full = o->wait_when_full;
	p->bpf->rodata->high_water_bytes = o->ring_bytes / 10 * 7;
	p->bpf->rodata->spin_ns_max = SPIN_NS_MAX;
	p->bpf->rodata->tables_ns_max = has_one_cpu(o->pid)	  ? 0
					: o->wait_when_full ? TABLES_NS_MAX_WAITING
							    : TABLES_NS_MAX;
	p->bpf->rodata->stop_for_tables =
		o->wait_when_full && (o->stop_at_libraries || has_one_cpu(o->pid));
	p->bpf->rodata->empty = (ht_u32)o->measure;
}

/* Opens and loads the programs, with or without the unwinder. */
static int load_programs(struct probes *p, const struct probes_options *o, enum stack_mode mode)
{
	bool unwinds = mode <= STACK_MODE_FP;

	last_message[0] = '\0';
	p->bpf = probes_bpf__open();
	if (!p->bpf)
		return -errno;
	set_constants(p, o);
	p->bpf->rodata->stack_mode = mode;
	choose_links(p);
	bpf_map__set_max_entries(p->bpf->maps.ring, (unsigned int)o->ring_bytes);
	bpf_program__set_autoload(p->bpf->progs.probe_call_entry, !unwinds);
	bpf_program__set_autoload(p->bpf->progs.probe_unwinding_entry, unwinds);
	p->free_stacks = unwinds && o->free_stacks;
	p->bpf->rodata->free_stacks = p->free_stacks;
	bpf_program__set_autoload(p->bpf->progs.probe_mapping, o->mappings && !unwinds);
	bpf_program__set_autoload(p->bpf->progs.probe_unwinding_mapping, o->mappings && unwinds);
	bpf_program__set_autoload(p->bpf->progs.probe_free, !p->free_stacks);
	bpf_program__set_autoload(p->bpf->progs.probe_unwinding_free, p->free_stacks);
	bpf_map__set_autocreate(p->bpf->maps.unwind_files, unwinds);
	bpf_map__set_autocreate(p->bpf->maps.unwind_slabs, unwinds);
	bpf_program__set_autoload(p->bpf->progs.list_code, mode == STACK_MODE_AUTO);
	bpf_program__set_autoattach(p->bpf->progs.list_code, false);
	return probes_bpf__load(p->bpf);
}

/* What only the unwinder needs may be missing: then the callers are better than nothing. */
static int load_or_do_without(struct probes *p, const struct probes_options *o)
{
	int r = load_programs(p, o, o->stack_mode), again;
	struct probes_bpf *failed = p->bpf;

	if (!r || r == -EPERM || r == -ENOMEM || o->stack_mode > STACK_MODE_FP)
		return r;
	p->mode_reason = xasprintf("this kernel refuses the unwinder (%s): %s", strerror(-r),
				   last_message[0] ? last_message : "no reason given");
	again = load_programs(p, o, STACK_MODE_CALLER);
	probes_bpf__destroy(failed);
	return again;
}

/* Readable whenever the kernel side wakes us, and only then: events alone do not. */
static int open_wakeup(struct probes *p)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};

	p->wakeup = epoll_create1(EPOLL_CLOEXEC);
	return p->wakeup < 0 || epoll_ctl(p->wakeup, EPOLL_CTL_ADD,
					  bpf_map__fd(p->bpf->maps.ring), &e) < 0 ? -errno : 0;
}

/* What bpf_iter_link_info is since Linux 6.1. */
struct iterated_task {
	uint32_t tid, pid, pid_fd, reserved;
};

static int open_code_list(struct probes *p)
{
	struct iterated_task task = {.tid = (uint32_t)p->pid};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = (union bpf_iter_link_info *)&task,
		    .link_info_len = sizeof(task));

	if (probes_stack_mode(p) != STACK_MODE_AUTO)
		return 0;
	/* an older kernel does not know the filter, and shows all processes */
	if (!p->bpf->rodata->pidns_ino)
		p->bpf->bss->listed_pid = (ht_u32)p->pid;
	p->code_list = bpf_program__attach_iter(p->bpf->progs.list_code, &opts);
	if (!p->code_list && p->bpf->bss->listed_pid)
		p->code_list = bpf_program__attach_iter(p->bpf->progs.list_code, NULL);
	return p->code_list ? 0 : -errno;
}

int probes_load(const struct probes_options *o, struct probes **ret, struct err *err)
{
	struct probes *p = xcalloc(1, sizeof(*p));
	int r;

	print_messages = o->verbose;
	last_message[0] = '\0';
	libbpf_set_print(keep_message);
	p->pid = p->links.pid = o->pid;
	p->entries_only = o->entries_only;
	p->mappings = o->mappings;
	p->wakeup = -1;
	r = load_or_do_without(p, o);
	if (r) {
		r = load_failed(r, err);
		if (p->links.use_multi && r == -EINVAL && err) { /* a kernel without that kind */
			err->hint[0] = '\0';
			refusal_explain(REFUSED_PERF, EPERM, err);
		}
		goto fail;
	}
	p->ring = ring_buffer__new(bpf_map__fd(p->bpf->maps.ring), take_event, p, NULL);
	if (!p->ring) {
		r = err_set(err, ERR_FAILED, errno, "cannot map the event ring");
		goto fail;
	}
	r = map_positions(p, err);
	if (r)
		goto fail;
	r = probes_bpf__attach(p->bpf); /* the tracepoints; uprobes are attached one by one */
	if (r) {
		r = load_failed(r, err);
		goto fail;
	}
	r = open_code_list(p);
	if (r) {
		r = err_set(err, ERR_FAILED, -r, "cannot list the code of process %d",
			    (int)o->pid);
		err_hint(err, "--call-graph=fp or --call-graph=caller records without");
		goto fail;
	}
	r = open_wakeup(p);
	if (r) {
		r = err_set(err, ERR_FAILED, -r, "cannot wait for the event ring");
		goto fail;
	}
	*ret = p;
	return 0;
fail:
	probes_free(p);
	return r;
}

static void *detach_thread(void *arg)
{
	struct probes *p = arg;

	links_destroy(&p->links);
	return NULL;
}

void probes_detach(struct probes *p)
{
	p->is_detaching = !pthread_create(&p->detacher, NULL, detach_thread, p);
	if (!p->is_detaching)
		links_destroy(&p->links);
}

void probes_free(struct probes *p)
{
	if (!p)
		return;
	if (p->is_detaching)
		pthread_join(p->detacher, NULL);
	links_destroy(&p->links);
	links_release(&p->links);
	free(p->files);
	probes_end_ring(p);
	bpf_link__destroy(p->code_list);
	if (p->wakeup >= 0)
		close(p->wakeup);
	free(p->mode_reason);
	probes_bpf__destroy(p->bpf);
	free(p);
}

/* ---- attaching -------------------------------------------------------------------- */

static uint64_t cookie_of(const struct plan_point *p)
{
	if (p->role == PLAN_SYSCALL)
		return MAPPING_COOKIE(p->syscall, p->is_shared);
	if (p->role == PLAN_EXIT)
		return family_exit_cookie(p->family, p->function, &p->exit);
	return p->role == PLAN_CALL ? family_cookie(p->family, p->function, p->site.stack_bytes,
						      p->at_exits)
				    : 0;
}

/* What is to be put on one file, in the order in which it is: see add_points(). */
struct wanted {
	struct link_point *points;
	size_t n, cap;
};

static void want(struct wanted *w, const struct plan_point *point, struct bpf_program *program,
		 bool at_return)
{
	ARRAY_GROW(w->points, w->cap, w->n);
	w->points[w->n++] = (struct link_point){
		.program = program,
		.name = point->role == PLAN_HOOK ? "the debug hook" : point->symbol,
		.offset = point->file_offset,
		.cookie = cookie_of(point),
		.at_return = at_return,
	};
}

static bool is_call(const struct plan_point *p)
{
	return p->role == PLAN_CALL && !family_function_frees(p->function);
}

/* Where calls end comes first: an entry without it would leave a call in flight. */
static void add_points(const struct probes *p, const struct plan_object *o, struct wanted *w)
{
	struct bpf_program *entry = probes_stack_mode(p) <= STACK_MODE_FP
					    ? p->bpf->progs.probe_unwinding_entry
					    : p->bpf->progs.probe_call_entry;
	struct bpf_program *mapping = probes_stack_mode(p) <= STACK_MODE_FP
					      ? p->bpf->progs.probe_unwinding_mapping
					      : p->bpf->progs.probe_mapping;
	const struct plan_point *const points = o->points;

	for (size_t i = 0; i < o->n_points && !p->entries_only; i++)
		if (points[i].role == PLAN_UNWIND)
			want(w, &points[i], p->bpf->progs.probe_unwind, false);
	for (size_t i = 0; i < o->n_points && !p->entries_only; i++)
		if (points[i].role == PLAN_EXIT)
			want(w, &points[i], p->bpf->progs.probe_call_exit, false);
	for (size_t i = 0; i < o->n_points && !p->entries_only; i++)
		if (is_call(&points[i]) && family_function_returns(points[i].function) &&
		    !points[i].at_exits)
			want(w, &points[i], p->bpf->progs.probe_call_return, true);
	for (size_t i = 0; i < o->n_points; i++)
		if (is_call(&points[i]))
			want(w, &points[i], entry, false);
	for (size_t i = 0; i < o->n_points && !p->entries_only; i++)
		if (points[i].role == PLAN_CALL && !is_call(&points[i]))
			want(w, &points[i], p->free_stacks ? p->bpf->progs.probe_unwinding_free
							   : p->bpf->progs.probe_free, false);
	for (size_t i = 0; i < o->n_points; i++)
		if (points[i].role == PLAN_SYSCALL)
			want(w, &points[i], mapping, false);
	for (size_t i = 0; i < o->n_points; i++)
		if (points[i].role == PLAN_HOOK)
			want(w, &points[i], p->bpf->progs.probe_debug_hook, false);
}

static int attach_object(struct probes *p, const struct plan_object *o, struct err *err)
{
	const struct link_point *failed = NULL;
	struct wanted w = {0};
	int r;

	add_points(p, o, &w);
	r = links_attach(&p->links, o->file, w.points, w.n, &failed);
	if (r) {
		err_set(err, ERR_FAILED, -r, "cannot put a probe on %s of '%s' in process %d",
			failed->name, o->path, (int)p->pid);
		refusal_explain(REFUSED_PERF, -r, err);
	}
	free(w.points);
	return r;
}

int probes_attach(struct probes *p, const struct plan *plan, struct err *err)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *o = &plan->objects[i];
		bool known = false;
		int r;

		for (size_t j = 0; j < p->n_files && !known; j++)
			known = p->files[j].device == o->device && p->files[j].inode == o->inode;
		if (known)
			continue;
		r = attach_object(p, o, err);
		if (r)
			return r;
		ARRAY_GROW(p->files, p->cap_files, p->n_files);
		p->files[p->n_files++] = (struct attached_file){o->device, o->inode};
	}
	return 0;
}

void probes_sweep(struct probes *p)
{
	uint32_t forks = __atomic_load_n(&p->bpf->bss->forks, __ATOMIC_SEQ_CST);

	if (forks == p->forks_swept)
		return;
	p->forks_swept = forks;
	links_sweep(&p->links, p->bpf->progs.probe_unwind);
}

size_t probes_attached(const struct probes *p)
{
	return links_count(&p->links);
}

int probes_link_fd(const struct probes *p, size_t i)
{
	return links_fd(&p->links, i);
}

void probes_arm(struct probes *p, bool on)
{
	if (on && p->mappings)
		p->bpf->bss->last_break = process_break(p->pid);
	__atomic_store_n(&p->bpf->bss->armed, on, __ATOMIC_SEQ_CST);
}

void probes_close(struct probes *p)
{
	__atomic_store_n(&p->bpf->bss->closed, 1, __ATOMIC_SEQ_CST);
}

void probes_hold_at_debug_hook(struct probes *p, bool on)
{
	__atomic_store_n(&p->bpf->bss->hold_at_debug_hook, on, __ATOMIC_SEQ_CST);
}

void probes_hold_at_exec(struct probes *p, bool on)
{
	__atomic_store_n(&p->bpf->bss->hold_at_exec, on, __ATOMIC_SEQ_CST);
}

bool probes_is_held(const struct probes *p)
{
	return __atomic_load_n(&p->bpf->bss->held_ns, __ATOMIC_SEQ_CST) != 0;
}

void probes_end_hold(struct probes *p)
{
	__atomic_store_n(&p->bpf->bss->held_ns, 0, __ATOMIC_SEQ_CST);
}

void probes_give_up(struct probes *p)
{
	probes_arm(p, false);
	probes_close(p);
	probes_hold_at_debug_hook(p, false);
	probes_hold_at_exec(p, false);
}

/* ---- the ring --------------------------------------------------------------------- */

void probes_set_sink(struct probes *p, void (*expect)(void *arg, const struct ring_alloc *next),
		     void (*each)(void *arg, const struct ring_head *e, size_t len), void *arg)
{
	p->expect = expect;
	p->each = each;
	p->each_arg = arg;
}

bool probes_drain(struct probes *p, size_t most)
{
	p->budget = most;
	return p->ring && ring_buffer__consume(p->ring) == -EAGAIN;
}

void probes_end_ring(struct probes *p)
{
	ring_buffer__free(p->ring);
	p->ring = NULL;
	for (int i = 0; i < 2; i++) {
		if (p->ring_positions[i])
			munmap((void *)p->ring_positions[i], (size_t)sysconf(_SC_PAGESIZE));
		p->ring_positions[i] = NULL;
	}
}

size_t probes_ring_used(const struct probes *p)
{
	unsigned long consumer = __atomic_load_n(p->ring_positions[0], __ATOMIC_ACQUIRE);
	unsigned long producer = __atomic_load_n(p->ring_positions[1], __ATOMIC_ACQUIRE);

	return producer - consumer;
}

void probes_set_constants(struct probes *p, const uint64_t *sizes, size_t n)
{
	memcpy(p->bpf->bss->constants, sizes, n * sizeof(*sizes));
}

uint64_t probes_counter(const struct probes *p, enum probe_counter c)
{
	return __atomic_load_n(&p->bpf->bss->counters[c], __ATOMIC_RELAXED);
}

int probes_wakeup_fd(const struct probes *p)
{
	return p->wakeup;
}

void probes_take_wakeup(struct probes *p)
{
	struct epoll_event e;

	epoll_wait(p->wakeup, &e, 1, 0);
}

/* ---- stacks ----------------------------------------------------------------------- */

enum stack_mode probes_stack_mode(const struct probes *p)
{
	return (enum stack_mode)p->bpf->rodata->stack_mode;
}

const char *probes_stack_mode_reason(const struct probes *p)
{
	return p->mode_reason;
}

void probes_put_facts(const struct probes *p, struct store_writer *w)
{
	store_writer_put_text(w, "stack_mode", stack_mode_name(probes_stack_mode(p)));
	if (p->mode_reason)
		store_writer_put_text(w, "stack_mode_reason", p->mode_reason);
	if (p->free_stacks)
		store_writer_put_number(w, "free_stacks", 1);
	store_writer_put_text(w, "links", p->links.use_multi ? "uprobe_multi" : "perf");
}

int probes_list_code(struct probes *p, struct unwind_mapping **ret, size_t *ret_n)
{
	uint8_t *data = NULL;
	size_t len = 0, cap = 0;
	ssize_t n = 0;
	int fd = p->code_list ? bpf_iter_create(bpf_link__fd(p->code_list)) : -ENOTSUP;

	if (fd < 0)
		return fd;
	do {
		ARRAY_GROW(data, cap, len + 4096);
		n = read(fd, data + len, cap - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	close(fd);
	if (n < 0) {
		free(data);
		return -errno;
	}
	*ret = (struct unwind_mapping *)data;
	*ret_n = len / sizeof(**ret);
	return 0;
}

void probes_set_listing(struct probes *p, const struct unwind_mapping *mappings, size_t n,
			uint16_t generation)
{
	uint64_t whole = __atomic_load_n(&p->bpf->bss->code_generation, __ATOMIC_SEQ_CST);
	uint32_t at = !p->bpf->bss->listing_at;
	struct unwind_listing *l = &p->bpf->bss->listings[at];

	if ((uint16_t)whole != generation)
		return; /* what there is is as old */
	__atomic_store_n(&l->generation, UNWIND_LISTING_IN_WORK, __ATOMIC_SEQ_CST);
	l->n = n < UNWIND_LISTED_MAX ? (uint32_t)n : UNWIND_LISTED_MAX;
	memcpy(l->mappings, mappings, l->n * sizeof(*mappings));
	__atomic_store_n(&l->generation, whole, __ATOMIC_SEQ_CST);
	__atomic_store_n(&p->bpf->bss->listing_at, at, __ATOMIC_SEQ_CST);
}

/* All at once: for each change of such a map the kernel waits until no program runs. */
static int put_slabs(struct probes *p, const uint32_t *at, const int *fds, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = 0);
	int map = bpf_map__fd(p->bpf->maps.unwind_slabs);
	uint32_t done = n;

	if (bpf_map_update_batch(map, at, fds, &done, &opts) == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++) /* an older kernel */
		if (bpf_map_update_elem(map, &at[i], &fds[i], BPF_ANY))
			return -errno;
	return 0;
}

int probes_add_unwind_slabs(struct probes *p, uint32_t first, uint32_t n, int *ret_fds)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	uint32_t at[UNWIND_SLABS_MAX], made = 0;
	int r = 0;

	for (; made < n && !r; made += !r) {
		at[made] = first + made;
		ret_fds[made] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_slab", sizeof(uint32_t),
					       UNWIND_SLAB_WORDS * sizeof(uint32_t), 1, &opts);
		r = ret_fds[made] < 0 ? -errno : 0;
	}
	if (!r)
		r = put_slabs(p, at, ret_fds, n);
	while (r && made)
		close(ret_fds[--made]);
	return r;
}

void probes_set_unwind_rule(struct probes *p, uint32_t number, uint64_t rule)
{
	p->bpf->bss->unwind_rules[number] = rule;
}

int probes_show_unwind_file(struct probes *p, const struct unwind_file_key *key,
			    const struct unwind_file *table)
{
	int fd = bpf_map__fd(p->bpf->maps.unwind_files);
	int r = table ? bpf_map_update_elem(fd, key, table, BPF_ANY) : bpf_map_delete_elem(fd, key);

	return r ? -errno : 0;
}

void probes_set_vdso_table(struct probes *p, const struct unwind_file *table)
{
	p->bpf->bss->vdso_file = *table;
}

void probes_set_vdso(struct probes *p, uint64_t start, uint64_t end)
{
	__atomic_store_n(&p->bpf->bss->vdso_end, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&p->bpf->bss->vdso_start, start, __ATOMIC_SEQ_CST);
	__atomic_store_n(&p->bpf->bss->vdso_end, end, __ATOMIC_SEQ_CST);
}

uint16_t probes_code_generation(const struct probes *p)
{
	return (uint16_t)__atomic_load_n(&p->bpf->bss->code_generation, __ATOMIC_SEQ_CST);
}

uint64_t probes_tables_asked(const struct probes *p)
{
	return __atomic_load_n(&p->bpf->bss->tables_asked, __ATOMIC_SEQ_CST);
}

void probes_set_tables_ready(struct probes *p, uint64_t asked)
{
	__atomic_store_n(&p->bpf->bss->tables_ready, asked, __ATOMIC_SEQ_CST);
}

bool probes_take_tables_wanted(struct probes *p)
{
	return __atomic_exchange_n(&p->bpf->bss->tables_wanted, 0, __ATOMIC_SEQ_CST);
}
