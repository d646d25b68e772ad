/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain_stacks.h"

/* So many stacks are remembered before those of code that may be gone are forgotten. */
#define STACKS_KEPT 8192

void drain_note_stack(struct drain *d, const struct ring_stack *r)
{
	uint32_t *stack = hashmap_put(&d->stacks, r->id);

	if (*stack != HASHMAP_NONE)
		return; /* sent by two threads, or again */
	*stack = call_sites_stack(&d->sites, r->frames, r->n, r->head.generation,
				  (enum stack_end)r->end, d->last_ns).v;
	d->counts.guessed_frames += r->guesses;
}

/* With another generation ids are others: those from before are of calls under way only. */
void drain_forget_old_stacks(struct drain *d)
{
	if (d->stacks.n < STACKS_KEPT || d->generation == d->forgot_generation)
		return;
	d->forgot_generation = d->generation;
	hashmap_release(&d->older_stacks);
	d->older_stacks = d->stacks;
	d->stacks = (struct hashmap){0};
}

struct stack_id drain_caller_stack(struct drain *d, const struct ring_head *h, uint64_t caller,
				    enum stack_end end)
{
	if (end == STACK_CALLER)
		return call_sites_caller(&d->sites, caller, h->generation, d->last_ns);
	return call_sites_stack(&d->sites, &caller, 1, h->generation, end, d->last_ns);
}

static enum stack_end why_no_stack(uint64_t id)
{
	uint64_t end = RING_NO_STACK_END(id);

	return end == STACK_COMPLETE || end >= STACK_ENDS ? STACK_LOST : (enum stack_end)end;
}

struct stack_id drain_alloc_stack(struct drain *d, const struct ring_head *h, uint64_t id,
				      uint64_t caller)
{
	uint32_t stack = HASHMAP_NONE;

	switch (d->stack_mode) {
	case STACK_MODE_NONE:
		return (struct stack_id){0};
	case STACK_MODE_CALLER:
		return drain_caller_stack(d, h, caller, STACK_CALLER);
	case STACK_MODE_AUTO:
	case STACK_MODE_FP:
		break;
	}
	if (!RING_IS_STACK(id))
		return drain_caller_stack(d, h, caller, why_no_stack(id));
	stack = hashmap_get(&d->stacks, id);
	if (stack == HASHMAP_NONE)
		stack = hashmap_get(&d->older_stacks, id);
	return stack == HASHMAP_NONE ? drain_caller_stack(d, h, caller, STACK_LOST)
				     : (struct stack_id){stack};
}
