#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# get-kernels.sh DIR PACKAGE[@ARCH]... : downloads (does not install) Debian kernel
# packages through apt, with a private configuration, so that neither the
# machine's sources nor its foreign architectures change.  PACKAGE may be a meta
# package (its linux-image-* / linux-binary-* dependency is taken) or an extended
# regular expression for a package name (the highest match by version is taken).
# Prints one path a package; says on stderr which could not be had, and goes on.
set -u
dir=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1; shift
setup() {	# ARCH
  local c=$dir/.apt-$1; [ -s "$c/apt.conf" ] && return
  mkdir -p "$c"/lists/partial "$c"/cache/archives/partial "$c"/parts; : > "$c/status"
  cat > "$c/apt.conf" <<X
APT::Architecture "$1"; APT::Architectures { "$1"; };
APT::Sandbox::User "root";
Dir::State::lists "$c/lists"; Dir::State::status "$c/status"; Dir::Cache "$c/cache";
Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "$c/parts";
X
  # the mirrors are the ones this machine's own apt already uses
  local main sec key=/usr/share/keyrings/debian-archive-keyring.gpg
  main=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n1)
  sec=$(apt-get indextargets --format '$(REPO_URI)' | grep security | sort -u | head -n1)
  printf 'Types: deb\nURIs: %s\nSuites: bullseye bookworm trixie trixie-backports\nComponents: main\nSigned-By: %s\n' "$main" "$key" > "$c/parts/a.sources"
  printf 'Types: deb\nURIs: %s\nSuites: bookworm-security\nComponents: main\nSigned-By: %s\n' "${sec:-$main}" "$key" > "$c/parts/b.sources"
  APT_CONFIG=$c/apt.conf apt-get -qq update >&2 || true
}
# a docker-clean configuration switches apt's cache off, which costs seconds a call
o=(-o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin)
bad=0
for want; do
  arch=amd64; case $want in *@*) arch=${want##*@}; want=${want%@*};; esac
  setup "$arch"; export APT_CONFIG=$dir/.apt-$arch/apt.conf
  p=$(apt-cache "${o[@]}" pkgnames linux- | grep -Ex "$want" | sort -V | tail -n1)
  for _ in 1 2 3; do	# meta package -> image -> (6.19 and later) binary
    d=$(apt-cache "${o[@]}" depends --no-recommends "$p" 2>/dev/null | sed -n -E 's/^ *Depends: (linux-(image|binary)-[0-9].*)$/\1/p' | head -n1)
    [ -n "$d" ] && p=$d || break
  done
  if [ -n "$p" ] && (cd "$dir" && apt-get -qq "${o[@]}" download "$p" >&2); then
    ls -t "$dir/${p}"_*.deb | head -n1
  else
    echo "get-kernels: no $want for $arch" >&2; bad=1
  fi
done
exit $bad
