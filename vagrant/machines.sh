# shellcheck shell=bash
# The machines of the lab, their host keys, and the contents of the registry. Expects lib.sh and
# images.sh.
# shellcheck disable=SC2154

# stale MACHINE…: removes those of another checkout, from an older image, or left without a record by an
# interrupted run; they are recreated.
stale() {
  local name id image record
  for name in "$@"; do
    record=$here/.vagrant/machines/lab-$name/docker
    id=$(docker inspect -f '{{.Id}}' "toots-lab-$name" 2> /dev/null) || { rm -rf "$record"; continue; }
    case $name in
      registry) image=registry ;;
      bare | d1 | d3) image=bare ;;
      d2) image=bare13 ;;
      t1) image=containerd13 ;;
      t2) image=engine29 ;;
      t3) image=engine29graph ;;
      *) image=host ;;
    esac
    if [ "$(cat "$record/id" 2> /dev/null)" != "$id" ] ||
      [ "$(docker inspect -f '{{.Image}}' "toots-lab-$name")" != "$(docker image inspect -f '{{.Id}}' "toots-lab/$image")" ]; then
      remove "$name"
    fi
  done
}

# Vagrant chooses the network's name; a network with the same addresses and another configuration is
# in its way.
stale_network() {
  local network
  network=$(docker network ls -q --filter name=vagrant_network_10.42.7.0/24)
  [ -n "$network" ] || return 0
  [ "$(docker network inspect -f '{{.Internal}} {{(index .IPAM.Config 0).Subnet}}' "$network")" = 'false 10.42.7.0/24' ] ||
    docker network rm "$network" >> "$log"
}

# remove MACHINE…: removes those that exist, all at once, and what is recorded of them.
remove() {
  local name found=()
  for name in "$@"; do
    ! docker inspect "toots-lab-$name" > /dev/null 2>&1 || found+=("toots-lab-$name")
  done
  [ ${#found[@]} -eq 0 ] || docker rm -fv "${found[@]}" >> "$log"
  for name in "$@"; do
    rm -rf "$here/.vagrant/machines/lab-$name/docker" "$lab/trust-$name" "$lab/ssh-$name"
  done
}

# machines MACHINE…: starts those that do not run, and proves the login to each. It leaves all others
# alone: another test may stop or remove them meanwhile.
machines() {
  stale "$@"
  stale_network
  local name wanted=()
  for name in "$@"; do
    [ "$(docker inspect -f '{{.State.Running}}{{.State.Paused}}' "toots-lab-$name" 2> /dev/null)" = truefalse ] || wanted+=("$name")
  done
  # Vagrant does not start a machine that a test paused.
  for name in "${wanted[@]}"; do docker unpause "toots-lab-$name" >> "$log" 2>&1 || true; done
  [ ${#wanted[@]} -eq 0 ] || step "machines ${wanted[*]}" start "${wanted[@]}"
  access "$@"
}

# start MACHINE…: where Vagrant starts several at once, it can take the id of another machine and fail;
# what it left then is not started again by itself.
start() {
  local up=(env -C "$here" vagrant up --provider=docker)
  "${up[@]}" "${@/#/lab-}" || { stale "$@"; "${up[@]}" "${@/#/lab-}"; }
}

# access MACHINE…: writes the key, the host keys and an ssh_config, then checks that each machine accepts
# the login and that its Engine answers.
access() {
  # Vagrant stores its well-known key there.
  install -m 600 "${VAGRANT_HOME:-$HOME/.vagrant.d}/insecure_private_key" "$lab/key"
  each trust "$@"
  # A run of toots may read them meanwhile.
  cat "$lab"/trust-* > "$lab/known_hosts.new"
  cat "$lab"/ssh-* > "$lab/ssh_config.new"
  mv "$lab/known_hosts.new" "$lab/known_hosts"
  mv "$lab/ssh_config.new" "$lab/ssh_config"
  each enter "$@"
}

# each FUNCTION MACHINE…: calls it for all machines at once.
each() {
  local verb=$1 name pids=()
  shift
  for name in "$@"; do
    "$verb" "$name" > "$lab/$verb.$name" 2>&1 < /dev/null &
    pids+=($!)
  done
  for name in "$@"; do
    wait "${pids[0]}" || {
      say "$name: login failed, or its Engine does not answer:"
      cat "$lab/$verb.$name" >&2
      exit 1
    }
    pids=("${pids[@]:1}")
    rm -f "$lab/$verb.$name"
  done
}

# trust MACHINE: records its host keys, read inside the machine and therefore authentic.
trust() {
  local address
  # shellcheck disable=SC2016 # the script runs in the machine
  address=$(docker inspect -f '{{range $name, $network := .NetworkSettings.Networks}}{{if eq $name "vagrant_network_10.42.7.0/24"}}{{$network.IPAddress}}{{end}}{{end}}' "toots-lab-$1")
  docker exec "toots-lab-$1" sh -c 'for _ in $(seq 120); do systemctl -q is-active ssh && break; sleep 0.25; done; cat /etc/ssh/ssh_host_*_key.pub' |
    sed "s/^\([^ ]* [^ ]*\).*/$1,$address \1/" > "$lab/trust-$1"
  printf 'Host %s\n  HostName %s\n  HostKeyAlias %s\n  User vagrant\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n' \
    "$1" "$address" "$1" "\"$lab/key\"" "\"$lab/known_hosts\"" > "$lab/ssh-$1"
}

enter() {
  local what='docker info -f {{.ServerVersion}}'
  case $1 in registry | bare | d[1-3]) what=true ;; esac
  timeout 90 ssh -F "$lab/ssh_config" -o BatchMode=yes -o ConnectTimeout=10 "$1" "for _ in \$(seq 60); do $what && exit 0; sleep 0.5; done; exit 1"
}

# registry: fetches its CA and login, and fills its volume when an image changed.
registry() {
  docker exec toots-lab-registry sh -c 'for _ in $(seq 120); do [ -s /etc/docker/registry/registry.crt ] && exit 0; sleep 0.25; done; exit 1' || {
    say "the registry has no certificate; see: docker exec toots-lab-registry journalctl -u registry"
    exit 1
  }
  # A run of toots may read them meanwhile.
  docker exec toots-lab-registry cat /etc/docker/registry/ca.crt > "$lab/registry-ca.crt.new"
  (umask 077; docker exec toots-lab-registry cat /etc/docker/registry/password > "$lab/registry-password.new")
  mv "$lab/registry-ca.crt.new" "$lab/registry-ca.crt"
  mv "$lab/registry-password.new" "$lab/registry-password"
  step "packages of Mesos" packages
  local key public want have
  want=$(list | while read -r key public _; do echo "$(lab_name "$key") $public $(docker image inspect -f '{{.Id}}' "$(image "$key")")"; done)
  have=$(docker exec toots-lab-registry cat /var/lib/registry/lab-images 2> /dev/null || true)
  [ "$want" = "$have" ] || step "registry's images" push "$want" "$have"
}

# packages: fills the archive that the registry serves.
packages() {
  local container want
  want=$(docker image inspect -f '{{.Id}}' toots-lab/archive)
  [ "$(docker exec toots-lab-registry cat /var/lib/registry/archive/id 2> /dev/null)" != "$want" ] || return 0
  docker exec toots-lab-registry sh -c 'rm -rf /var/lib/registry/archive/*'
  container=$(docker create --label toots-lab toots-lab/archive)
  docker cp -q "$container:/archive" - | docker cp -q - toots-lab-registry:/var/lib/registry
  docker rm "$container" >> "$log"
  docker exec -i toots-lab-registry sh -c 'cat > /var/lib/registry/archive/id' <<< "$want"
}

# push WANT HAVE: pushes through a temporary registry on loopback, without TLS, that shares the volume,
# so that neither the CAs nor the logins of this machine change.
push() {
  local port key public name tag
  docker rm -f toots-lab-push 2> /dev/null || true
  docker run -d --name toots-lab-push --label toots-lab -p 127.0.0.1::5000 -v toots-lab-registry:/var/lib/registry \
    --entrypoint docker-registry toots-lab/registry serve /etc/docker/registry/plain.yml
  port=$(docker port toots-lab-push 5000/tcp | sed -n 's/^127.0.0.1://p')
  for _ in $(seq 40); do
    ! curl -fsS --noproxy '*' -o /dev/null "http://127.0.0.1:$port/v2/" || break
    sleep 0.25
  done
  while read -r key public _; do
    name=$(lab_name "$key")
    ! grep -qxF "$(grep -F "$name " <<< "$1" | head -n 1)" <<< "$2" || continue
    # For the mirror also by its public name.
    case $public in -) public= ;; */*) ;; *) public=library/$public ;; esac
    for tag in "$name" ${public:+"$public"}; do
      tag=127.0.0.1:$port/$tag
      docker tag "$(image "$key")" "$tag"
      docker push "$tag" || { docker rmi "$tag"; return 1; }
      docker rmi "$tag"
    done
  done < <(list)
  docker rm -f toots-lab-push
  docker exec -i toots-lab-registry sh -c 'cat > /var/lib/registry/lab-images.new && mv /var/lib/registry/lab-images.new /var/lib/registry/lab-images' <<< "$1"
  # Images that newer builds replaced.
  docker image prune -f --filter label=toots-lab
}

# inventory: prints the path of the lab's inventory; where public images are used, the path of a copy
# that names them.
inventory() {
  local key edits=()
  if [ -z "$(chosen)" ]; then
    rm -f "$here/inventory.public.toml"
    echo "$here/inventory.toml"
    return
  fi
  while read -r key _; do
    edits+=(-e "s|^$key = .*|$key = \"registry.toots.test:5000/$(lab_name "$key")\"|")
    [ "$key" != debian ] || edits+=(-e "s|^base = .*|base = \"registry.toots.test:5000/$(lab_name debian)\"|")
  done < <(chosen)
  # The recipe's own repository.
  ! grep -qx 'mesos packages' "$lab/public" || edits+=(-e '/^\[images\.mesos\]$/,/^$/d')
  sed "${edits[@]}" "$here/inventory.toml" > "$here/inventory.public.toml"
  echo "$here/inventory.public.toml"
}

# purge: removes all images that were built or pulled for the lab.
purge() {
  { docker images -q --filter label=toots-lab; chosen | cut -d' ' -f2; echo toots-lab/base; } | sort -u | xargs docker rmi -f >> "$log" 2>&1 || true
}

down() {
  if command -v docker > /dev/null && PATH=$PATH:/usr/sbin command -v dockerd > /dev/null; then
    engine
    docker ps -aq --filter label=toots-lab | xargs -r docker rm -fv >> "$log"
    docker network ls -q --filter name=vagrant_network_10.42.7.0/24 | xargs -r docker network rm >> "$log"
    ! docker volume inspect toots-lab-registry > /dev/null 2>&1 || docker volume rm toots-lab-registry >> "$log"
    [ "$1" != --purge ] || purge
  fi
  [ "$1" != --purge ] || rm -rf "$cache"
  rm -rf "$here/.vagrant" "$lab" "$here/inventory.public.toml"
  say "removed"
}
