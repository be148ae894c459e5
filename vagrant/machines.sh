# shellcheck shell=bash
# The machines of the lab, what a client needs to trust them, and the registry's contents. Expects lib.sh and images.sh.
# shellcheck disable=SC2154

machines_up=(registry m1 m2 m3 s1 e1)
machines_all=("${machines_up[@]}" s2 e2 bare)

# stale: machines of another checkout, or from an older image, are not ours to keep: they are made anew. So are those that a run which was
# cut off left without a record.
stale() {
  local name id image record
  for name in "${machines_all[@]}"; do
    record=$here/.vagrant/machines/$name/docker
    id=$(docker inspect -f '{{.Id}}' "toots-lab-$name" 2> /dev/null) || { rm -rf "$record"; continue; }
    case $name in registry | bare) image=$name ;; *) image=host ;; esac
    if [ "$(cat "$record/id" 2> /dev/null)" != "$id" ] ||
      [ "$(docker inspect -f '{{.Image}}' "toots-lab-$name")" != "$(docker image inspect -f '{{.Id}}' "toots-lab/$image")" ]; then
      docker rm -fv "toots-lab-$name" >> "$log"
      rm -rf "$record"
    fi
  done
}

# The network's name is Vagrant's; one with the same addresses that has another shape stands in its way.
stale_network() {
  local network
  network=$(docker network ls -q --filter name=vagrant_network_10.42.7.0/24)
  [ -n "$network" ] || return 0
  [ "$(docker network inspect -f '{{.Internal}} {{(index .IPAM.Config 0).Subnet}}' "$network")" = 'false 10.42.7.0/24' ] ||
    docker network rm "$network" >> "$log"
}

# discard: the hosts are thrown away; the registry stays.
discard() {
  local name
  for name in "${machines_all[@]}"; do
    [ "$name" != registry ] || continue
    ! docker inspect "toots-lab-$name" > /dev/null 2>&1 || docker rm -fv "toots-lab-$name" >> "$log"
    rm -rf "$here/.vagrant/machines/$name/docker"
  done
}

# machines [MACHINE…]: those that always run, and the named ones.
machines() {
  stale
  stale_network
  local name wanted=()
  for name in "${machines_up[@]}" "$@"; do
    [ "$(docker inspect -f '{{.State.Running}}{{.State.Paused}}' "toots-lab-$name" 2> /dev/null)" = truefalse ] || wanted+=("$name")
  done
  # A machine that a test froze is not one that Vagrant would start.
  for name in "${wanted[@]}"; do docker unpause "toots-lab-$name" >> "$log" 2>&1 || true; done
  [ ${#wanted[@]} -eq 0 ] || step "machines ${wanted[*]}" env -C "$here" vagrant up --provider=docker "${wanted[@]}"
}

# access: the key, the host keys, an ssh_config; then the proof that each machine lets us in and its Engine answers.
access() {
  local name names=() pids=()
  # Vagrant lays its well-known key there.
  install -m 600 "${VAGRANT_HOME:-$HOME/.vagrant.d}/insecure_private_key" "$lab/key"
  for name in "${machines_all[@]}"; do
    ! docker inspect "toots-lab-$name" > /dev/null 2>&1 || names+=("$name")
  done
  : > "$lab/known_hosts.new"
  : > "$lab/ssh_config.new"
  for name in "${names[@]}"; do trust "$name"; done
  mv "$lab/known_hosts.new" "$lab/known_hosts"
  mv "$lab/ssh_config.new" "$lab/ssh_config"
  for name in "${names[@]}"; do
    enter "$name" > "$lab/enter-$name" 2>&1 < /dev/null &
    pids+=($!)
  done
  for name in "${!names[@]}"; do
    wait "${pids[$name]}" || {
      say "${names[$name]} does not let us in, or its Engine does not answer:"
      cat "$lab/enter-${names[$name]}" >&2
      exit 1
    }
    rm -f "$lab/enter-${names[$name]}"
  done
}

# trust MACHINE: its host keys are read inside it, not asked over the network, so they are proven.
trust() {
  local address
  # shellcheck disable=SC2016 # the script runs in the machine
  address=$(docker inspect -f '{{range $name, $network := .NetworkSettings.Networks}}{{if eq $name "vagrant_network_10.42.7.0/24"}}{{$network.IPAddress}}{{end}}{{end}}' "toots-lab-$1")
  docker exec "toots-lab-$1" sh -c 'for _ in $(seq 120); do systemctl -q is-active ssh && break; sleep 0.25; done; cat /etc/ssh/ssh_host_*_key.pub' |
    sed "s/^\([^ ]* [^ ]*\).*/$1,$address \1/" >> "$lab/known_hosts.new"
  printf 'Host %s\n  HostName %s\n  HostKeyAlias %s\n  User vagrant\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n' \
    "$1" "$address" "$1" "\"$lab/key\"" "\"$lab/known_hosts\"" >> "$lab/ssh_config.new"
}

enter() {
  local what='docker info -f {{.ServerVersion}}'
  case $1 in registry | bare) what=true ;; esac
  timeout 90 ssh -F "$lab/ssh_config" -o BatchMode=yes -o ConnectTimeout=10 "$1" "for _ in \$(seq 60); do $what && exit 0; sleep 0.5; done; exit 1"
}

# registry: its CA and login are its own and are read from it; its volume is filled only when an image has changed.
registry() {
  docker exec toots-lab-registry sh -c 'for _ in $(seq 120); do [ -s /etc/docker/registry/registry.crt ] && exit 0; sleep 0.25; done; exit 1' || {
    say "the registry did not make its certificate: docker exec toots-lab-registry journalctl -u registry"
    exit 1
  }
  docker exec toots-lab-registry cat /etc/docker/registry/ca.crt > "$lab/registry-ca.crt"
  (umask 077; docker exec toots-lab-registry cat /etc/docker/registry/password > "$lab/registry-password")
  local key want have
  want=$(list | while read -r key _; do echo "$(lab_name "$key") $(docker image inspect -f '{{.Id}}' "$(image "$key")")"; done)
  have=$(docker exec toots-lab-registry cat /var/lib/registry/lab-images 2> /dev/null || true)
  [ "$want" = "$have" ] || step "registry's images" push "$want" "$have"
}

# push WANT HAVE: through a throw-away registry without TLS on loopback that shares the volume, so that neither this machine's trust nor its
# logins are touched.
push() {
  local port key name tag
  docker rm -f toots-lab-push 2> /dev/null || true
  docker run -d --name toots-lab-push --label toots-lab -p 127.0.0.1::5000 -v toots-lab-registry:/var/lib/registry \
    --entrypoint docker-registry toots-lab/registry serve /etc/docker/registry/plain.yml
  port=$(docker port toots-lab-push 5000/tcp | sed -n 's/^127.0.0.1://p')
  for _ in $(seq 40); do
    ! curl -fsS --noproxy '*' -o /dev/null "http://127.0.0.1:$port/v2/" || break
    sleep 0.25
  done
  while read -r key _; do
    name=$(lab_name "$key")
    ! grep -qxF "$(grep -F "$name " <<< "$1" | head -n 1)" <<< "$2" || continue
    tag=127.0.0.1:$port/$name
    docker tag "$(image "$key")" "$tag"
    docker push "$tag" || { docker rmi "$tag"; return 1; }
    docker rmi "$tag"
  done < <(list)
  docker rm -f toots-lab-push
  docker exec -i toots-lab-registry sh -c 'cat > /var/lib/registry/lab-images.new && mv /var/lib/registry/lab-images.new /var/lib/registry/lab-images' <<< "$1"
  # What was replaced by newer builds.
  docker image prune -f --filter label=toots-lab
}

# inventory: prints the lab's inventory; where public images are used, that of a copy beside it that names them.
inventory() {
  local key edits=()
  if [ -z "$(chosen)" ]; then
    rm -f "$here/inventory.public.toml"
    echo "$here/inventory.toml"
    return
  fi
  while read -r key _; do
    edits+=(-e "s|^$key = .*|$key = \"registry.toots.test:5000/$(lab_name "$key")\"|")
  done < <(chosen)
  sed "${edits[@]}" "$here/inventory.toml" > "$here/inventory.public.toml"
  echo "$here/inventory.public.toml"
}

# purge: all images that were built here or pulled for this lab.
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
