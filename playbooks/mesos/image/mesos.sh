#!/bin/sh
# Installs Mesos in its image: the package from the vendor's repository, or the file `deb` beside
# this script, with what it needs. The arguments of the recipe are variables. The last lines of a
# failure say what was wrong and which argument changes it: they are what the operator sees.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Empty where the inventory sets an empty text.
: "${repository:=}" "${suite:=}" "${component:=}" "${package:=}" "${version:=}" "${key:=}"
: "${key_fingerprint:=}" "${deb_sha256:=}" "${dependencies:=}" "${docker_cli:=}" "${needed_by:=}"
# A file, or whatever the repository has, may be of any version.
# shellcheck disable=SC2254 # A pattern.
case $version in
  '' | $needed_by) ;;
  *) [ -n "$deb_sha256" ] || dependencies='' docker_cli='' ;;
esac
fingerprint=$(printf '%s' "$key_fingerprint" | tr -d ' ' | tr '[:lower:]' '[:upper:]')
found=
expires=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fail WHAT ARGUMENT…: ends with the facts of the package's source, and the arguments to change.
fail() {
  {
    echo
    echo "mesos: $1"
    shift
    if [ -z "$deb_sha256" ]; then
      echo "  repository: $repository $suite $component"
      echo "  key: $key"
      echo "  fingerprint expected: $fingerprint"
      echo "  fingerprint found: ${found:-none}"
      echo "  key expires: ${expires:-unknown}"
    else
      echo "  package: deb of [images.mesos], SHA-256 $deb_sha256"
    fi
    echo "  clock of this host: $(date -u '+%Y-%m-%d %H:%M:%S UTC')"
    printf '  arguments to check: [images.mesos] %s' "$1"
    shift
    [ $# = 0 ] || printf ', %s' "$@"
    echo
  } >&2
  exit 1
}

# folder KEY: a folder of apt's.
folder() {
  folder=
  eval "$(apt-config shell folder "$1/d")"
  printf '%s\n' "${folder%/}"
}

# packages NAME…: installs packages. Sets `code` to 1 when the lists could not be fetched.
packages() {
  code=0
  sh "$here/packages.sh" "$@" || code=$?
}

# The distribution's own, before anything else is asked.
install_dependencies() {
  gpg=
  if [ -z "$deb_sha256" ] && ! command -v gpg > /dev/null; then
    gpg=gpg
  fi
  # shellcheck disable=SC2086 # Lists.
  set -- $dependencies $docker_cli $gpg
  [ $# -gt 0 ] || return 0
  packages "$@"
  case $code in
    0) ;;
    1) fail "cannot fetch the package lists of the distribution" base ;;
    *) fail "cannot install the dependencies" dependencies docker_cli base ;;
  esac
}

# Fetches the key, and keeps it only if it is the expected one: other keys in its file are dropped.
fetch_key() {
  if ! /usr/lib/apt/apt-helper -o Acquire::Retries=2 download-file "$key" "$work/key"; then
    fail "cannot fetch the key" key deb
  fi
  export GNUPGHOME="$work/gnupg"
  mkdir -m 700 "$GNUPGHOME"
  gpg --batch --quiet --with-colons --show-keys "$work/key" > "$work/keys" || true
  # The fingerprint that follows a primary key is its own.
  found=$(awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }' \
    "$work/keys" | paste -sd ' ' -)
  case " $found " in
    "  ") fail "the file of the key has no key" key ;;
    *" $fingerprint "*) ;;
    *) fail "the key has another fingerprint" key_fingerprint key ;;
  esac
  end=$(awk -F: -v wanted="$fingerprint" '
    $1 == "pub" { end = $7; validity = $2 }
    $1 == "fpr" && $10 == wanted { print (validity == "r" ? "revoked" : end); exit }' "$work/keys")
  case $end in
    revoked)
      expires=revoked
      fail "the key is revoked" key deb
      ;;
    "") expires=never ;;
    *)
      expires=$(date -u -d "@$end" '+%Y-%m-%d %H:%M:%S UTC')
      if [ "$end" -le "$(date +%s)" ]; then
        fail "the key has expired" key deb
      fi
      ;;
  esac
  # The base may have no agent, which public keys do not need.
  gpg --batch --quiet --no-autostart --import "$work/key"
  gpg --batch --quiet --export "$fingerprint" > "$keyring"
  chmod 644 "$keyring"
}

install_from_repository() {
  keyring=$(folder Dir::Etc)/mesos.gpg
  source=$(folder Dir::Etc::sourceparts)/mesos.sources
  install_dependencies
  fetch_key
  {
    printf 'Types: deb\nURIs: %s\nSuites: %s\n' "$repository" "$suite"
    [ -z "$component" ] || printf 'Components: %s\n' "$component"
    printf 'Signed-By: %s\n' "$keyring"
  } > "$source"
  packages "$package${version:+=$version}"
  case $code in
    0) ;;
    1)
      fail "cannot fetch or verify the lists of the repository" \
        repository suite component key deb
      ;;
    *)
      echo "mesos: versions of $package in the repository:" >&2
      apt-cache madison "$package" >&2 || true
      fail "cannot install $package${version:+=$version}" version package dependencies deb
      ;;
  esac
  rm "$keyring" "$source"
  if [ -n "$gpg" ]; then
    apt-get purge -qy --auto-remove "$gpg"
  fi
}

install_from_file() {
  found=$(sha256sum "$here/deb" | cut -d ' ' -f 1)
  if [ "$found" != "$deb_sha256" ]; then
    fail "the package has another SHA-256: $found" deb_sha256 deb
  fi
  # apt takes a file for a package by its name.
  mv "$here/deb" "$work/mesos.deb"
  # Its user reads the file.
  chmod 755 "$work"
  install_dependencies
  packages "$work/mesos.deb"
  [ "$code" = 0 ] || fail "cannot install the package" deb dependencies base
}

if [ -n "$deb_sha256" ]; then
  install_from_file
else
  install_from_repository
fi

for program in mesos-agent mesos-master; do
  "$program" --help > "$work/help" 2>&1 || {
    cat "$work/help" >&2
    fail "$program does not start" dependencies version
  }
done
[ -z "$docker_cli" ] || docker --version || fail "there is no docker command" docker_cli
