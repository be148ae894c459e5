#!/bin/sh
# Installs packages in a recipe's image: packages.sh NAME[=VERSION] …. Every recipe has this file.
# Lists and packages are fetched up to three times, because a mirror may just be changing. A list that
# cannot be fetched is an error: without it an old version would be installed, or "not found" reported.
#
# NAME|NAME stands for the first package that the distribution has, /FILE for a package in a file.
# Exit codes: 1 when the lists cannot be fetched, else apt-get's.
set -eu
export DEBIAN_FRONTEND=noninteractive

round=1
until apt-get -o APT::Update::Error-Mode=any -o Acquire::Retries=2 update -q; do
  [ "$round" -lt 3 ] || exit 1
  round=$((round + 1))
  sleep 5
done

# exists NAME: whether the distribution has it; a name that other packages provide is none.
exists() { apt-cache show "$1" 2> /dev/null | grep -q '^Package: '; }

# Appends the package to install for each argument, and drops the argument.
for wanted; do
  shift
  while [ "$wanted" != "${wanted#*|}" ] && ! exists "${wanted%%|*}"; do
    wanted=${wanted#*|}
  done
  set -- "$@" "${wanted%%|*}"
done

install() { apt-get -o Acquire::Retries=2 install -qy "$@"; }

# What a simulation refuses, such as a version that is gone, another round would not change.
if install --simulate --no-install-recommends "$@" > /dev/null 2>&1; then
  install --download-only --no-install-recommends "$@" ||
    { sleep 5; install --download-only --no-install-recommends "$@"; } || sleep 5
fi
install --no-install-recommends "$@"

# For toots' record of what was resolved.
for package; do
  case $package in
    /*) package=$(dpkg-deb --field "$package" Package) ;;
  esac
  dpkg-query --show --showformat 'toots-package ${Package} ${Version}\n' "${package%%=*}" || true
done

lists=
eval "$(apt-config shell lists Dir::State::lists/d)"
rm -rf "${lists:?}"/*
