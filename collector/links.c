/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/links.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#include "collector/refusal.h"
#include "collector/uprobe_multi.h"
#include "common/xalloc.h"

bool links_want_multi(void)
{
	const char *wish = getenv("HEAPTRAIL_LINKS");
	int e;

	if (wish && !strcmp(wish, "perf"))
		return false;
	if (wish && !strcmp(wish, "multi"))
		return uprobe_multi_is_supported();
	if (uprobe_multi_is_whole())
		return true;
	e = refusal_try_uprobe();
	return (e == EPERM || e == EACCES) && !refusal_has_capability(CAP_SYS_ADMIN);
}

static int attach_perf(struct links *l, const char *path, const struct link_point *p)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = p->at_return, .bpf_cookie = p->cookie);
	struct bpf_link *link =
		bpf_program__attach_uprobe_opts(p->program, l->pid, path, p->offset, &opts);

	if (!link)
		return -errno;
	ARRAY_GROW(l->perf, l->cap_perf, l->n_perf);
	l->perf[l->n_perf++] = link;
	return 0;
}

static int attach_multi(struct links *l, const char *path, const struct link_point *points,
			size_t n)
{
	uint64_t *offsets = xmalloc(n * sizeof(*offsets)), *cookies = xmalloc(n * sizeof(*cookies));
	struct links_file *file;
	int fd;

	for (size_t i = 0; i < n; i++) {
		offsets[i] = points[i].offset;
		cookies[i] = points[i].cookie;
	}
	fd = uprobe_multi_attach(bpf_program__fd(points->program), l->pid, path, offsets, cookies,
				 (uint32_t)n, points->at_return);
	free(cookies);
	if (fd < 0) {
		free(offsets);
		return fd;
	}
	ARRAY_GROW(l->multi, l->cap_multi, l->n_multi);
	l->multi[l->n_multi++] = fd;
	ARRAY_GROW(l->files, l->cap_files, l->n_files);
	file = &l->files[l->n_files++];
	*file = (struct links_file){.path = xstrdup(path), .offsets = offsets, .n = n};
	return 0;
}

int links_attach(struct links *l, const char *path, const struct link_point *points, size_t n,
		 const struct link_point **ret_failed)
{
	size_t same;

	for (size_t i = 0; i < n; i += same) {
		const struct link_point *p = &points[i];
		int r;

		for (same = 1; l->use_multi && i + same < n; same++)
			if (p[same].program != p->program || p[same].at_return != p->at_return)
				break;
		r = l->use_multi ? attach_multi(l, path, p, same) : attach_perf(l, path, p);
		if (r) {
			*ret_failed = p;
			return r;
		}
	}
	return 0;
}

/* When a probe of one process goes, the kernel looks at all others whether they need it. */
void links_sweep(const struct links *l, struct bpf_program *any)
{
	for (size_t i = 0; i < l->n_files; i++) {
		const struct links_file *f = &l->files[i];
		uint64_t *cookies = xcalloc(f->n, sizeof(*cookies));
		int fd = uprobe_multi_attach(bpf_program__fd(any), getpid(), f->path, f->offsets,
					     cookies, (uint32_t)f->n, false);

		free(cookies);
		if (fd >= 0)
			close(fd);
	}
}

size_t links_count(const struct links *l)
{
	return l->n_perf + l->n_multi;
}

int links_fd(const struct links *l, size_t i)
{
	return i < l->n_perf ? bpf_link__fd(l->perf[i]) : l->multi[i - l->n_perf];
}

void links_destroy(struct links *l)
{
	for (size_t i = 0; i < l->n_perf; i++)
		bpf_link__destroy(l->perf[i]);
	for (size_t i = 0; i < l->n_multi; i++)
		close(l->multi[i]);
	l->n_perf = l->n_multi = 0;
}

void links_release(struct links *l)
{
	for (size_t i = 0; i < l->n_files; i++) {
		free(l->files[i].path);
		free(l->files[i].offsets);
	}
	free(l->files);
	free(l->perf);
	free(l->multi);
	memset(l, 0, sizeof(*l));
}
