#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# boot.sh: boot a Debian kernel package under QEMU software emulation with a
# directory as the root file system, run one command in it, return its exit status.
#
#   boot.sh -k KERNEL [-r ROOTDIR] [options] -- COMMAND [ARG...]
#
#   -k KERNEL   a kernel .deb (linux-image-* / linux-binary-*), a folder it was
#               unpacked into, or a vmlinuz/Image file
#   -r ROOTDIR  becomes / in the guest (as an initramfs: writable, nothing is
#               written back).  Must fit in memory about three times.  May be
#               without init, shell, /proc, /dev: a static busybox is added
#   -a ARCH     x86_64 (default) or aarch64
#   -b BUSYBOX  static busybox for the guest (default: /bin/busybox for x86_64)
#   -m MB       guest memory (default 512)      -c N   guest CPUs (default 1)
#   -t SECS     limit for the command, its boot not counted (default 120): status 124
#   -o OUTDIR   what the command leaves in /out comes back into OUTDIR
#   -e 'K=V'    environment for the command (may be repeated)
#   -p          boot the packed bzImage instead of unpacking it here first
#   -K 'ARGS'   further kernel command line
#   -Q 'ARGS'   further qemu arguments (split on blanks)
#   -v          show the kernel's log too
#
# The command's stdout and stderr (together) are printed; the status is the
# command's, or 124 for a time-out, 125 where the guest did not come up or died.
# Needs: qemu-system-x86 or qemu-system-arm, busybox-static; for -k x.deb
# dpkg-deb; for unpacking a bzImage python3 and lz4/xz/zstd/gzip as it is packed.
set -euo pipefail
arch=x86_64 root='' kernel='' config='' bb='' mem=512 cpus=1 limit=120 out='' packed=0 kargs='' qargs='' verbose=0
env=()
die() { echo "boot.sh: $*" >&2; exit 125; }
while getopts k:r:a:b:m:c:t:o:e:pK:Q:v o; do case $o in
  k) kernel=$OPTARG;; r) root=$OPTARG;; a) arch=$OPTARG;; b) bb=$OPTARG;; m) mem=$OPTARG;;
  c) cpus=$OPTARG;; t) limit=$OPTARG;; o) out=$OPTARG;; e) env+=("$OPTARG");; p) packed=1;;
  K) kargs=$OPTARG;; Q) qargs=$OPTARG;; v) verbose=1;; *) sed -n '3,30s/^# \{0,1\}//p' "$0" >&2; exit 125;;
esac; done
shift $((OPTIND - 1))
[ $# -gt 0 ] || die "no command"
[ -n "$kernel" ] && [ -e "$kernel" ] || die "no kernel '$kernel'"
[ -z "$root" ] || [ -d "$root" ] || die "no folder '$root'"
[ -n "$bb" ] || { [ "$arch" = x86_64 ] && bb=/bin/busybox; }
[ -f "${bb:-}" ] || die "no static busybox (-b)"

work=$(mktemp -d "${TMPDIR:-/tmp}/kernel-vm.XXXXXX")
qpid=
cleanup() { [ -z "$qpid" ] || kill -9 "$qpid" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- the kernel image -------------------------------------------------------
# Unpacked kernels are cached beside the source under HTVM_CACHE.
cache=${HTVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernel-vm}
mkdir -p "$cache"
case $kernel in
  *.deb)
    key=$(basename "$kernel" .deb)
    if [ ! -s "$cache/$key.vmlinuz" ]; then
      mkdir "$work/deb"; dpkg-deb -x "$kernel" "$work/deb"
      img=$(find "$work/deb" \( -name 'vmlinuz-*' -o -name vmlinuz \) -type f | head -n1)
      [ -n "$img" ] || die "no vmlinuz in $kernel"
      cp "$img" "$cache/$key.$$" && mv "$cache/$key.$$" "$cache/$key.vmlinuz"
      cfg=$(find "$work/deb" \( -name 'config-*' -o -name config \) -type f | head -n1)
      [ -z "$cfg" ] || cp "$cfg" "$cache/$key.config"
      rm -rf "$work/deb"
    fi
    img=$cache/$key.vmlinuz; config=$cache/$key.config;;
  *)
    img=$kernel
    if [ -d "$kernel" ]; then
      img=$(find "$kernel" \( -name 'vmlinuz-*' -o -name vmlinuz \) -type f | head -n1)
      [ -n "$img" ] || die "no vmlinuz under $kernel"
    fi
    case $(basename "$img") in
      vmlinuz-*) config=${img%/vmlinuz-*}/config-${img##*/vmlinuz-};; *) config=${img%/*}/config;; esac
    key=$(basename "$img").$(stat -c %s.%Y "$img");;
esac

# Unpacking the payload here takes a second; in the guest, emulated, many.
unpack_bzimage() {	# IN OUT: the ELF vmlinux out of an x86 bzImage
  python3 - "$1" "$2" <<'P'
import struct, subprocess, sys
d = open(sys.argv[1], 'rb').read()
if d[0x202:0x206] != b'HdrS': sys.exit('not a bzImage')
off = (d[0x1f1] + 1) * 512 + struct.unpack_from('<I', d, 0x248)[0]
z = d[off:off + struct.unpack_from('<I', d, 0x24c)[0]]
for magic, cmd in ((b'\x28\xb5\x2f\xfd', ['zstd', '-dc']), (b'\x02\x21\x4c\x18', ['lz4', '-dc']),
                   (b'\xfd7zXZ\0', ['xz', '-dc', '--single-stream']), (b'\x1f\x8b', ['gzip', '-dc'])):
    if z.startswith(magic):
        break
else:
    sys.exit('unknown packing')
r = subprocess.run(cmd, input=z, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
if r[:4] != b'\x7fELF': sys.exit('no ELF inside')
open(sys.argv[2], 'wb').write(r)	# the packer's trailing length word only makes the tool grumble
P
}
boot=$img
if [ "$arch" = x86_64 ] && [ $packed = 0 ]; then
  if [ ! -s "$cache/$key.vmlinux" ]; then
    if unpack_bzimage "$img" "$cache/$key.$$" 2>"$work/unpack"; then
      # the notes and the loadable segments are all that is booted
      mv "$cache/$key.$$" "$cache/$key.vmlinux"
    else
      echo "boot.sh: booting the packed image ($(tail -n1 "$work/unpack"))" >&2
    fi
  fi
  [ ! -s "$cache/$key.vmlinux" ] || boot=$cache/$key.vmlinux
fi

# ---- the root: the folder as one archive, our init as a second one ---------------
mkdir -p "$work/add/htvm"
cp "$bb" "$work/add/htvm/busybox"; chmod 755 "$work/add/htvm/busybox"
[ ! -f "$config" ] || cp "$config" "$work/add/htvm/config"
{ printf '#!/htvm/busybox sh\ncd / || exit 1\n'
  for e in ${env[@]+"${env[@]}"}; do printf 'export %s=%q\n' "${e%%=*}" "${e#*=}"; done
  printf 'exec'; printf ' %q' "$@"; printf '\n'; } > "$work/add/htvm/cmd"
cat > "$work/add/htvm/init" <<'I'
#!/htvm/busybox sh
b=/htvm/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
for d in proc sys dev tmp run out root boot; do $b mkdir -p /$d; done
[ ! -e /htvm/config ] || $b ln -sf /htvm/config "/boot/config-$($b uname -r)"
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev 2>/dev/null
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t tmpfs tmp /tmp
$b mount -t bpf bpf /sys/fs/bpf 2>/dev/null
$b mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
$b mount -t cgroup2 cgroup /sys/fs/cgroup 2>/dev/null
[ -e /dev/fd ] || $b ln -s /proc/self/fd /dev/fd
$b ip link set lo up 2>/dev/null
# a root without tools gets busybox's
[ -e /bin/sh ] || { $b mkdir -p /bin /sbin /usr/bin /usr/sbin; $b --install -s 2>/dev/null; }
$b stty -F /dev/console -onlcr 2>/dev/null
$b printf '@@htvm-begin %s@@\n' "$($b cut -d' ' -f1 /proc/uptime)"
$b setsid $b sh /htvm/cmd </dev/null 2>&1
rc=$?
$b printf '\n@@htvm-end %s@@\n' "$($b cut -d' ' -f1 /proc/uptime)"
if [ -n "$($b ls -A /out)" ]; then
  $b echo @@htvm-out@@; $b tar -C /out -cf - . | $b gzip -1 | $b base64; $b echo @@htvm-outend@@
fi
$b printf '@@htvm-exit %d@@\n' $rc
$b poweroff -f
I
chmod 755 "$work/add/htvm/init" "$work/add/htvm/cmd"
( [ -z "$root" ] || { cd "$root" && find . -xdev | LC_ALL=C sort | "$bb" cpio -o -H newc 2>/dev/null; }
  cd "$work/add" && find . | LC_ALL=C sort | "$bb" cpio -o -H newc 2>/dev/null ) > "$work/initrd"

# ---- boot -------------------------------------------------------------------
append="rdinit=/htvm/init panic=-1 mitigations=off nokaslr audit=0 random.trust_cpu=1"
[ $verbose = 1 ] && append+=" loglevel=7" || append+=" quiet loglevel=1"
case $arch in
  x86_64)
    qemu=(qemu-system-x86_64 -M "${HTVM_MACHINE:-q35}" -cpu "${HTVM_CPU:-max,la57=off}")
    append+=" console=ttyS0 no_timer_check tsc=reliable";;
  aarch64)
    qemu=(qemu-system-aarch64 -M "${HTVM_MACHINE:-virt,gic-version=3}" -cpu "${HTVM_CPU:-max,pauth-impdef=on}")
    append+=" console=ttyAMA0";;
  *) die "unknown architecture $arch";;
esac
# shellcheck disable=SC2206  # -Q is split on purpose
qemu+=(-accel "${HTVM_ACCEL:-tcg}" -m "$mem" -smp "$cpus" -nodefaults -no-user-config -display none -no-reboot
       -serial "file:$work/serial" -kernel "$boot" -initrd "$work/initrd" -append "$append $kargs" $qargs)
boot_once() {	# sets t0, t1 and timedout; a guest that is not up in time counts as failed
  : > "$work/serial"; timedout=0 up=0; t0=$(date +%s.%N)
  "${qemu[@]}" </dev/null >"$work/qemu" 2>&1 &
  qpid=$!
  local end=$((SECONDS + ${HTVM_BOOT_LIMIT:-45}))
  while kill -0 "$qpid" 2>/dev/null; do
    if [ $up = 0 ] && grep -q '^@@htvm-begin' "$work/serial"; then up=1 end=$((SECONDS + limit)); fi
    [ $SECONDS -lt $end ] || { timedout=1; kill "$qpid" 2>/dev/null || true; break; }
    sleep 0.1
  done
  wait "$qpid" 2>/dev/null || true
  qpid=; t1=$(date +%s.%N)
  [ $up = 1 ] || ! grep -q '^@@htvm-begin' "$work/serial" || up=1
}
boot_once
# Emulated guests with several CPUs were seen, rarely, to hang while booting.
[ $up = 1 ] || { echo "boot.sh: the guest did not come up; trying once more" >&2; boot_once; }
tr -d '\r' < "$work/serial" > "$work/log"
if [ $verbose = 1 ]; then sed '/^@@htvm-begin/,$d' "$work/log" >&2; fi
# the command's output; a blank line that we added before the end mark goes
sed -n '/^@@htvm-begin .*@@$/,/^@@htvm-end .*@@$/p' "$work/log" | sed -e 1d -e '/^@@htvm-end .*@@$/d' | sed -e '${/^$/d}'
times=$(sed -n -E 's/^@@htvm-(begin|end) ([0-9.]+)@@$/\1 \2/p' "$work/log" | tr '\n' ' ')
[ -z "${HTVM_TIMES:-}" ] || echo "boot.sh: wall $(echo "$t1 $t0" | awk '{printf "%.2f", $1-$2}') s, initrd $(($(stat -c %s "$work/initrd") / 1048576)) MiB, guest clock: $times" >&2
rc=$(sed -n -E 's/^@@htvm-exit ([0-9]+)@@$/\1/p' "$work/log" | tail -n1)
if [ -n "$out" ] && grep -q '^@@htvm-out@@$' "$work/log"; then
  mkdir -p "$out"
  sed -n '/^@@htvm-out@@$/,/^@@htvm-outend@@$/p' "$work/log" | sed -e 1d -e '$d' | base64 -d | tar -xzmf - -C "$out"
fi
if [ -z "$rc" ]; then
  { if [ $up = 0 ]; then why="the guest did not come up"; elif [ $timedout = 1 ]; then why="no end after $limit s"; else why="the guest died before the command ended"; fi
    echo "boot.sh: $why; last lines:"
    tail -n 25 "$work/log"; cat "$work/qemu"; } >&2
  [ $up = 1 ] && [ $timedout = 1 ] && exit 124
  exit 125
fi
exit "$rc"
