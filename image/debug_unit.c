/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/debug_unit.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/demangle.h"

/*
 * The entries of a unit are walked once for all its places, and only into those whose
 * code has one of them.  Each place is left with the innermost function that was met,
 * a scope, which leads to the function that it is inlined into, and so on.
 */

#define NESTING_MAX 512 /* no program's; a walk of a damaged unit has to end */

struct scope {
	Dwarf_Die die;
	uint32_t parent; /* the one it is inlined into; 0: none */
	char *function;	 /* NULL: not asked for yet, or not known */
	bool named;
};

struct walk {
	struct debug_unit_task *task;
	struct scope *scopes; /* number 0 is no function */
	size_t n_scopes, cap_scopes;
	const char *folder; /* where the compiler ran, or NULL */
	struct symbolized *chain;
	size_t cap_chain;
	char **paths; /* made for @chain */
	size_t n_paths, cap_paths;
};

static size_t first_at(const struct debug_places *p, uint64_t address)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->places[mid].address < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Calls @each for all places in the code of @die that it returns true for; returns how many. */
static size_t each_place(struct walk *w, Dwarf_Die *die,
			 bool (*each)(struct debug_place *, uint32_t), uint32_t arg)
{
	struct debug_places *p = w->task->places;
	Dwarf_Addr base, low, high;
	ptrdiff_t at = 0;
	size_t n = 0;

	while ((at = dwarf_ranges(die, at, &base, &low, &high)) > 0) {
		if (low < p->code_start)
			continue;
		for (size_t i = first_at(p, low); i < p->n && p->places[i].address < high; i++)
			n += each(&p->places[i], arg);
	}
	w->task->damaged |= at < 0;
	return n;
}

/* ---- the walk ------------------------------------------------------------------- */

static bool is_inside(struct debug_place *p, uint32_t scope)
{
	return p->wanted && p->scope == scope;
}

#define NEW_SCOPE UINT32_MAX

/* Of two that overlap the first keeps the place. */
static bool take(struct debug_place *p, uint32_t parent)
{
	if (!is_inside(p, parent))
		return false;
	p->scope = NEW_SCOPE;
	return true;
}

static bool number(struct debug_place *p, uint32_t scope)
{
	if (!is_inside(p, NEW_SCOPE))
		return false;
	p->scope = scope;
	return true;
}

/* The scope of @die, if it has any of the places in @outer; else 0. */
static uint32_t enter_function(struct walk *w, Dwarf_Die *die, uint32_t outer, uint32_t parent)
{
	if (!each_place(w, die, take, outer))
		return 0;
	ARRAY_GROW(w->scopes, w->cap_scopes, w->n_scopes);
	w->scopes[w->n_scopes] = (struct scope){.die = *die, .parent = parent};
	each_place(w, die, number, (uint32_t)w->n_scopes);
	return (uint32_t)w->n_scopes++;
}

/* @scope: the function around it, or 0. */
static void walk_children(struct walk *w, Dwarf_Die *die, uint32_t scope, unsigned int nesting);

static void walk_die(struct walk *w, Dwarf_Die *die, uint32_t scope, unsigned int nesting)
{
	uint32_t inner;

	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
	case DW_TAG_entry_point:
		inner = enter_function(w, die, scope, 0);
		break;
	case DW_TAG_inlined_subroutine:
		inner = enter_function(w, die, scope, scope);
		break;
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
		if (dwarf_hasattr(die, DW_AT_low_pc) || dwarf_hasattr(die, DW_AT_ranges))
			inner = each_place(w, die, is_inside, scope) ? scope : 0;
		else
			inner = scope;
		break;
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		walk_children(w, die, scope, nesting + 1);
		return;
	default:
		return;
	}
	if (inner)
		walk_children(w, die, inner, nesting + 1);
}

static void walk_children(struct walk *w, Dwarf_Die *die, uint32_t scope, unsigned int nesting)
{
	Dwarf_Die child;
	int r;

	if (nesting > NESTING_MAX) {
		w->task->damaged = true;
		return;
	}
	for (r = dwarf_child(die, &child); r == 0; r = dwarf_siblingof(&child, &child))
		walk_die(w, &child, scope, nesting);
	w->task->damaged |= r < 0;
}

/* ---- what is known of a place --------------------------------------------------- */

static const char *string_of(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute a;

	return dwarf_attr_integrate(die, name, &a) ? dwarf_formstring(&a) : NULL;
}

/*
 * Where a compiler leaves out the linkage name (GCC does so in unnamed namespaces), the
 * symbol of a function that is not inlined has it, with what a clone was given (".isra.0").
 */
static char *name_of_symbol(const struct debug_unit_task *t, Dwarf_Die *die)
{
	Dwarf_Addr start;
	const char *symbol = NULL;
	char *mangled, *name;

	if (!dwarf_entrypc(die, &start))
		symbol = t->symbol_at(t->symbol_arg, start);
	if (!symbol || symbol[0] != '_' || (symbol[1] != 'Z' && symbol[1] != 'R'))
		return NULL;
	mangled = xstrndup(symbol, strcspn(symbol, "."));
	name = demangle_unless(t->linkage_names, mangled);
	free(mangled);
	return name;
}

static const char *function_of(const struct debug_unit_task *t, struct scope *s)
{
	const char *name;

	if (s->named)
		return s->function;
	s->named = true;
	name = string_of(&s->die, DW_AT_linkage_name);
	if (!name)
		name = string_of(&s->die, DW_AT_MIPS_linkage_name);
	if (name)
		s->function = demangle_unless(t->linkage_names, name);
	else if (!s->parent)
		s->function = name_of_symbol(t, &s->die);
	if (!s->function && (name = string_of(&s->die, DW_AT_name)))
		s->function = xstrdup(name);
	return s->function;
}

/* A file's name as far as it is known; it lives until the next place. */
static const char *path_of(struct walk *w, const char *name)
{
	if (!name || !*name || !strcmp(name, "???"))
		return NULL;
	if (*name == '/' || !w->folder)
		return name;
	ARRAY_GROW(w->paths, w->cap_paths, w->n_paths);
	w->paths[w->n_paths] = xasprintf("%s/%s", w->folder, name);
	return w->paths[w->n_paths++];
}

static void forget_paths(struct walk *w)
{
	while (w->n_paths)
		free(w->paths[--w->n_paths]);
}

/* Where the function of @s was inlined. */
static void take_call(struct walk *w, struct scope *s, struct symbolized *ret)
{
	Dwarf_Attribute a;
	Dwarf_Word number;
	Dwarf_Files *files;
	Dwarf_Die unit;
	size_t n;

	if (dwarf_attr(&s->die, DW_AT_call_line, &a) && !dwarf_formudata(&a, &number) &&
	    number <= UINT32_MAX)
		ret->line = (uint32_t)number;
	if (dwarf_attr(&s->die, DW_AT_call_file, &a) && !dwarf_formudata(&a, &number) &&
	    dwarf_diecu(&s->die, &unit, NULL, NULL) && !dwarf_getsrcfiles(&unit, &files, &n) &&
	    number < n)
		ret->file = path_of(w, dwarf_filesrc(files, number, NULL, NULL));
}

static bool take_line(struct walk *w, Dwarf_Die *unit, uint64_t address, struct symbolized *ret)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, address);
	int number;

	if (!line)
		return false;
	ret->file = path_of(w, dwarf_linesrc(line, NULL, NULL));
	if (!dwarf_lineno(line, &number) && number > 0)
		ret->line = (uint32_t)number;
	return ret->file;
}

/* False where nothing is known of it here. */
static bool name_place(struct walk *w, Dwarf_Die *unit, struct debug_place *p)
{
	const struct debug_unit_task *t = w->task;
	struct symbolized here = {.place = p->place};
	char *symbol = NULL;
	size_t n = 0;

	if (!take_line(w, unit, p->address, &here) && !p->scope)
		return false;
	for (uint32_t i = p->scope; i || !n; i = w->scopes[i].parent) {
		ARRAY_GROW(w->chain, w->cap_chain, n);
		here.depth = (uint32_t)n;
		here.function = i ? function_of(t, &w->scopes[i]) : NULL;
		w->chain[n++] = here;
		here = (struct symbolized){.place = p->place};
		if (!i)
			break;
		take_call(w, &w->scopes[i], &here);
	}
	if (!w->chain[n - 1].function) { /* of the code as a whole the symbol table knows it */
		const char *mangled = t->symbol_at(t->symbol_arg, p->address);

		symbol = mangled ? demangle_unless(t->linkage_names, mangled) : NULL;
		w->chain[n - 1].function = symbol;
	}
	t->each(t->arg, w->chain, n);
	free(symbol);
	forget_paths(w);
	return true;
}

/* ---- a unit --------------------------------------------------------------------- */

static bool want(struct debug_place *p, uint32_t ignored)
{
	(void)ignored;
	if (p->done || p->wanted)
		return false;
	p->wanted = true;
	p->scope = 0;
	return true;
}

static void name_places(struct walk *w, Dwarf_Die *unit)
{
	struct debug_places *p = w->task->places;
	Dwarf_Addr base, low, high;
	ptrdiff_t at = 0;

	while ((at = dwarf_ranges(unit, at, &base, &low, &high)) > 0) {
		if (low < p->code_start)
			continue;
		for (size_t i = first_at(p, low); i < p->n && p->places[i].address < high; i++) {
			if (!p->places[i].wanted)
				continue;
			p->places[i].wanted = false;
			p->places[i].done = name_place(w, unit, &p->places[i]);
		}
	}
}

/* Where its entries are: in a file of their own, if that is to be found. */
static Dwarf_Die entries_of(Dwarf_Die *unit)
{
	Dwarf_Die split = {0};
	uint8_t type;

	if (!dwarf_cu_info(unit->cu, NULL, &type, NULL, &split, NULL, NULL, NULL) &&
	    type == DW_UT_skeleton && split.addr)
		return split;
	return *unit;
}

void debug_unit_look_up(struct debug_unit_task *task, Dwarf_Die *unit)
{
	struct walk w = {.task = task, .n_scopes = 1};
	Dwarf_Die entries;
	Dwarf_Lines *lines;
	size_t rows = 0;

	if (!each_place(&w, unit, want, 0))
		return;
	ARRAY_GROW(w.scopes, w.cap_scopes, 0);
	entries = entries_of(unit);
	walk_children(&w, &entries, 0, 0);
	w.folder = string_of(unit, DW_AT_comp_dir);
	if (dwarf_hasattr(unit, DW_AT_stmt_list) && dwarf_getsrclines(unit, &lines, &rows))
		task->damaged = true;
	task->rows += rows;
	name_places(&w, unit);
	for (size_t i = 0; i < w.n_scopes; i++)
		free(w.scopes[i].function);
	free(w.scopes);
	free(w.paths);
	free(w.chain);
}
