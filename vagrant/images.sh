# shellcheck shell=bash
# The images of the lab: of its machines, and of the components (images/list.txt). Expects lib.sh.
# shellcheck disable=SC2154

# list: the lines of images/list.txt.
list() { grep -v '^#' "$here/images/list.txt"; }

# chosen: which public images this lab uses, a line "key reference" each; decided once for each lab.
chosen() { cat "$lab/public" 2> /dev/null || true; }

# image KEY: what the component's image is called on this machine; lab_name KEY: its name:tag in the lab's registry.
image() {
  local public
  public=$(chosen | awk -v key="$1" '$1 == key { print $2 }')
  if [ -n "$public" ]; then echo "$public"; else list | awk -v key="$1" '$1 == key { sub(":.*", "", $3); print "toots-lab/" $3 }'; fi
}
lab_name() {
  local public
  public=$(chosen | awk -v key="$1" '$1 == key { print $2 }')
  # Without the server that it was pulled from.
  if [ -n "$public" ]; then sed -E 's|^[^/]*[.:][^/]*/||' <<< "$public"; else list | awk -v key="$1" '$1 == key { print "lab/" $3 }'; fi
}

# public: asks the public registries. The first answer settles whether they are reached; a single image that is gone is then built.
public() {
  [ ! -f "$lab/public" ] || return 0
  : > "$lab/public.new"
  local key reference first=yes
  while read -r key reference _; do
    [ "$reference" != - ] || continue
    if [ $first = yes ]; then
      first=no
      if ! timeout 60 docker pull -q "$reference" >> "$log" 2>&1; then
        say "the public registries do not answer: images are built from packages, and what has no package is played by a stand-in"
        break
      fi
    elif ! timeout 1800 docker pull -q "$reference" >> "$log" 2>&1; then
      say "$reference cannot be pulled: $key is built"
      continue
    fi
    say "pulled $reference"
    echo "$key $reference" >> "$lab/public.new"
  done < <(list)
  mv "$lab/public.new" "$lab/public"
}

# build NAME FOLDER KEY [ARGUMENT…]: builds toots-lab/NAME unless it is there, made from the same files on the same base. KEY stands for
# what the folder gets from elsewhere.
build() {
  local name=$1 folder=$2 key=$3 digest base
  shift 3
  base=$(docker image inspect -f '{{.Id}}' "toots-lab/$(sed -n 's|^FROM toots-lab/\([a-z]*\).*|\1|p' "$folder/Dockerfile" | head -n 1)" 2> /dev/null || true)
  digest=$( (cd "$folder" && echo "$base $key $*" && find . -type f -size -1000k -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-16)
  [ "$(docker image inspect -f '{{index .Config.Labels "toots.lab.source"}}' "toots-lab/$name" 2> /dev/null)" = "$digest" ] ||
    step "image $name" docker build -q -t "toots-lab/$name" --label "toots.lab.source=$digest" --label toots-lab "$@" "$folder"
}

# base: Debian 12, pulled where the public registry answers, else made from the package mirror.
base() {
  ! docker image inspect toots-lab/base > /dev/null 2>&1 || return 0
  if timeout 60 docker pull -q debian:12-slim >> "$log" 2>&1; then
    docker tag debian:12-slim toots-lab/base
    return 0
  fi
  need mmdebstrap:mmdebstrap
  # shellcheck disable=SC2016 # $1 is mmdebstrap's
  step "base system" as_root mmdebstrap --variant=minbase --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    --customize-hook='echo "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb\"; }; Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";" > "$1/etc/apt/apt.conf.d/90-small"' \
    bookworm "$cache/base.tar"
  step "base image" docker import --change 'LABEL toots-lab=' "$cache/base.tar" toots-lab/base
  as_root rm -f "$cache/base.tar"
}

# program NAME PACKAGE: builds an image around a Go program at the version and sums that its folder pins. The program is kept in the cache,
# and the build's context too, so that no binary lies in the checkout.
program() {
  local name=$1 folder=$here/images/$1 context=$cache/context/$1 key
  key=$(cat "$folder/go.mod" "$folder/go.sum" | sha256sum | cut -c1-16)
  if [ ! -x "$cache/$name-$key" ]; then
    need_go
    step "program $name" env -C "$folder" CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$cache/$name-$key.new" "$2"
    mv "$cache/$name-$key.new" "$cache/$name-$key"
  fi
  rm -rf "$context"
  mkdir -p "$context"
  find "$folder" -maxdepth 1 -type f ! -name 'go.*' -exec cp {} "$context/" \;
  ln "$cache/$name-$key" "$context/$name"
  build "$name" "$context" "$key"
}

# standin NAME: builds the image of a stand-in; all programs are built at once, when the sources have changed.
standin() {
  local sources=$root/tests/standins context=$cache/context/standins key
  key=$(cd "$sources" && find . -type f ! -name '*_test.go' ! -name '*.md' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  if [ "$(cat "$context/key" 2> /dev/null)" != "$key" ]; then
    need_go
    rm -rf "$context"
    mkdir -p "$context"
    step "stand-ins" env -C "$sources" CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$context/" ./cmd/...
    echo "$key" > "$context/key"
  fi
  cp "$here"/images/standin/* "$context/"
  # The digest of this one program, so that a change of one does not rebuild the images of all.
  build "standin-$1" "$context" "$(sha256sum < "$context/$1")" --target "$1"
}

images() {
  public
  base
  build bare "$here/images/host" '' --target bare
  build host "$here/images/host" '' --target host
  build registry "$here/images/registry" ''
  local key name
  while read -r key _; do
    name=$(image "$key")
    name=${name#toots-lab/}
    case $name in
      */* | *:*) ;; # public
      haproxy-other) build "$name" "$here/images/haproxy" '' --build-arg "suite=$(if chosen | grep -q '^haproxy '; then echo bookworm; else echo trixie; fi)" ;;
      standin-*) standin "${name#standin-}" ;;
      consul | consul-template | http-echo) program "$name" "github.com/hashicorp/$name" ;;
      *) build "$name" "$here/images/$name" '' ;;
    esac
  done < <(list)
}
