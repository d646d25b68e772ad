/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/checkpoint_job.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "analyzer/checkpoint.h"
#include "common/xalloc.h"

/* The recorder goes first. */
#define NICE 10

/* How far it has come, one after the other. */
enum state {
	JOB_NEW,
	JOB_HAS_ROOM, /* it waits for the copy, or until it is not wanted any more */
	JOB_IS_DONE,
};

struct checkpoint_job {
	struct replay_room room;
	size_t slots, freed; /* that there shall be room for */
	struct replay heap; /* the copy */
	bool has_copy;
	struct checkpoint_packer packer;
	pthread_t thread;
	bool is_joined;
	sem_t may_go_on; /* has_copy says what with */
	atomic_int state;
};

static void add(void *packer, const void *data, size_t len)
{
	checkpoint_packer_add(packer, data, len);
}

static void *run(void *job)
{
	struct checkpoint_job *j = job;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* of the thread alone */
	replay_room_make(&j->room, j->slots, j->freed);
	atomic_store(&j->state, JOB_HAS_ROOM);
	while (sem_wait(&j->may_go_on) < 0 && errno == EINTR)
		;
	replay_room_release(&j->room);
	if (j->has_copy) {
		checkpoint_save_heap(&j->heap, add, &j->packer);
		checkpoint_packer_end(&j->packer);
		replay_release(&j->heap);
	}
	atomic_store(&j->state, JOB_IS_DONE);
	return NULL;
}

/* Of more than these it would take gigabytes, beside the heap itself. */
#define BLOCKS_MAX (32u << 20)
/* Until there is room it grows. */
#define SPARE_SHARE 16

struct checkpoint_job *checkpoint_job_start(const struct replay *heap)
{
	struct checkpoint_job *j;
	sigset_t all, before;
	int r;

	if (heap->slots.next > BLOCKS_MAX)
		return NULL;
	j = xcalloc(1, sizeof(*j));
	j->slots = heap->slots.next + heap->slots.next / SPARE_SHARE;
	j->freed = heap->slots.n_freed + heap->slots.next / SPARE_SHARE;
	sem_init(&j->may_go_on, 0, 0);
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

bool checkpoint_job_has_room(const struct checkpoint_job *j)
{
	return atomic_load(&j->state) == JOB_HAS_ROOM && !j->has_copy;
}

void checkpoint_job_copy(struct checkpoint_job *j, const struct replay *heap, uint64_t chunk,
			 uint64_t t_ns)
{
	replay_copy(&j->heap, heap, &j->room);
	checkpoint_packer_begin(&j->packer, CHECKPOINT_HEAP, chunk, t_ns);
	j->has_copy = true;
	sem_post(&j->may_go_on);
}

void checkpoint_job_leave(struct checkpoint_job *j)
{
	sem_post(&j->may_go_on);
}

bool checkpoint_job_is_done(const struct checkpoint_job *j)
{
	return atomic_load(&j->state) == JOB_IS_DONE;
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
	if (!j->has_copy)
		sem_post(&j->may_go_on);
	checkpoint_job_wait(j);
	checkpoint_packer_release(&j->packer);
	sem_destroy(&j->may_go_on);
	free(j);
}
