#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [KERNEL...]: records on other kernels, in guests of qemu, and checks that
# the stacks are complete.  A KERNEL is a regular expression for a package name, as
# get-kernels.sh takes it, or a kernel's .deb; without one, a choice of Debian's.
# Run it in the build folder (`make vm`).  Kernels are kept in VM_KERNELS (default
# tests/vm of the build folder); what the guests said is in tests/vm/out/VERSION.
#
# Needs qemu-system-x86, busybox-static, perl, sqlite3 and the Debian archive.
# All stacks must be complete, but for some of a program that is attached to, and for one
# in a thousand where threads allocate while another one loads code and maps memory; and
# no events may contradict others.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(pwd)/tests/vm
kernels=${VM_KERNELS:-$work}
[ -x ./heaptrail ] || { echo "run.sh: no ./heaptrail here" >&2; exit 2; }
for p in qemu-system-x86_64 busybox perl sqlite3; do
	command -v $p >/dev/null || { echo "run.sh: no $p" >&2; exit 77; }
done
[ $# -gt 0 ] || set -- \
	'linux-image-5\.10\.0-[0-9]+-cloud-amd64' \
	'linux-image-6\.1\.0-[0-9]+-cloud-amd64' \
	'linux-image-6\.12\.[0-9]+\+deb1[23]-cloud-amd64' \
	'linux-image-6\.1[67]\.[0-9]+\+deb1[0-9]-cloud-amd64' \
	'linux-(image|binary)-7\.[0-9.]+\+deb1[0-9]-cloud-amd64'
export VM_CACHE=$kernels/cache
mkdir -p "$work/out" "$kernels"

# ---- the guest's root: our programs, those that are recorded, their libraries ----
root=$(mktemp -d "$work/root.XXXXXX") || exit 2
trap 'rm -rf --one-file-system "$root"' EXIT
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root/tmp"
for d in bin sbin lib lib64; do ln -s usr/$d "$root/$d"; done
add() { # file [where]
	local l to=$root${2:-$1}
	mkdir -p "${to%/*}" && cp -L "$1" "$to"
	ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r l; do
		[ -e "$root$l" ] || { mkdir -p "$root${l%/*}" && cp -L "$l" "$root$l"; }
	done
}
add ./heaptrail /usr/bin/heaptrail
for p in bash perl sqlite3 true; do add "$(type -P $p)" "/usr/bin/$p"; done
for p in mappings threads unwinding; do
	[ ! -x tests/targets/$p ] || add tests/targets/$p /usr/bin/$p
done
for p in jemalloc.so.2 tcmalloc_minimal.so.4; do
	[ ! -e "/usr/lib/x86_64-linux-gnu/lib$p" ] || add "/usr/lib/x86_64-linux-gnu/lib$p"
done
add "$(command -v busybox)" /usr/bin/busybox
ln -s bash "$root/usr/bin/sh"
for p in awk cat env sleep tail uname timeout; do ln -s busybox "$root/usr/bin/$p"; done
cp "$here/guest.sh" "$root/guest.sh"

# ---- one kernel after the other ------------------------------------------------------
bad=0
for want; do
	case $want in
	*.deb) deb=$want;;
	*) deb=$("$here/get-kernels.sh" "$kernels" "$want") || { echo "SKIP $want: not to be had"; continue; };;
	esac
	name=$(basename "$deb"); name=${name#linux-*-}; name=${name%%-cloud*}; name=${name%%_*}
	out=$work/out/$name
	rm -rf "$out"
	"$here/boot.sh" -k "$deb" -r "$root" -m 1024 -t 300 -o "$out" -- bash /guest.sh > "$work/out/$name.said" 2>&1
	status=$?
	case $name in
	[1-4].*|5.?.*|5.1[0-6].*) # too old: it must say so, and which piece is missing
		if grep -q '^hint: this kernel lacks .*Linux 5' "$work/out/$name.said"; then
			echo "ok $name: refused, with the reason"
		else
			echo "NOT OK $name: no clear refusal"; bad=1
		fi;;
	*)
		if awk '$1 == "failed" { bad = 1 }
			/ odd: / { bad = 1 }
			$1 == "stacks" { n++; if ($5 != "auto" || ($3 == 0 && $2 !~ /^true/) ||
				$4 < $3 * ($2 == "attach" ? 0.97 : $2 == "exit-threads" ? 0.999 : 1)) bad = 1 }
			END { exit bad || n < 9 }' "$work/out/$name.said" && [ $status = 0 ]; then
			echo "ok $name"
		else
			echo "NOT OK $name (status $status)"; bad=1
		fi;;
	esac
	sed 's/^/    /' "$work/out/$name.said"
done
exit $bad
