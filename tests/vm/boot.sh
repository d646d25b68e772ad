#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# boot.sh: boots a Debian kernel package (x86-64) in a guest of qemu, emulated, with
# a folder as its root, runs a command in it, returns that command's exit status.
#
#   boot.sh -k KERNEL.deb -r ROOTDIR -o OUTDIR -m MB -t SECS -- COMMAND [ARG...]
#
#   -r ROOTDIR  becomes / in the guest (an initramfs: writable, nothing comes back).
#               Needs about three times its size of memory, and a /bin/sh
#   -o OUTDIR   what the command leaves in /out comes back into OUTDIR
#   -m MB       memory of the guest
#   -t SECS     limit for the command, without the boot
#
# Prints what the command prints. Returns 124 when the time was up, 125 when the
# guest did not come up or died. Unpacked kernels are kept in VM_CACHE.
set -euo pipefail
die() { echo "boot.sh: $*" >&2; exit 125; }
usage() { sed -n '3,16s/^# \{0,1\}//p' "$0" >&2; exit 125; }
kernel='' root='' out='' mem=512 limit=120
while getopts k:r:o:m:t: o; do case $o in
  k) kernel=$OPTARG;; r) root=$OPTARG;; o) out=$OPTARG;; m) mem=$OPTARG;; t) limit=$OPTARG;; *) usage;;
esac; done
shift $((OPTIND - 1))
[ $# -gt 0 ] && [ -n "$out" ] || usage
[ -f "$kernel" ] || die "no kernel '$kernel'"
[ -d "$root" ] || die "no folder '$root'"
busybox=$(command -v busybox) || die "no busybox"

work=$(mktemp -d "${TMPDIR:-/tmp}/heaptrail-vm.XXXXXX")
qpid=
cleanup() { [ -z "$qpid" ] || kill -9 "$qpid" 2>/dev/null || true; rm -rf --one-file-system "$work"; }
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- the kernel ----------------------------------------------------------------------
cache=${VM_CACHE:?}
mkdir -p "$cache"
key=$(basename "$kernel" .deb)
if [ ! -s "$cache/$key.vmlinuz" ]; then
  mkdir "$work/deb"
  dpkg-deb -x "$kernel" "$work/deb"
  packed=$(find "$work/deb" \( -name 'vmlinuz-*' -o -name vmlinuz \) -type f | head -n1)
  [ -n "$packed" ] || die "no vmlinuz in $kernel"
  config=$(find "$work/deb" \( -name 'config-*' -o -name config \) -type f | head -n1)
  [ -z "$config" ] || cp "$config" "$cache/$key.config"
  cp "$packed" "$cache/$key.$$" && mv "$cache/$key.$$" "$cache/$key.vmlinuz"
fi

# Unpacking takes a second here; in the guest, emulated, many.
image=$cache/$key.vmlinux
if [ ! -s "$image" ]; then
  if "$(dirname "$0")/unpack_kernel.py" "$cache/$key.vmlinuz" "$image.$$"; then
    mv "$image.$$" "$image"
  else
    image=$cache/$key.vmlinuz
  fi
fi

# ---- the root: the folder as one archive, our init as a second one -------------------
own=$work/add/.vm
mkdir -p "$own"
cp "$busybox" "$own/busybox"
[ ! -f "$cache/$key.config" ] || cp "$cache/$key.config" "$own/config"
{ printf 'exec'; printf ' %q' "$@"; echo; } > "$own/command"
cat > "$own/init" <<'I'
#!/.vm/busybox sh
b=/.vm/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
for d in proc sys dev tmp run out root boot; do $b mkdir -p /$d; done
[ ! -e /.vm/config ] || $b ln -sf /.vm/config "/boot/config-$($b uname -r)"
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t tmpfs tmp /tmp
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t tracefs tracefs /sys/kernel/tracing
$b mount -t cgroup2 cgroup /sys/fs/cgroup
[ -e /dev/fd ] || $b ln -s /proc/self/fd /dev/fd
$b ip link set lo up
$b stty -F /dev/console -onlcr
echo @@vm-begin@@
$b setsid sh /.vm/command </dev/null 2>&1
status=$?
$b printf '\n@@vm-end@@\n@@vm-out@@\n'
$b tar -C /out -cf - . | $b gzip -1 | $b base64
$b printf '@@vm-outend@@\n@@vm-exit %d@@\n' $status
$b poweroff -f
I
chmod 755 "$own/init" "$own/busybox"
archive() { (cd "$1" && find . -xdev | LC_ALL=C sort | "$busybox" cpio -o -H newc 2>/dev/null); }
{ archive "$root"; archive "$work/add"; } > "$work/initrd"

# ---- boot ----------------------------------------------------------------------------
qemu=(qemu-system-x86_64 -M q35 -cpu "max,la57=off" -accel tcg -m "$mem" -smp 1
      -nodefaults -no-user-config -display none -no-reboot
      -serial "file:$work/serial" -kernel "$image" -initrd "$work/initrd" -append
      "rdinit=/.vm/init panic=-1 mitigations=off nokaslr audit=0 random.trust_cpu=1 quiet loglevel=1
       console=ttyS0 no_timer_check tsc=reliable")
is_up() { grep -q '^@@vm-begin@@' "$work/serial"; }
boot() { # sets timed_out
  local end=$((SECONDS + 90)) up=0
  : > "$work/serial"
  timed_out=0
  "${qemu[@]}" </dev/null >"$work/qemu" 2>&1 &
  qpid=$!
  while kill -0 "$qpid" 2>/dev/null; do
    if [ $up = 0 ] && is_up; then up=1 end=$((SECONDS + limit)); fi
    [ $SECONDS -lt $end ] || { timed_out=1; kill "$qpid" 2>/dev/null || true; break; }
    sleep 0.1
  done
  wait "$qpid" 2>/dev/null || true
  qpid=
}
boot
# emulated guests were seen, rarely, to hang while booting
is_up || { echo "boot.sh: the guest did not come up; trying once more" >&2; boot; }
tr -d '\r' < "$work/serial" > "$work/log"

# ---- what it said, without the empty line before the end mark; what it left; how it ended ----
sed -n '/^@@vm-begin@@$/,/^@@vm-end@@$/p' "$work/log" | sed -e 1d -e '/^@@vm-end@@$/d' | sed -e '${/^$/d}'
mkdir -p "$out"
if grep -q '^@@vm-outend@@$' "$work/log"; then
  sed -n '/^@@vm-out@@$/,/^@@vm-outend@@$/p' "$work/log" | sed -e 1d -e '$d' | base64 -d | tar -xzmf - -C "$out"
fi
status=$(sed -n -E 's/^@@vm-exit ([0-9]+)@@$/\1/p' "$work/log" | tail -n1)
[ -z "$status" ] || exit "$status"
if ! is_up; then
  why="the guest did not come up" status=125
elif [ $timed_out = 1 ]; then
  why="no end after $limit s" status=124
else
  why="the guest died before the command ended" status=125
fi
{ echo "boot.sh: $why; last lines:"; tail -n 25 "$work/log"; cat "$work/qemu"; } >&2
exit $status
