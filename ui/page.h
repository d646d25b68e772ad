/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_PAGE_H
#define UI_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/call_tree.h"
#include "analyzer/fragmentation_load.h"
#include "analyzer/history.h"
#include "analyzer/own.h"
#include "analyzer/rows.h"
#include "common/hash.h"
#include "ui/canvas.h"
#include "ui/table.h"
#include "ui/ui.h"

/* What the parts of the interface share; for ui/ only. */

enum view_kind {
	VIEW_OVERVIEW,
	VIEW_FILES,
	VIEW_FUNCTIONS,
	VIEW_TREE,
	VIEW_FLAME,
	VIEW_LEAKS,
	VIEW_SIZES,
	VIEW_THREADS,
	VIEW_FRAG,
	VIEW_GROWTH,
	ROOT_VIEWS, /* those before have a key of their own, the others are come to */
	VIEW_LINES = ROOT_VIEWS,
	VIEW_SOURCE,
	VIEW_STACKS,
	VIEW_STACK,
	VIEW_BLOCKS,
	VIEW_MAP,
	VIEW_PAGES,
	VIEW_PAGE,
	VIEW_HELP,
	VIEWS
};

/* What a page is about: all, or the blocks of some. */
struct scope {
	enum scope_kind {
		SCOPE_ALL,
		SCOPE_FILE,	/* own file; without one (NULL), of @module */
		SCOPE_FUNCTION, /* own function, of @module */
		SCOPE_LINE,	/* @line of @file, and @function */
		SCOPE_STACK,	/* those that read as @stack does */
		SCOPE_THREAD,	/* @key */
		SCOPE_SIZE,	/* the class of @key */
		SCOPE_PINNED,	/* mostly empty pages with blocks of site @key */
		SCOPE_PAGES,	/* the pages from @key to @end */
	} kind;
	char *file, *function; /* owned; may be NULL */
	struct module_id module;
	uint32_t line;
	struct stack_id stack;
	uint64_t key, end;
};

/* Where the user is, and what it shows. */
struct page {
	enum view_kind view;
	struct scope scope;
	struct table table;
	struct rows rows; /* that it was made of, where it was */
	struct table_state state;
	uint64_t version; /* of what the table was made of; 0: it is to be made */
	struct box box;	  /* where the table was drawn */
	/* of trees */
	struct call_tree *tree; /* the interface's */
	uint64_t generation;	/* the tree's when the nodes below were looked for */
	bool bottom_up;
	struct hashmap open; /* [path of functions] 1: it is */
	uint32_t zoom, selected; /* of the flame graph: nodes; of the map: a cell */
	uint64_t zoom_path, selected_path;
	uint32_t zoom_node, selected_node; /* that have these paths; 0: none is known */
	bool is_zoomed; /* by the user; else to where the first branches are */
	char *note; /* above the table, or NULL */
	struct growth_words *words; /* of the view of what grows, or NULL */
};

enum prompt_kind { PROMPT_NONE, PROMPT_SEARCH, PROMPT_FILTER, PROMPT_EXPORT, PROMPT_SAVE };

#define PAGES_MAX 32

/* What stacks are called in tables, as long as the catalog stays as it is. */
struct stack_texts {
	char **texts; /* [stack] NULL: nobody has asked yet */
	size_t cap;
	uint32_t *alike; /* [stack] the first of those that read so, + 1; 0: as above */
	size_t cap_alike;
	struct hashmap identities; /* -> that one */
	uint32_t *places; /* [stack] where its group is, if that is its group: see groups_alike() */
	size_t cap_places;
};

/* A call tree, and what it is of. */
struct counted_tree {
	struct call_tree tree;
	struct analysis analysis;
	uint64_t version;	  /* as that of a page */
	uint64_t catalog_version; /* 0: there is no tree */
};

struct ui {
	struct ui_options options;
	struct history *history;
	struct own own;
	uint64_t own_version; /* of the catalog when it was made */
	struct stack_texts *texts;
	struct counted_tree trees[2]; /* top down, bottom up */
	struct frag *frag; /* frag.c's */
	struct growth_shown *growth;  /* of the view of what grows; NULL: nobody has asked */
	struct page roots[ROOT_VIEWS];
	struct page *pages[PAGES_MAX]; /* the last is shown; the first is a root */
	size_t n_pages;
	int rows, cols;
	/* time */
	bool has_cursor; /* on the time line; else the end is shown */
	uint64_t cursor_ns;
	bool has_mark; /* the range begins there */
	uint64_t mark_ns;
	struct box time_box;
	/* the line at the bottom */
	enum prompt_kind prompt;
	char text[256]; /* typed so far */
	char before[TABLE_TEXT_MAX]; /* what the filter or search was */
	char message[512];
	bool message_is_bad;
	struct err read_err; /* the recording could not be read on */
	bool read_failed;
	bool lacks_names; /* they are being looked up */
	bool is_paused;
	bool is_over, is_changed;
};

/* ---- views.c ------------------------------------------------------------------------ */

struct view {
	const char *name;  /* on the line of views */
	const char *title; /* of a page; NULL: the name */
	void (*make)(struct ui *u, struct page *p);
	int sort; /* the column at first … */
	int counted_sort; /* … of a layer of countable things */
	bool needs_blocks; /* it shows single blocks, or their ages */
	bool needs_growth; /* it shows what happened over time */
};

extern const struct view views[VIEWS];

/* The column that a page is sorted by at first. */
static inline int view_sort(enum view_kind view, bool counted)
{
	return counted ? views[view].counted_sort : views[view].sort;
}

/* @counted: of a layer of countable things. */
void page_init(struct page *p, enum view_kind view, const struct scope *scope, bool counted);
void page_release(struct page *p);
/* Makes its table, if what it shows has changed. */
void page_make(struct ui *u, struct page *p);
/* Sorts and filters anew. */
void page_arrange(struct page *p);
/* What Enter goes to from @row; false: nowhere. */
bool page_drill(struct ui *u, struct page *p, const struct table_row *row,
		enum view_kind *ret_view, struct scope *ret_scope);
/* The scope of @row, for its blocks or stacks; false: it has none. */
bool page_scope_of_row(struct ui *u, struct page *p, const struct table_row *row,
		       struct scope *ret);
void scope_release(struct scope *s);
void scope_copy(struct scope *to, const struct scope *from);
/* In words: "of main.c"; to be freed. */
char *scope_text(const struct ui *u, const struct scope *s);
/* Is the stack in it? */
bool scope_has_stack(const struct ui *u, const struct scope *s, struct stack_id stack);

struct page *ui_page(const struct ui *u);
/* The view whose name is at that column of the line of views, or -1. */
int ui_view_at(const struct ui *u, int col);
/* The key at that column of the bar at the bottom, or NULL. */
const struct key *ui_key_at(const struct ui *u, int col);
void ui_push(struct ui *u, enum view_kind view, const struct scope *scope);
void ui_say(struct ui *u, bool is_bad, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The total that a table's sort column shows, as an offset in struct heap_totals. */
size_t page_total_offset(const struct page *p);
/* Is it of countable things without sizes?  @all: of the layer. */
bool page_lacks_bytes(const struct ui *u, const struct heap_totals *all);
/* The columns that all tables of heap totals have; a row's values are put in their order. */
void page_use_heap_columns(const struct ui *u, struct table *t, const struct heap_totals *totals,
			   const char *title);
void page_put_heap_values(struct table_row *r, const struct heap_totals *totals);

/* ---- tree.c, flame.c ---------------------------------------------------------------- */

/* The page's call tree, and its columns. */
void tree_load(struct ui *u, struct page *p, const char *title);
/* Is the tree another one by now, or in another order, than when the page was made? */
bool tree_is_stale(const struct page *p);
void trees_release(struct ui *u);
void tree_make(struct ui *u, struct page *p);
/* Opens, closes, or (-1) turns round; false: there is nothing to open. */
bool tree_set_open(struct page *p, int open);
void tree_open_all(struct page *p, bool open);
/* To the node that called the one at the cursor. */
void tree_to_parent(struct page *p);
void tree_invert(struct page *p);

void flame_make(struct ui *u, struct page *p);
void flame_draw(struct ui *u, struct page *p, struct canvas *c, struct box box);
/* Moves the selection; false: the key is not its own. */
bool flame_input(struct page *p, const struct input *in);
bool flame_search(struct ui *u, struct page *p, bool backwards);

/* ---- stack_texts.c ------------------------------------------------------------------ */

/* A stack by its own function and who called it; to be freed. */
char *stack_texts_get(const struct ui *u, struct stack_id id);
/* The names of a table's rows are those of the stacks that their items are. */
void stack_texts_use(struct ui *u, struct table *t, const char *title);
void stack_texts_free(struct stack_texts *t);

/* ---- frag.c, heap_map.c ------------------------------------------------------------- */

/* What is resident, as it was at the last snapshot; NULL: there is none. */
const struct fragmentation_look *frag_look(const struct ui *u);
void frag_release(struct ui *u);
void frag_make(struct ui *u, struct page *p);
/* Above the table: the parts, and how it went.  Returns the rows that it took. */
int frag_draw_head(struct ui *u, struct canvas *c, struct box box);
/* Pages, and the blocks of one. */
void frag_make_pages(struct ui *u, struct page *p);
void frag_make_page(struct ui *u, struct page *p);
/* What Enter goes to; false: nowhere. */
bool frag_drill(struct ui *u, struct page *p, const struct table_row *row,
		enum view_kind *ret_view, struct scope *ret_scope);

void heap_map_make(struct ui *u, struct page *p);
void heap_map_draw(struct ui *u, struct page *p, struct canvas *c, struct box box);
/* Moves the selection; false: the key is not its own. */
bool heap_map_input(struct ui *u, struct page *p, const struct input *in);
/* ---- growth.c ----------------------------------------------------------------------- */

void growth_make(struct ui *u, struct page *p);
void growth_words_free(struct growth_words *w);
void growth_shown_free(struct growth_shown *f);

/* ---- source.c ----------------------------------------------------------------------- */

void source_make(struct ui *u, struct page *p);

/* ---- timeline.c --------------------------------------------------------------------- */

/* The time line: one or more rows, with the cursor and the range. */
void timeline_draw(struct ui *u, struct canvas *c, struct box box);
/* The same as a picture of its own: live bytes, rate and RSS over time. */
void timeline_draw_large(struct ui *u, struct canvas *c, struct box box);
/* Of the process, at the moment that is shown; 0: not known. */
uint64_t timeline_rss_at(const struct ui *u);
/* The moment, or the range, of what the history has now. */
void timeline_show(struct ui *u);
/* Moves the cursor by so many columns. */
void timeline_move(struct ui *u, int columns);
void timeline_click(struct ui *u, int col);
void timeline_to_peak(struct ui *u);
/* Moments that the recorder has marked: are there any; to the next one, round about. */
bool timeline_has_marks(const struct ui *u);
void timeline_to_next_mark(struct ui *u);
void timeline_follow(struct ui *u);
/* What is shown may have moved on, where that moment was dropped from the recording. */
void timeline_keep_up(struct ui *u);
void timeline_mark(struct ui *u);

/* ---- layers.c ----------------------------------------------------------------------- */

bool layers_are_several(const struct ui *u);
/* The name of the one that is shown. */
const char *layers_name(const struct ui *u);
/* All views are of layer number @layer from now on, at the same moment. */
void layers_show(struct ui *u, uint8_t layer);
/* -EINVAL with @err where there is none of that name. */
int layers_show_name(struct ui *u, const char *name, struct err *err);
/* What is not known of the layer, or NULL; to be freed. */
char *layers_note(const struct ui *u);
void layers_show_next(struct ui *u, int by);

/* ---- keys.c ------------------------------------------------------------------------- */

struct key {
	int keys[3]; /* any of them; 0: none */
	const char *help;
	const char *label; /* on the bar at the bottom, or NULL */
	bool (*is_useful)(const struct ui *u); /* NULL: always */
	void (*act)(struct ui *u, int arg);
	int arg;
};

extern const struct key keys[];
extern const size_t n_keys;

void keys_input(struct ui *u, const struct input *in);

/* ---- prompt.c ----------------------------------------------------------------------- */

void prompt_begin(struct ui *u, enum prompt_kind kind, const char *text);
void prompt_input(struct ui *u, const struct input *in);
const char *prompt_label(enum prompt_kind kind);

/* ---- settings.c --------------------------------------------------------------------- */

void settings_load(struct ui *u);
void settings_save(const struct ui *u);

#endif
