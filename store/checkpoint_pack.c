/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/checkpoint_pack.h"

#include <zstd.h>

#include "common/xalloc.h"
#include "store/checkpoint_crc.h"

void checkpoint_packer_begin(struct checkpoint_packer *p, enum checkpoint_kind kind,
			     uint64_t chunk, uint64_t t_ns)
{
	if (!p->zstd)
		p->zstd = ZSTD_createCCtx();
	p->kind = kind;
	p->info = (struct checkpoint_info){.chunk = chunk, .t_ns = t_ns};
	p->is_good = p->zstd && !ZSTD_isError(ZSTD_CCtx_reset(p->zstd, ZSTD_reset_session_only)) &&
		     !ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, 1));
	buffer_reset(&p->packed);
}

static void pack(struct checkpoint_packer *p, const void *data, size_t len, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = {data, len, 0};
	size_t left = 1;

	while (p->is_good && (in.pos < in.size || (how == ZSTD_e_end && left))) {
		ZSTD_outBuffer out;

		ARRAY_GROW(p->packed.data, p->packed.cap, p->packed.len + ZSTD_CStreamOutSize());
		out = (ZSTD_outBuffer){p->packed.data, p->packed.cap, p->packed.len};
		left = ZSTD_compressStream2(p->zstd, &out, &in, how);
		p->packed.len = out.pos;
		p->is_good = !ZSTD_isError(left) && p->packed.len <= CHECKPOINT_PACKED_MAX;
	}
}

void checkpoint_packer_add(struct checkpoint_packer *p, const void *data, size_t len)
{
	p->info.bytes += len;
	p->is_good = p->is_good && p->info.bytes <= CHECKPOINT_BYTES_MAX;
	pack(p, data, len, ZSTD_e_continue);
}

bool checkpoint_packer_end(struct checkpoint_packer *p)
{
	pack(p, NULL, 0, ZSTD_e_end);
	return p->is_good;
}

void checkpoint_packer_release(struct checkpoint_packer *p)
{
	ZSTD_freeCCtx(p->zstd);
	buffer_release(&p->packed);
	*p = (struct checkpoint_packer){0};
}
