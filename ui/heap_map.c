/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <inttypes.h>
#include <stdio.h>

#include "analyzer/heap_map.h"
#include "common/format.h"

/* The heap as a grid of cells that one can walk: from a cell to its pages, to their blocks. */

#define LABEL_COLUMNS 14
#define LEGEND_ROWS 2

static int columns_of(struct box box)
{
	int n = box.cols - LABEL_COLUMNS - 1;

	return n < 8 ? box.cols > 8 ? box.cols : 8 : n > 128 ? 128 : n;
}

/* As many cells as there is room for; to be released. */
static void make_map(const struct ui *u, const struct page *p, struct heap_map *ret)
{
	const struct fragmentation_look *l = frag_look(u);
	int rows = p->box.rows - LEGEND_ROWS;
	uint64_t cells = (uint64_t)columns_of(p->box) * (uint64_t)(rows > 2 ? rows : 2);

	*ret = (struct heap_map){0};
	if (!l)
		return;
	/* regions begin on lines of their own: some cells stay empty */
	ret->pages_each = heap_map_pages_each(&l->snapshot, cells * 3 / 4);
	for (size_t i = 0; i < l->n_pages; i++)
		heap_map_add(ret, &l->pages[i]);
}

void heap_map_make(struct ui *u, struct page *p)
{
	struct page root = {.view = VIEW_FRAG};

	frag_make(u, &root); /* loads it */
	page_release(&root);
	p->table.empty = "";
}

/* Where a cell is on the grid: regions begin anew. */
struct walk {
	int row, col, columns;
	uint64_t next;
};

static void step(struct walk *w, const struct heap_map *m, size_t i)
{
	if (w->col == w->columns - 1 || !i || m->cells[i].address != w->next) {
		w->row += i > 0;
		w->col = 0;
	} else {
		w->col++;
	}
	w->next = m->cells[i].address + m->pages_each * SNAPSHOT_PAGE_BYTES;
}

static void draw_legend(const struct heap_map *m, const struct page *p, struct canvas *c,
			struct box box)
{
	const struct heap_cell *cell = &m->cells[p->selected];
	char each[FORMAT_MAX], live[FORMAT_MAX], resident[FORMAT_MAX], text[200];

	snprintf(text, sizeof(text), "0x%" PRIx64 ": %s live of %s resident; a cell is %s",
		 cell->address, format_bytes(live, cell->live_bytes),
		 format_bytes(resident, cell->resident * SNAPSHOT_PAGE_BYTES),
		 format_bytes(each, m->pages_each * SNAPSHOT_PAGE_BYTES));
	canvas_text(c, box.row, box.col, box.cols, text, STYLE_TEXT, ALIGN_LEFT, CUT_END);
	canvas_text(c, box.row + 1, box.col, box.cols,
		    "· all free   ░ ▒ ▓ █ by what is live   Enter: its pages", STYLE_DIM,
		    ALIGN_LEFT, CUT_END);
}

void heap_map_draw(struct ui *u, struct page *p, struct canvas *c, struct box box)
{
	static const char *const shades[HEAP_MAP_SHADES] = {"·", "░", "▒", "▓", "█"};
	static const enum style styles[HEAP_MAP_SHADES] = {STYLE_BAD, STYLE_BAD, STYLE_TEXT,
							   STYLE_ACCENT, STYLE_ACCENT};
	struct walk w = {.columns = columns_of(box)};
	struct heap_map m;
	int label = box.cols > w.columns ? LABEL_COLUMNS + 1 : 0, top = 0;

	make_map(u, p, &m);
	if (!m.n || box.rows <= LEGEND_ROWS) {
		canvas_text(c, box.row, box.col, box.cols, "no snapshot of the heap", STYLE_DIM,
			    ALIGN_LEFT, CUT_END);
		heap_map_release(&m);
		return;
	}
	if (p->selected >= m.n)
		p->selected = (uint32_t)m.n - 1;
	for (size_t i = 0; i <= p->selected; i++) /* what is selected is seen */
		step(&w, &m, i);
	top = w.row - (box.rows - LEGEND_ROWS) + 1;
	top = top > 0 ? top : 0;
	w = (struct walk){.columns = w.columns};
	draw_legend(&m, p, c, box);
	for (size_t i = 0; i < m.n; i++) {
		int shade = heap_map_shade(&m.cells[i]), row;
		char address[24];

		step(&w, &m, i);
		row = box.row + LEGEND_ROWS + w.row - top;
		if (w.row < top || row >= box.row + box.rows)
			continue;
		if (!w.col && label) {
			snprintf(address, sizeof(address), "%" PRIx64, m.cells[i].address);
			canvas_text(c, row, box.col, LABEL_COLUMNS, address, STYLE_DIM, ALIGN_RIGHT,
				    CUT_START);
		}
		canvas_fill(c, row, box.col + label + w.col, 1, shade < 0 ? " " : shades[shade],
			    shade < 0 ? STYLE_DIM : styles[shade]);
		if (i == p->selected)
			canvas_select(c, row, box.col + label + w.col, 1);
	}
	heap_map_release(&m);
}

/* The cell at that place, or the nearest before it in its row. */
static uint32_t cell_at(const struct heap_map *m, int columns, int row, int col, uint32_t otherwise)
{
	struct walk w = {.columns = columns};
	uint32_t found = otherwise;

	for (size_t i = 0; i < m->n; i++) {
		step(&w, m, i);
		if (w.row == row && w.col <= col)
			found = (uint32_t)i;
	}
	return found;
}

bool heap_map_input(struct ui *u, struct page *p, const struct input *in)
{
	struct heap_map m;
	struct walk w;
	bool is_own = true;

	make_map(u, p, &m);
	if (!m.n) {
		heap_map_release(&m);
		return false;
	}
	if (p->selected >= m.n) /* of the snapshot before there were more */
		p->selected = (uint32_t)m.n - 1;
	w = (struct walk){.columns = columns_of(p->box)};
	for (size_t i = 0; i <= p->selected && i < m.n; i++)
		step(&w, &m, i);
	switch (in->key) {
	case INPUT_LEFT:
	case 'h':
		p->selected -= p->selected > 0;
		break;
	case INPUT_RIGHT:
	case 'l':
		p->selected += p->selected + 1 < m.n;
		break;
	case INPUT_UP:
	case 'k':
		p->selected = cell_at(&m, w.columns, w.row - 1, w.col, p->selected);
		break;
	case INPUT_DOWN:
	case 'j':
		p->selected = cell_at(&m, w.columns, w.row + 1, w.col, p->selected);
		break;
	case INPUT_ENTER: {
		uint64_t address = m.cells[p->selected].address;

		ui_push(u, VIEW_PAGES,
			&(struct scope){.kind = SCOPE_PAGES, .key = address,
					.end = address + m.pages_each * SNAPSHOT_PAGE_BYTES});
		break;
	}
	default:
		is_own = false;
	}
	heap_map_release(&m);
	return is_own;
}
