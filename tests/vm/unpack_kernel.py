#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""unpack_kernel.py IN OUT: the ELF file in an x86 bzImage (the kernel's x86/boot.rst says where it lies)."""
import struct
import subprocess
import sys

PACKERS = ((b"\x28\xb5\x2f\xfd", ["zstd", "-dc"]), (b"\x02\x21\x4c\x18", ["lz4", "-dc"]),
           (b"\xfd7zXZ\0", ["xz", "-dc", "--single-stream"]), (b"\x1f\x8b", ["gzip", "-dc"]))

with open(sys.argv[1], "rb") as f:
    data = f.read()
if data[0x202:0x206] != b"HdrS":
    sys.exit(f"{sys.argv[1]}: not a bzImage")
setup_sectors = data[0x1F1]
offset, length = struct.unpack_from("<II", data, 0x248)
offset += (setup_sectors + 1) * 512
packed = data[offset:offset + length]
command = next((command for magic, command in PACKERS if packed.startswith(magic)), None)
if not command:
    sys.exit(f"{sys.argv[1]}: packed in an unknown way")
# the packer's length word at the end makes the tools grumble
elf = subprocess.run(command, input=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
if elf[:4] != b"\x7fELF":
    sys.exit(f"{sys.argv[1]}: no ELF file inside")
with open(sys.argv[2], "wb") as f:
    f.write(elf)
