/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/checkpoint_job.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "analyzer/checkpoint.h"
#include "common/xalloc.h"

/* The recorder goes first. */
#define NICE 10

struct checkpoint_job {
	struct replay heap; /* the thread's, until it is done */
	struct checkpoint_packer packer;
	pthread_t thread;
	bool is_joined;
	atomic_bool is_done;
};

static void add(void *packer, const void *data, size_t len)
{
	checkpoint_packer_add(packer, data, len);
}

static void *run(void *job)
{
	struct checkpoint_job *j = job;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* of the thread alone */
	checkpoint_save_heap(&j->heap, add, &j->packer);
	checkpoint_packer_end(&j->packer);
	atomic_store(&j->is_done, true);
	return NULL;
}

/* Of more than these it would take gigabytes, beside the heap itself. */
#define BLOCKS_MAX (32u << 20)

struct checkpoint_job *checkpoint_job_start(const struct replay *heap, uint64_t chunk,
					    uint64_t t_ns)
{
	struct checkpoint_job *j;
	sigset_t all, before;
	int r;

	if (heap->slots.next > BLOCKS_MAX)
		return NULL;
	j = xcalloc(1, sizeof(*j));
	replay_copy(&j->heap, heap);
	checkpoint_packer_begin(&j->packer, CHECKPOINT_HEAP, chunk, t_ns);
	sigfillset(&all); /* they are the recorder's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&j->thread, NULL, run, j);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r)
		return j;
	j->is_joined = true;
	checkpoint_job_free(j);
	return NULL;
}

bool checkpoint_job_is_done(const struct checkpoint_job *j)
{
	return atomic_load(&j->is_done);
}

struct checkpoint_packer *checkpoint_job_wait(struct checkpoint_job *j)
{
	if (!j->is_joined)
		pthread_join(j->thread, NULL);
	j->is_joined = true;
	return &j->packer;
}

void checkpoint_job_free(struct checkpoint_job *j)
{
	if (!j)
		return;
	checkpoint_job_wait(j);
	replay_release(&j->heap);
	checkpoint_packer_release(&j->packer);
	free(j);
}
