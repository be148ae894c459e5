# shellcheck shell=bash
# The images of the lab: its machines and the components (images/list.txt). Expects lib.sh.
# shellcheck disable=SC2154

# list: prints the entries of images/list.txt.
list() { grep -v '^#' "$here/images/list.txt"; }

# chosen: prints the public images that this lab uses, one "key reference" per line; decided once per
# lab.
chosen() { grep -v '^mesos ' "$lab/public" 2> /dev/null || true; }

# image KEY: prints the name of the component's image on this machine. lab_name KEY: prints its
# name:tag in the lab's registry.
image() {
  local public
  public=$(chosen | awk -v key="$1" '$1 == key { print $2 }')
  if [ -n "$public" ]; then echo "$public"; else list | awk -v key="$1" '$1 == key { sub(":.*", "", $3); print "toots-lab/" $3 }'; fi
}
lab_name() {
  local public
  public=$(chosen | awk -v key="$1" '$1 == key { print $2 }')
  # Without the registry that it was pulled from.
  if [ -n "$public" ]; then sed -E 's|^[^/]*[.:][^/]*/||' <<< "$public"; else list | awk -v key="$1" '$1 == key { print "lab/" $3 }'; fi
}

# has_packages: whether Mesos' packages can be installed: the recipe's repository answers, and its key
# has not expired.
has_packages() {
  if ! grep -q '^mesos ' "$lab/public.new"; then
    if packages_answer 2>> "$log"; then
      echo "mesos packages" >> "$lab/public.new"
    else
      say "Mesos' packages cannot be had; using stand-ins for Mesos, Marathon and Chronos"
      echo "mesos -" >> "$lab/public.new"
    fi
  fi
  grep -qx 'mesos packages' "$lab/public.new"
}

packages_answer() {
  local recipe=$root/playbooks/mesos/image/recipe.toml
  curl -fsSL --max-time 60 -o "$lab/InRelease" "$(setting "$recipe" repository)/dists/noble/InRelease" || return 1
  curl -fsSL --max-time 60 "$(setting "$recipe" key)" | gpg --show-keys --with-colons |
    awk -F: -v now="$(date +%s)" '/^pub/ && ($7 == "" || $7 > now) { found = 1 } END { exit !found }'
}

# setting FILE NAME: prints a text of a TOML file.
setting() { sed -n "s/^$2 = \"\(.*\)\"\$/\1/p" "$1" | head -n 1; }

# public: pulls the public images. The first answer decides whether public registries are reachable;
# a single missing image is built instead.
public() {
  [ ! -f "$lab/public" ] || return 0
  : > "$lab/public.new"
  local key reference first=yes
  while read -r key reference _; do
    [ "$reference" != - ] || continue
    # The real frameworks do not run on the stand-in for Mesos.
    case $key in marathon | chronos) has_packages || continue ;; esac
    if [ $first = yes ]; then
      first=no
      if ! timeout 60 docker pull -q "$reference" >> "$log" 2>&1; then
        say "public registries do not answer; building images from packages, with stand-ins for programs without a package"
        break
      fi
    elif ! timeout 1800 docker pull -q "$reference" >> "$log" 2>&1; then
      say "cannot pull $reference; building $key instead"
      continue
    fi
    say "pulled $reference"
    echo "$key $reference" >> "$lab/public.new"
  done < <(list)
  mv "$lab/public.new" "$lab/public"
}

# build NAME FOLDER KEY [ARGUMENT…]: builds toots-lab/NAME unless it exists, built from the same files
# on the same base. KEY identifies inputs from outside the folder.
build() {
  local name=$1 folder=$2 key=$3 digest base
  shift 3
  base=$(docker image inspect -f '{{.Id}}' "toots-lab/$(sed -n 's|^FROM toots-lab/\([a-z0-9]*\).*|\1|p' "$folder/Dockerfile" | head -n 1)" 2> /dev/null || true)
  digest=$( (cd "$folder" && echo "$base $key $*" && find . -type f -size -1000k -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-16)
  [ "$(docker image inspect -f '{{index .Config.Labels "toots.lab.source"}}' "toots-lab/$name" 2> /dev/null)" = "$digest" ] ||
    step "image $name" docker build -q -t "toots-lab/$name" --label "toots.lab.source=$digest" --label toots-lab "$@" "$folder"
}

# base NAME SUITE TAG: makes toots-lab/NAME, a Debian, pulled where the public registry answers, else
# built from the package mirror.
base() {
  ! docker image inspect "toots-lab/$1" > /dev/null 2>&1 || return 0
  if timeout 60 docker pull -q "debian:$3" >> "$log" 2>&1; then
    docker tag "debian:$3" "toots-lab/$1"
    return 0
  fi
  need mmdebstrap:mmdebstrap
  # shellcheck disable=SC2016 # $1 is mmdebstrap's
  step "base system $2" as_root mmdebstrap --variant=minbase --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    --customize-hook='echo "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb\"; }; Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";" > "$1/etc/apt/apt.conf.d/90-small"' \
    "$2" "$cache/base.tar"
  step "base image $2" docker import --change 'LABEL toots-lab=' "$cache/base.tar" "toots-lab/$1"
  as_root rm -f "$cache/base.tar"
}

# debian_13 MACHINE…: the images of the machines with Debian 13, when one of these is named.
debian_13() {
  case " $* " in *' t'[1-3]' '* | *' d2 '*) ;; *) return 0 ;; esac
  base base13 trixie 13-slim
  local key
  key=$(docker image inspect -f '{{.Id}}' toots-lab/base13)
  build bare13 "$here/images/host" "$key" --build-arg base=toots-lab/base13 --target bare
  build containerd13 "$here/images/host" "$key" --build-arg base=toots-lab/base13 --target containerd
}

# engine_29 MACHINE…: the images of the machines with Engine 29, when one of these is named. It has no
# package; its Go module is built, some minutes with its 300 modules.
engine_29() {
  case " $* " in *' t2 '* | *' t3 '*) ;; *) return 0 ;; esac
  # A build from the module does not know its release.
  local ldflags='-X github.com/moby/moby/v2/dockerversion.Version=29.8.0'
  program engine29 github.com/moby/moby/v2/cmd/dockerd
  build engine29graph "$here/images/engine29graph" ''
}

# program NAME PACKAGE: builds an image around a Go program, at the version and checksums that its
# folder pins, with the caller's $ldflags. The program and the build context are kept in the cache, not
# in the checkout.
program() {
  local name=$1 folder=$here/images/$1 context=$cache/context/$1 key
  key=$( (cat "$folder/go.mod" "$folder/go.sum" && printf '%s' "${ldflags:-}") | sha256sum | cut -c1-16)
  if [ ! -x "$cache/$name-$key" ]; then
    need_go
    step "program $name" env -C "$folder" CGO_ENABLED=0 go build -trimpath -ldflags "-s -w ${ldflags:-}" -o "$cache/$name-$key.new" "$2"
    mv "$cache/$name-$key.new" "$cache/$name-$key"
  fi
  rm -rf "$context"
  mkdir -p "$context"
  find "$folder" -maxdepth 1 -type f ! -name 'go.*' -exec cp {} "$context/" \;
  ln "$cache/$name-$key" "$context/$name"
  build "$name" "$context" "$key"
}

# standins: compiles all stand-ins together when their sources changed.
standins() {
  local sources=$root/tests/standins context=$cache/context/standins key
  key=$(cd "$sources" && find . -type f ! -name '*_test.go' ! -name '*.md' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  if [ "$(cat "$context/key" 2> /dev/null)" != "$key" ]; then
    need_go
    rm -rf "$context"
    mkdir -p "$context"
    step "stand-ins" env -C "$sources" CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$context/" ./cmd/...
    echo "$key" > "$context/key"
  fi
}

# standin NAME: builds the image of a stand-in.
standin() {
  local context=$cache/context/standins
  standins
  cp "$here"/images/standin/* "$context/"
  # Keyed by this program alone, so that a change of one does not rebuild the images of the others.
  build "standin-$1" "$context" "$(sha256sum < "$context/$1")" --target "$1"
}

# archive: builds the package of Mesos' stand-ins and the signed archive around it.
archive() {
  local context=$cache/context/archive
  standins
  rm -rf "$context"
  mkdir -p "$context"
  cp "$here"/images/archive/* "$cache"/context/standins/mesos-* "$context/"
  build archive "$context" "$(cat "$context"/mesos-* | sha256sum)" --build-arg version=0.1.standin
}

images() {
  public
  base base bookworm 12-slim
  local base_id
  base_id=$(docker image inspect -f '{{.Id}}' toots-lab/base)
  build bare "$here/images/host" "$base_id" --target bare
  build host "$here/images/host" "$base_id" --target host
  build registry "$here/images/registry" ''
  archive
  local key name
  while read -r key _; do
    name=$(image "$key")
    name=${name#toots-lab/}
    case $name in
      */* | *:*) ;; # public
      debian) docker tag toots-lab/base toots-lab/debian ;;
      haproxy-other) build "$name" "$here/images/haproxy" '' --build-arg "suite=$(if chosen | grep -q '^haproxy '; then echo bookworm; else echo trixie; fi)" ;;
      standin-*) standin "${name#standin-}" ;;
      consul | consul-template | http-echo) program "$name" "github.com/hashicorp/$name" ;;
      *) build "$name" "$here/images/$name" '' ;;
    esac
  done < <(list)
}
