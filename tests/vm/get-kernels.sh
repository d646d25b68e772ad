#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# get-kernels.sh DIR PACKAGE...: downloads Debian's kernel packages for x86-64 into
# DIR and installs nothing. They come by apt from the mirrors that this machine uses,
# with a configuration of its own, so that the machine's sources stay as they are.
# PACKAGE is an extended regular expression for a package's name (the highest version
# is taken) or a meta package. Prints a path for each; says on stderr which could not
# be had, and goes on.
set -u
mkdir -p "$1" && dir=$(cd "$1" && pwd) || exit 1
shift
own=$dir/apt
key=/usr/share/keyrings/debian-archive-keyring.gpg

sources() { # URI SUITE...
	local uri=$1
	shift
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$uri" "$*" "$key"
}

if [ ! -s "$own/apt.conf" ]; then
	mkdir -p "$own"/lists/partial "$own"/cache/archives/partial "$own"/sources
	: > "$own/status"
	mirrors=$(apt-get indextargets --format '$(REPO_URI)' | sort -u)
	archive=$(grep -v security <<< "$mirrors" | head -n1)
	security=$(grep security <<< "$mirrors" | head -n1)
	sources "$archive" bullseye bookworm trixie trixie-backports > "$own/sources/archive.sources"
	sources "${security:-$archive}" bookworm-security > "$own/sources/security.sources"
	cat > "$own/apt.conf" <<-X
		APT::Architecture "amd64"; APT::Architectures { "amd64"; };
		APT::Sandbox::User "root";
		Dir::State::lists "$own/lists"; Dir::State::status "$own/status";
		Dir::Cache "$own/cache"; Dir::Cache::pkgcache "pkgcache.bin"; Dir::Cache::srcpkgcache "srcpkgcache.bin";
		Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "$own/sources";
	X
	APT_CONFIG=$own/apt.conf apt-get -qq update >&2
fi
export APT_CONFIG=$own/apt.conf

image_of() { # what a meta package stands for: an image, and since 6.19 a binary behind that
	apt-cache depends --no-recommends "$1" 2>/dev/null |
		sed -n -E 's/^ *Depends: (linux-(image|binary)-[0-9].*)$/\1/p' | head -n1
}

bad=0
for want; do
	name=$(apt-cache pkgnames linux- | grep -Ex "$want" | sort -V | tail -n1)
	while next=$(image_of "$name") && [ -n "$next" ]; do
		name=$next
	done
	if [ -n "$name" ] && (cd "$dir" && apt-get -qq download "$name" >&2); then
		ls -t "$dir/${name}"_*.deb | head -n1
	else
		echo "get-kernels.sh: no $want" >&2
		bad=1
	fi
done
exit $bad
