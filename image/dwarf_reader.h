/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DWARF_READER_H
#define IMAGE_DWARF_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Reads the numbers of .eh_frame out of untrusted bytes.  What lies behind the
 * end reads as 0 and sets `bad`, which stays: one look at it after several reads
 * is enough.  Little-endian, as the only machine that we know.
 */
struct dwarf_reader {
	const uint8_t *at, *end;
	uint64_t end_address; /* ELF address of @end */
	bool bad;
};

/* How a pointer is coded: the format in the low half, what it is relative to in the high one. */
enum dwarf_pointer_encoding {
	DWARF_ABSPTR = 0x00,
	DWARF_ULEB128 = 0x01,
	DWARF_UDATA2 = 0x02,
	DWARF_UDATA4 = 0x03,
	DWARF_UDATA8 = 0x04,
	DWARF_SIGNED = 0x08,
	DWARF_SLEB128 = 0x09,
	DWARF_SDATA2 = 0x0a,
	DWARF_SDATA4 = 0x0b,
	DWARF_SDATA8 = 0x0c,
	DWARF_FORMAT = 0x0f, /* mask */
	DWARF_PCREL = 0x10,
	DWARF_DATAREL = 0x30,
	DWARF_RELATIVE = 0xf0, /* mask; with the bit of what is indirect */
	DWARF_OMIT = 0xff,
};

static inline struct dwarf_reader dwarf_reader(const uint8_t *data, size_t len, uint64_t address)
{
	return (struct dwarf_reader){.at = data, .end = data + len, .end_address = address + len};
}

static inline size_t dwarf_left(const struct dwarf_reader *r)
{
	return (size_t)(r->end - r->at);
}

static inline uint64_t dwarf_address(const struct dwarf_reader *r)
{
	return r->end_address - dwarf_left(r);
}

static inline void dwarf_fail(struct dwarf_reader *r)
{
	r->bad = true;
	r->at = r->end;
}

/* The next @len bytes, with a reader of their own; nothing where there are fewer. */
static inline struct dwarf_reader dwarf_block(struct dwarf_reader *r, uint64_t len)
{
	struct dwarf_reader block;

	if (len > dwarf_left(r)) {
		dwarf_fail(r);
		len = 0;
	}
	block = dwarf_reader(r->at, (size_t)len, dwarf_address(r));
	block.bad = r->bad;
	r->at += len;
	return block;
}

/* An unsigned number of @len bytes, at most 8. */
static inline uint64_t dwarf_fixed(struct dwarf_reader *r, size_t len)
{
	uint64_t value = 0;

	if (len > dwarf_left(r)) {
		dwarf_fail(r);
		return 0;
	}
	memcpy(&value, r->at, len);
	r->at += len;
	return value;
}

static inline uint64_t dwarf_leb(struct dwarf_reader *r, bool is_signed)
{
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte;

	do { /* longer than it need be is fine, bits above the 64th are dropped */
		if (r->at == r->end) {
			dwarf_fail(r);
			return 0;
		}
		byte = *r->at++;
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += shift < 64 ? 7 : 0;
	} while (byte & 0x80);
	if (is_signed && (byte & 0x40) && shift < 64)
		value |= UINT64_MAX << shift;
	return value;
}

static inline uint64_t dwarf_uleb(struct dwarf_reader *r)
{
	return dwarf_leb(r, false);
}

static inline uint64_t dwarf_sleb(struct dwarf_reader *r)
{
	return dwarf_leb(r, true);
}

/* Of @encoding, its format only; extended to 64 bits. */
static inline uint64_t dwarf_encoded(struct dwarf_reader *r, uint8_t encoding)
{
	switch (encoding & DWARF_FORMAT) {
	case DWARF_ULEB128:
		return dwarf_uleb(r);
	case DWARF_SLEB128:
		return dwarf_sleb(r);
	case DWARF_UDATA2:
		return dwarf_fixed(r, 2);
	case DWARF_UDATA4:
		return dwarf_fixed(r, 4);
	case DWARF_SDATA2:
		return (uint64_t)(int16_t)dwarf_fixed(r, 2);
	case DWARF_SDATA4:
		return (uint64_t)(int32_t)dwarf_fixed(r, 4);
	case DWARF_ABSPTR:
	case DWARF_SIGNED:
	case DWARF_UDATA8:
	case DWARF_SDATA8:
		return dwarf_fixed(r, 8);
	default:
		dwarf_fail(r);
		return 0;
	}
}

/*
 * A pointer as an ELF address; 0 is 0, whatever it is relative to.  @data_address:
 * what DWARF_DATAREL counts from, 0 where that is not known.
 */
static inline uint64_t dwarf_pointer(struct dwarf_reader *r, uint8_t encoding,
				     uint64_t data_address)
{
	uint64_t base = 0, value;

	if ((encoding & DWARF_RELATIVE) == DWARF_PCREL)
		base = dwarf_address(r);
	else if ((encoding & DWARF_RELATIVE) == DWARF_DATAREL && data_address)
		base = data_address;
	else if (encoding & DWARF_RELATIVE)
		dwarf_fail(r);
	value = dwarf_encoded(r, encoding);
	return value ? value + base : 0;
}

#endif
