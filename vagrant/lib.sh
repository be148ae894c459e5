# shellcheck shell=bash
# The steps of vagrant/demo. Expects: here, root, lab, cache, log.
# shellcheck disable=SC2154

machines_up=(registry m1 m2 m3 s1 e1)
parts=(zookeeper haproxy consul consul-template http-echo)
standins=(mesos-master mesos-slave marathon chronos registrator)
# What each lab image is in the registry: name:tag, in the order of "${parts[@]} ${standins[@]}".
tags=(zookeeper:3.8 haproxy:2.6 consul:1.21.0 consul-template:0.41.1 http-echo:1.0.0
  standin-mesos-master:1.11.0 standin-mesos-slave:1.11.0 standin-marathon:1.11.24 standin-chronos:3.0.2 standin-registrator:v7)

say() { printf '%s\n' "lab: $*"; }

# step NAME COMMAND…: runs it with its output in the log; the last lines of that when it fails.
step() {
  local name=$1 began=$SECONDS
  shift
  : > "$log"
  if ! "$@" > "$log" 2>&1 < /dev/null; then
    say "failed: $name"
    tail -n 30 "$log" >&2
    exit 1
  fi
  local took=$((SECONDS - began))
  [ $took -lt 2 ] || say "$name ($took s)"
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

tools() {
  local missing=() command package
  for pair in dockerd:docker.io vagrant:vagrant mmdebstrap:mmdebstrap go:golang-go cc:build-essential shellcheck:shellcheck ssh:openssh-client \
    sshd:openssh-server; do
    command=${pair%%:*} package=${pair##*:}
    command -v "$command" > /dev/null || [ -x "/usr/sbin/$command" ] || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get > /dev/null || { say "missing, please install: ${missing[*]}"; exit 1; }
    step "package lists" as_root apt-get -o DPkg::Lock::Timeout=300 update -q
    step "packages ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "${missing[@]}"
  fi
  command -v cargo > /dev/null || { say "missing: Rust 1.89 or later, see https://rustup.rs"; exit 1; }
}

engine() {
  ! docker info > /dev/null 2>&1 || return 0
  if [ -d /run/systemd/system ]; then
    step "docker engine" as_root systemctl start docker
  else
    # A pid file of an Engine that was killed keeps the next one from starting.
    if [ -f /var/run/docker.pid ] && ! as_root kill -0 "$(cat /var/run/docker.pid)" 2> /dev/null; then as_root rm -f /var/run/docker.pid; fi
    as_root sh -c 'setsid dockerd > /var/log/toots-lab-dockerd.log 2>&1 < /dev/null &'
  fi
  for _ in $(seq 60); do
    ! docker info > /dev/null 2>&1 || return 0
    sleep 0.5
  done
  say "the Docker Engine does not start; see /var/log/toots-lab-dockerd.log, and that you may use it: docker info"
  exit 1
}

# built NAME DIGEST: whether the image exists and was made from this.
built() { [ "$(docker image inspect -f '{{index .Config.Labels "toots.lab.source"}}' "toots-lab/$1" 2> /dev/null)" = "$2" ]; }

# build NAME FOLDER [ARGUMENT…]: builds unless it is there from the same files on the same base.
build() {
  local name=$1 folder=$2 digest
  shift 2
  digest=$( (docker image inspect -f '{{.Id}}' debian:12 2> /dev/null; printf '%s ' "$@"; find "$folder" -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-16)
  built "$name" "$digest" || step "image $name" docker build -q -t "toots-lab/$name" --label "toots.lab.source=$digest" --label toots-lab "$@" "$folder"
}

# base: debian:12, pulled where the public registry answers, else made from the package mirror.
base() {
  docker image inspect debian:12 > /dev/null 2>&1 || timeout 60 docker pull -q debian:12 > /dev/null 2>&1 || {
    step "base system" as_root mmdebstrap --variant=minbase --include=ca-certificates bookworm "$cache/debian.tar"
    step "base image" docker import "$cache/debian.tar" debian:12
    as_root rm -f "$cache/debian.tar"
  }
}

# program NAME PACKAGE: a Go program at the version and sums that its folder pins.
program() {
  local folder=$here/images/$1 key
  key=$(cat "$folder/go.mod" "$folder/go.sum" | sha256sum | cut -c1-16)
  if [ ! -x "$cache/$1-$key" ]; then
    step "program $1" env -C "$folder" CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$cache/$1-$key" "$2"
  fi
  cmp -s "$cache/$1-$key" "$folder/$1" || cp "$cache/$1-$key" "$folder/$1"
}

standin() {
  local context=$cache/standin-$1
  mkdir -p "$context"
  step "stand-in $1" env -C "$root/tests/standins" CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$context/$1.new" "./cmd/$1"
  cmp -s "$context/$1.new" "$context/$1" || cp "$context/$1.new" "$context/$1"
  rm -f "$context/$1.new"
  cp "$here/images/standin/Dockerfile" "$here/images/standin/start-$1.sh" "$context/"
  build "standin-$1" "$context" --build-arg "NAME=$1"
}

images() {
  base
  build bare "$here/images/host" --target bare
  build host "$here/images/host" --target host
  build registry "$here/images/registry"
  program consul github.com/hashicorp/consul
  program consul-template github.com/hashicorp/consul-template
  program http-echo github.com/hashicorp/http-echo
  local part
  for part in "${parts[@]}"; do build "$part" "$here/images/$part"; done
  for part in "${standins[@]}"; do standin "$part"; done
}

container() { docker inspect -f '{{.State.Running}} {{.Image}}' "toots-lab-$1" 2> /dev/null || true; }

# Machines of another checkout, or from an older image, are not ours to keep: they are made anew.
stale() {
  local name id image
  for name in registry m1 m2 m3 s1 e1 s2 e2 bare; do
    id=$(docker inspect -f '{{.Id}}' "toots-lab-$name" 2> /dev/null) || continue
    case $name in registry | bare) image=$name ;; *) image=host ;; esac
    if [ "$(cat "$here/.vagrant/machines/$name/docker/id" 2> /dev/null)" != "$id" ] ||
      [ "$(docker inspect -f '{{.Image}}' "toots-lab-$name")" != "$(docker image inspect -f '{{.Id}}' "toots-lab/$image")" ]; then
      docker rm -fv "toots-lab-$name" > /dev/null
      rm -rf "$here/.vagrant/machines/$name"
    fi
  done
}

# Throws the hosts away; the registry stays.
discard() {
  local name
  for name in m1 m2 m3 s1 e1 s2 e2 bare; do
    ! docker inspect "toots-lab-$name" > /dev/null 2>&1 || docker rm -fv "toots-lab-$name" > /dev/null
    rm -rf "$here/.vagrant/machines/$name"
  done
}

# machines [FURTHER]: those that always run, and one more.
machines() {
  stale
  local name wanted=()
  for name in "${machines_up[@]}" "$@"; do
    case $(container "$name") in true*) ;; *) wanted+=("$name") ;; esac
  done
  [ ${#wanted[@]} -eq 0 ] || step "machines ${wanted[*]}" env -C "$here" vagrant up --provider=docker "${wanted[@]}"
  cp /usr/share/vagrant/keys/vagrant "$lab/key.new" 2> /dev/null || cp "$(find / -path '*/keys/vagrant' -not -path '/proc/*' -print -quit 2> /dev/null)" "$lab/key.new"
  install -m 600 "$lab/key.new" "$lab/key" && rm -f "$lab/key.new"
  known_hosts
}

# The keys are read inside the machines, not asked over the network, so they are proven.
known_hosts() {
  local name address key
  : > "$lab/known_hosts.new"
  for name in $(docker ps --filter label=toots-lab --format '{{.Names}}'); do
    [ "$name" != toots-lab-registry ] || continue
    for _ in $(seq 40); do
      docker exec "$name" test -s /etc/ssh/ssh_host_ed25519_key.pub && break
      sleep 0.25
    done
    address=$(docker exec "$name" ip -4 -o addr | grep -o '10\.42\.7\.[0-9]*' | grep -v '\.255$' | head -n 1)
    for key in ed25519 ecdsa rsa; do
      printf '%s %s\n' "$address" "$(docker exec "$name" cut -d' ' -f1,2 "/etc/ssh/ssh_host_${key}_key.pub")" >> "$lab/known_hosts.new"
    done
  done
  mv "$lab/known_hosts.new" "$lab/known_hosts"
}

# Fills the registry's volume through a throw-away registry without TLS on loopback; only what changed crosses.
registry() {
  for _ in $(seq 60); do
    docker exec toots-lab-registry test -s /etc/docker/registry/registry.crt && break
    sleep 0.5
  done
  docker exec toots-lab-registry cat /etc/docker/registry/ca.crt > "$lab/registry-ca.crt"
  (umask 077; docker exec toots-lab-registry cat /etc/docker/registry/password > "$lab/registry-password")
  local all=("${parts[@]}" "${standins[@]/#/standin-}") i want have
  want=$(for i in "${!all[@]}"; do docker image inspect -f "${tags[$i]} {{.Id}}" "toots-lab/${all[$i]}"; done)
  have=$(docker exec toots-lab-registry cat /var/lib/registry/lab-images 2> /dev/null || true)
  [ "$want" != "$have" ] || return 0
  step "registry's images" push "$want"
}

push() {
  local port i
  docker rm -f toots-lab-push 2> /dev/null || true
  docker run -d --name toots-lab-push --label toots-lab -p 127.0.0.1::5000 -v toots-lab-registry:/var/lib/registry \
    -e REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/var/lib/registry --entrypoint docker-registry toots-lab/registry serve /etc/docker/registry/plain.yml
  port=$(docker port toots-lab-push 5000/tcp | head -n 1 | sed 's/.*://')
  for _ in $(seq 40); do
    ! curl -fsS -o /dev/null "http://127.0.0.1:$port/v2/" || break
    sleep 0.25
  done
  local all=("${parts[@]}" "${standins[@]/#/standin-}")
  for i in "${!all[@]}"; do
    docker tag "toots-lab/${all[$i]}" "127.0.0.1:$port/lab/${tags[$i]}"
    docker push "127.0.0.1:$port/lab/${tags[$i]}"
    docker rmi "127.0.0.1:$port/lab/${tags[$i]}"
  done
  docker rm -f toots-lab-push
  printf '%s\n' "$1" | docker exec -i toots-lab-registry sh -c 'cat > /var/lib/registry/lab-images'
}

down() {
  local name
  if docker info > /dev/null 2>&1; then
    for name in $(docker ps -aq --filter label=toots-lab); do docker rm -fv "$name" > /dev/null; done
    for name in $(docker network ls -q --filter name=vagrant_network_10.42.7.0/24); do docker network rm "$name" > /dev/null; done
    ! docker volume inspect toots-lab-registry > /dev/null 2>&1 || docker volume rm toots-lab-registry > /dev/null
    if [ "$1" = --purge ]; then
      docker image ls -q --filter label=toots-lab | sort -u | xargs -r docker rmi -f > /dev/null
      rm -rf "$cache"
    fi
  fi
  rm -rf "$here/.vagrant" "$lab"
  say "removed"
}
