/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * .eh_frame is a list of records.  A CIE says what several functions have in
 * common; an FDE describes one function and points back to its CIE.
 *
 * Two passes.  The first walks over the records: it parses each CIE once, and
 * notes of each FDE only where its function begins.  Sorted by that, the second
 * runs their instructions one after the other, so that the rows come out in
 * order.  An FDE may only name a CIE that the walk came by: else a hostile file
 * could have the same bytes read as a new CIE by each FDE.
 */
#include "config.h"
#include "image/eh_frame.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/dwarf_reader.h"
#include "image/frame_program.h"

#define ROWS_MAX (32u << 20) /* the largest programs have a million or two */
#define CIES_MAX (1u << 18)  /* linkers merge them: some hundreds */
#define PADDING_BYTES 16     /* shorter gaps only align the next function */

struct cie {
	uint32_t offset; /* of its record */
	bool augmented;	 /* its FDEs have augmentation data, to be skipped */
	struct frame_cie frame;
};

struct fde {
	uint64_t start;
	uint32_t offset, cie;
};

struct parser {
	const uint8_t *data;
	size_t len;
	uint64_t address;
	struct cie *cies; /* by offset */
	size_t n_cies, cap_cies;
	struct fde *fdes;
	size_t n_fdes, cap_fdes;
	uint32_t last_cie; /* that an FDE named */
	eh_frame_each *each;
	void *each_arg;
	size_t n_rows, skipped;
	uint64_t last_rule;
};

/* ---- records -------------------------------------------------------------------- */

struct record {
	struct dwarf_reader body; /* behind the id */
	size_t next;		  /* offset of the next record */
	size_t id_offset;
	uint32_t id; /* 0: a CIE; else how far before its id an FDE's CIE begins */
	bool last;   /* the end of the list */
};

/* False where the record is not all there, so that the next cannot be found either. */
static bool read_record(const struct parser *p, size_t offset, struct record *ret)
{
	struct dwarf_reader r =
		dwarf_reader(p->data + offset, p->len - offset, p->address + offset);
	uint64_t len = dwarf_fixed(&r, 4);

	if (len == UINT32_MAX)
		len = dwarf_fixed(&r, 8);
	ret->last = !len && !r.bad;
	ret->body = dwarf_block(&r, len);
	ret->next = p->len - dwarf_left(&r);
	ret->id_offset = (size_t)(ret->body.at - p->data);
	ret->id = ret->last ? 0 : (uint32_t)dwarf_fixed(&ret->body, 4);
	return !r.bad && !ret->body.bad;
}

/* Behind the "z" of an augmentation; its data may have more than is read here. */
static bool read_augmentation(const char *letters, struct dwarf_reader data, struct frame_cie *cie)
{
	uint8_t personality;

	for (; *letters; letters++) {
		switch (*letters) {
		case 'R':
			cie->encoding = (uint8_t)dwarf_fixed(&data, 1);
			break;
		case 'P': /* a function that we do not call */
			personality = (uint8_t)dwarf_fixed(&data, 1);
			if (personality != DWARF_OMIT)
				dwarf_encoded(&data, personality);
			break;
		case 'L':
			dwarf_fixed(&data, 1);
			break;
		case 'S':
			cie->signal = true;
			break;
		case 'B':
			break;
		default:
			return false;
		}
	}
	return !data.bad && cie->encoding != DWARF_OMIT;
}

static bool parse_cie(struct dwarf_reader r, struct cie *ret)
{
	struct frame_cie *f = &ret->frame;
	uint64_t version = dwarf_fixed(&r, 1), return_register;
	const char *letters = (const char *)r.at;
	const uint8_t *nul = dwarf_left(&r) ? memchr(r.at, '\0', dwarf_left(&r)) : NULL;

	if (!nul || (version != 1 && version != 3 && version != 4))
		return false;
	r.at = nul + 1;
	if (version == 4 && (dwarf_fixed(&r, 1) != 8 || dwarf_fixed(&r, 1) != 0))
		return false; /* bytes of an address, and of a segment's selector */
	f->code_align = dwarf_uleb(&r);
	f->data_align = dwarf_sleb(&r);
	return_register = version == 1 ? dwarf_fixed(&r, 1) : dwarf_uleb(&r);
	if (r.bad || return_register != FRAME_RETURN_REGISTER)
		return false;
	f->encoding = DWARF_ABSPTR;
	if (*letters == 'z') {
		ret->augmented = true;
		if (!read_augmentation(letters + 1, dwarf_block(&r, dwarf_uleb(&r)), f) || r.bad)
			return false;
	} else if (*letters) {
		return false;
	}
	return frame_cie_run(f, r);
}

static bool add_cie(struct parser *p, size_t offset, const struct record *record)
{
	struct cie cie = {.offset = (uint32_t)offset};

	if (p->n_cies == CIES_MAX || !parse_cie(record->body, &cie))
		return false;
	ARRAY_GROW(p->cies, p->cap_cies, p->n_cies);
	p->cies[p->n_cies++] = cie;
	return true;
}

static bool find_cie(struct parser *p, uint32_t offset, uint32_t *ret)
{
	size_t lo = 0, hi = p->n_cies;

	if (p->last_cie < p->n_cies && p->cies[p->last_cie].offset == offset) {
		*ret = p->last_cie;
		return true;
	}
	while (lo < hi) { /* the first at @offset or behind it */
		size_t mid = lo + (hi - lo) / 2;

		if (p->cies[mid].offset < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == p->n_cies || p->cies[lo].offset != offset)
		return false;
	*ret = p->last_cie = (uint32_t)lo;
	return true;
}

/* Leaves @r at the instructions. */
static bool parse_fde(struct dwarf_reader *r, const struct cie *cie, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	uint64_t len;

	*ret_start = dwarf_pointer(r, cie->frame.encoding, 0);
	len = dwarf_encoded(r, cie->frame.encoding);
	if (cie->augmented)
		dwarf_block(r, dwarf_uleb(r));
	return !r->bad && !__builtin_add_overflow(*ret_start, len, ret_end) &&
	       *ret_end <= UINT64_MAX - PADDING_BYTES; /* so that a gap follows the last, too */
}

static bool add_fde(struct parser *p, size_t offset, const struct record *record)
{
	struct dwarf_reader r = record->body;
	struct fde fde = {.offset = (uint32_t)offset};
	uint64_t end;

	if (record->id > record->id_offset ||
	    !find_cie(p, (uint32_t)(record->id_offset - record->id), &fde.cie) ||
	    !parse_fde(&r, &p->cies[fde.cie], &fde.start, &end))
		return false;
	if (!fde.start || fde.start == end) /* the linker has left the function out */
		return true;
	ARRAY_GROW(p->fdes, p->cap_fdes, p->n_fdes);
	p->fdes[p->n_fdes++] = fde;
	return true;
}

static int read_records(struct parser *p)
{
	struct record record;

	for (size_t at = 0; at < p->len; at = record.next) {
		bool whole = read_record(p, at, &record);

		if (at == 0 && (!whole || record.id))
			return -EINVAL;
		if (record.last)
			break;
		if (!whole) {
			p->skipped++;
			break;
		}
		if (!(record.id ? add_fde(p, at, &record) : add_cie(p, at, &record)))
			p->skipped++;
	}
	return 0;
}

/* ---- rows ----------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
	const struct fde *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->offset < y->offset ? -1 : 1;
}

static void sort_fdes(struct parser *p)
{
	for (size_t i = 1; i < p->n_fdes; i++) {
		if (by_start(&p->fdes[i - 1], &p->fdes[i]) > 0) {
			qsort(p->fdes, p->n_fdes, sizeof(*p->fdes), by_start);
			return;
		}
	}
}

/* Addresses only grow from call to call. */
static void put_row(struct parser *p, uint64_t address, uint64_t rule)
{
	if (rule == p->last_rule)
		return;
	p->last_rule = rule;
	p->n_rows++;
	p->each(p->each_arg, address, rule);
}

/* The rows of @fde, but for those from @next_start on.  False where there is no more room. */
static bool put_function(struct parser *p, const struct fde *fde, uint64_t next_start)
{
	const struct cie *cie = &p->cies[fde->cie];
	struct frame_program program;
	struct record record;
	uint64_t start, end;

	read_record(p, fde->offset, &record);
	parse_fde(&record.body, cie, &start, &end);
	if (end > next_start)
		end = next_start;
	frame_program_start(&program, &cie->frame, record.body, start);
	while (program.address < end) {
		uint64_t address = program.address;

		if (p->n_rows >= ROWS_MAX - 1) {
			put_row(p, address, 0);
			return false;
		}
		put_row(p, address, frame_program_next(&program));
	}
	if (next_start - end >= PADDING_BYTES)
		put_row(p, end, 0);
	return true;
}

static void put_rows(struct parser *p)
{
	for (size_t i = 0; i < p->n_fdes; i++) {
		bool last = i + 1 == p->n_fdes;

		if (!put_function(p, &p->fdes[i], last ? UINT64_MAX : p->fdes[i + 1].start)) {
			p->skipped += p->n_fdes - i;
			break;
		}
	}
}

int eh_frame_walk(const uint8_t *data, size_t len, uint64_t address, eh_frame_each *each,
		  void *each_arg, size_t *ret_skipped)
{
	struct parser p = {.data = data,
			   .len = len,
			   .address = address,
			   .each = each,
			   .each_arg = each_arg};
	int r;

	if (len > UINT32_MAX)
		return -EINVAL;
	r = read_records(&p);
	if (r == 0) {
		sort_fdes(&p);
		put_rows(&p);
		*ret_skipped = p.skipped;
	}
	free(p.cies);
	free(p.fdes);
	return r;
}
