/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/mapping_calls.h"

#include <sys/syscall.h>

#include "common/xalloc.h"
#include "image/syscall_sites.h"

/* As x86 numbers them; the kernel spoils rax, rcx and r11 only. */
enum { RDX = 1 << 2, RSI = 1 << 6, RDI = 1 << 7, R10 = 1 << 10 };

static const struct syscall_wanted calls[] = {
	{SYS_mmap, RSI | R10},
	{SYS_munmap, RDI | RSI},
	{SYS_mremap, RDI | RSI | RDX | R10},
	{SYS_brk, RDI},
	{SYS_shmat, 0},
	{SYS_shmdt, RDI},
};

static const char *name_of(long number)
{
	switch (number) {
	case SYS_mmap:
		return "mmap";
	case SYS_munmap:
		return "munmap";
	case SYS_mremap:
		return "mremap";
	case SYS_brk:
		return "brk";
	case SYS_shmat:
		return "shmat";
	case SYS_shmdt:
		return "shmdt";
	}
	return "?";
}

static void add(struct plan_object *o, struct elf_file *elf, const struct syscall_site *site)
{
	struct plan_point *p;
	uint64_t offset;

	if (!elf_file_offset_of(elf, site->address, &offset))
		return;
	ARRAY_GROW(o->points, o->cap_points, o->n_points);
	p = &o->points[o->n_points++];
	*p = (struct plan_point){.role = PLAN_SYSCALL,
				 .symbol = name_of(site->number),
				 .syscall = site->number,
				 .is_shared = site->is_shared,
				 .file_offset = offset,
				 .site.emulated = site->emulated};
	memcpy(p->site.instruction, site->instruction, sizeof(site->instruction));
}

void mapping_calls_plan(struct plan_object *o, struct elf_file *elf)
{
	struct syscall_sites sites;

	syscall_sites_find(elf, calls, COUNT_OF(calls), &sites);
	for (size_t i = 0; i < sites.n; i++)
		add(o, elf, &sites.sites[i]);
	o->n_unsure = sites.unsure;
	syscall_sites_release(&sites);
}
