/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/allocation_calls.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

struct allocation_calls {
	struct elf_file *elf;
	/* those that are defined in the file */
	struct allocation_function {
		uint64_t address, size;
		enum allocation_form form;
		bool is_runtime; /* … of C++, not the program's */
	} *functions;
	size_t n, cap;
	struct hashmap by_target; /* what is called -> its form */
};

/* ---- names ---------------------------------------------------------------------------- */

enum allocation_form allocation_form_of(const char *symbol)
{
	static const char *const c[] = {"malloc", "calloc", "realloc", "reallocarray", "free",
					"cfree", "posix_memalign", "aligned_alloc", "memalign",
					"valloc", "pvalloc"};
	static const struct {
		const char *begin;
		enum allocation_form form;
	} operators[] = {
		{"_Znwm", FORM_NEW}, {"_ZdlPv", FORM_NEW},
		{"_Znam", FORM_NEW_ARRAY}, {"_ZdaPv", FORM_NEW_ARRAY},
	};

	for (size_t i = 0; i < COUNT_OF(c); i++)
		if (!strcmp(symbol, c[i]))
			return FORM_C;
	/* behind these are sizes, alignments and std::nothrow */
	for (size_t i = 0; i < COUNT_OF(operators); i++)
		if (!strncmp(symbol, operators[i].begin, strlen(operators[i].begin)))
			return operators[i].form;
	return FORM_UNKNOWN;
}

/* Where an instruction leads that has a distance at its @end. */
static uint64_t behind(uint64_t end, const uint8_t *bytes)
{
	int32_t distance;

	memcpy(&distance, bytes, sizeof(distance));
	return end + (uint64_t)(int64_t)distance;
}

/* ---- functions of the file -------------------------------------------------------------- */

static bool add_function(void *arg, const char *name, const struct elf_symbol *symbol)
{
	struct allocation_calls *c = arg;
	enum allocation_form form = FORM_UNKNOWN;

	/* most of a large program's are of C++, and almost none an operator */
	if (name[0] != '_' || (name[1] == 'Z' && (name[2] == 'n' || name[2] == 'd')))
		form = allocation_form_of(name);
	if (form) {
		ARRAY_GROW(c->functions, c->cap, c->n);
		c->functions[c->n++] = (struct allocation_function){symbol->address, symbol->size,
								    form, false};
	}
	return true;
}

static bool is_runtime(struct elf_file *elf)
{
	static const char *const names[] = {"libstdc++.so", "libc++.so", "libc++abi.so"};
	const char *soname = elf_file_soname(elf);

	for (size_t i = 0; i < COUNT_OF(names) && soname; i++)
		if (!strncmp(soname, names[i], strlen(names[i])))
			return true;
	return false;
}

#define OPERATOR_BYTES_MAX 512

/* Where the runtime is linked statically: its operator new asks for the handler of failures. */
static bool calls_function(struct elf_file *elf, const struct allocation_function *f,
			   uint64_t called)
{
	uint8_t code[OPERATOR_BYTES_MAX];
	size_t want = f->size < sizeof(code) ? f->size : sizeof(code);
	ssize_t n = elf_file_read(elf, f->address, code, want);

	for (ssize_t i = 0; i + 5 <= n; i++)
		if (code[i] == 0xe8 &&
		    behind(f->address + (uint64_t)i + 5, &code[i + 1]) == called)
			return true;
	return false;
}

static void find_runtime(struct allocation_calls *c)
{
	bool all = is_runtime(c->elf);
	struct elf_symbol handler;
	bool has_handler =
		!all && elf_file_find_function(c->elf, "_ZSt15get_new_handlerv", &handler);

	for (size_t i = 0; i < c->n; i++)
		c->functions[i].is_runtime =
			all || (has_handler && c->functions[i].form != FORM_C &&
				calls_function(c->elf, &c->functions[i], handler.address));
}

struct allocation_calls *allocation_calls_new(struct elf_file *elf)
{
	struct allocation_calls *c = xcalloc(1, sizeof(*c));

	c->elf = elf;
	elf_file_each_function(elf, add_function, c);
	find_runtime(c);
	return c;
}

void allocation_calls_free(struct allocation_calls *c)
{
	if (!c)
		return;
	hashmap_release(&c->by_target);
	free(c->functions);
	free(c);
}

/* ---- calls ---------------------------------------------------------------------------- */

/* One function may have several names: if these are of different forms, it tells none. */
static enum allocation_form form_at(const struct allocation_calls *c, uint64_t address)
{
	enum allocation_form form = FORM_UNKNOWN;

	for (size_t i = 0; i < c->n; i++) {
		const struct allocation_function *f = &c->functions[i];

		if (f->address != address || f->form == form)
			continue;
		if (form == FORM_C || (form && f->form == FORM_C))
			return FORM_UNKNOWN;
		form = form ? FORM_ANY_NEW : f->form;
	}
	return form;
}

/* Of what the pointer there leads to, once it is linked. */
static enum allocation_form form_of_slot(const struct allocation_calls *c, uint64_t slot)
{
	const char *name;
	uint64_t address = elf_file_pointer_at(c->elf, slot, &name);

	return name ? allocation_form_of(name) : address ? form_at(c, address) : FORM_UNKNOWN;
}

#define JUMPS_MAX 4

/* Of code that only jumps on: [endbr64] [bnd] jmp *slot(%rip), as a linkage table has; or jmp. */
static enum allocation_form form_of_jump(const struct allocation_calls *c, uint64_t address)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	enum allocation_form form = FORM_UNKNOWN;

	for (int i = 0; i < JUMPS_MAX && !form; i++) {
		uint8_t code[11] = {0};
		size_t at = 0;

		if (elf_file_read(c->elf, address, code, sizeof(code)) < 5)
			break;
		if (!memcmp(code, endbr64, sizeof(endbr64)))
			at = sizeof(endbr64);
		at += code[at] == 0xf2;
		if (at + 6 <= sizeof(code) && code[at] == 0xff && code[at + 1] == 0x25)
			return form_of_slot(c, behind(address + at + 6, &code[at + 2]));
		if (code[at] != 0xe9)
			break;
		address = behind(address + at + 5, &code[at + 1]);
		form = form_at(c, address);
	}
	return form;
}

/* The operator new or delete that the call is part of, or NULL. */
static const struct allocation_function *operator_around(const struct allocation_calls *c,
							 uint64_t return_address)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct allocation_function *f = &c->functions[i];

		/* the call may be the function's last instruction */
		if (f->form != FORM_C && return_address - 1 - f->address < f->size)
			return f;
	}
	return NULL;
}

static enum allocation_form form_called(struct allocation_calls *c, uint64_t return_address)
{
	uint8_t code[6];
	bool is_direct;
	uint64_t target;
	uint32_t *known;

	if (return_address < sizeof(code) ||
	    elf_file_read(c->elf, return_address - sizeof(code), code, sizeof(code)) !=
		    (ssize_t)sizeof(code))
		return FORM_UNKNOWN;
	is_direct = code[1] == 0xe8; /* call target */
	if (!is_direct && (code[0] != 0xff || code[1] != 0x15)) /* call *slot(%rip) */
		return FORM_UNKNOWN;
	target = behind(return_address, &code[2]);
	known = hashmap_put(&c->by_target, target);
	if (*known == HASHMAP_NONE) {
		enum allocation_form form = is_direct ? form_at(c, target) : FORM_UNKNOWN;

		if (!form)
			form = is_direct ? form_of_jump(c, target) : form_of_slot(c, target);
		*known = form;
	}
	return (enum allocation_form)*known;
}

enum allocation_form allocation_calls_to(struct allocation_calls *c, uint64_t return_address)
{
	return operator_around(c, return_address) ? FORM_UNKNOWN : form_called(c, return_address);
}

enum allocation_form allocation_calls_within(struct allocation_calls *c, uint64_t return_address)
{
	const struct allocation_function *f = operator_around(c, return_address);

	/* that of an array, or of nothrow, calls the plain one */
	return f && (f->is_runtime || form_called(c, return_address) >= FORM_NEW) ? f->form
										  : FORM_UNKNOWN;
}
