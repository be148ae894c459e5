#!/bin/sh
# Runs HAProxy in master-worker mode and takes up each new bundle that consul-template renders.
#
# A bundle is taken apart into a folder of its own, checked by HAProxy itself, and only then made the current one, so a refused bundle changes
# nothing and a restart always finds the last good one. TCP ports go to the service that claimed them first: the claims are remembered,
# since Consul does not tell who was first. Whatever happens to a bundle is said in the log and in the file "state"; which one HAProxy's workers
# have is what they answer to /generation (base.cfg), since a reload that fails leaves the former ones in place.
set -u

base=/etc/toots-haproxy/base.cfg
bundle=/edge/bundle
dir=/usr/local/etc/haproxy
reserved=" $1 "
shift
poll=0.5

say() { echo "edge: $*"; }

# state RESULT DETAIL: what became of the newest bundle.
state() {
  printf '%s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" > "$dir/state.new" && mv -f "$dir/state.new" "$dir/state"
}

# The ports that are not to be had, since something listens there that is not this balancer's; after a reload that failed, also those of any
# connection, which may be one that leads out.
busy() {
  awk -v own=" $(cut -d' ' -f1 "$dir/claims" 2>/dev/null | tr '\n' ' ')" -v strict="$failed" '
    function hex(s,  i, v) { v = 0; for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789ABCDEF", substr(s, i, 1)) - 1; return v }
    $4 == "0A" || (strict && FNR > 1) { n = split($2, part, ":"); port = hex(part[n]); if (index(own, " " port " ") == 0 && !seen[port]++) printf "%d ", port }
  ' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# split BUNDLE FOLDER: writes the bundle's files; decides the claims of TCP ports.
split() {
  awk -v out="$2" -v reserved="$reserved" -v busy=" $(busy)" -v claims="$dir/claims" '
    BEGIN { while ((getline line < claims) > 0) { split(line, c, " "); owner[c[1]] = c[2] } }
    pass == 1 && /^==== tcp / { wants[$3] = wants[$3] " " $4 " "; next }
    pass == 1 { next }
    FNR == 1 {
      for (port in wants) {
        if (port + 0 > 65535) { print "refused: tcp port " port " is no port" > "/dev/stderr"; continue }
        if (index(reserved, " " port " ") || (port + 0 >= 31000 && port + 0 <= 32000)) { print "refused: tcp port " port " is reserved" > "/dev/stderr"; continue }
        if (index(busy, " " port " ")) { print "refused: tcp port " port " is in use on this host" > "/dev/stderr"; continue }
        n = split(wants[port], names, " "); first = names[1]
        for (i = 1; i <= n; i++) if (names[i] == owner[port]) first = names[i]
        for (i = 1; i <= n; i++) if (names[i] != first) print "refused: tcp port " port " of " names[i] ": " first " had it first" > "/dev/stderr"
        holds[port] = first
        print port, first > (out "/claims")
      }
    }
    /^==== file / { keep = 1; file = out "/" $3; printf "" > file; next }
    /^==== tcp / { keep = (holds[$3] == $4); file = out "/haproxy.cfg"; next }
    /^==== note / { keep = 0; print substr($0, 11) > "/dev/stderr"; next }
    /^==== end$/ { complete = 1; next }
    keep && NF { print > file }
    END { exit complete ? 0 : 1 }
  ' pass=1 "$1" pass=2 "$1"
}

# The newest bundle becomes the current one if HAProxy accepts it. Succeeds when there is something to reload; "waits" says that it is not all
# that is wanted.
take() {
  next=$dir/gen/$(date +%s%N)
  waits=
  mkdir -p "$next"
  : > "$next/claims"
  if ! said=$(split "$bundle" "$next" 2>&1); then
    say "the bundle is incomplete and is not used"
    state refused incomplete
    rm -rf "$next"
    return 1
  fi
  case $said in *"in use on this host"*) waits=yes ;; esac
  [ -z "$said" ] || [ "$said" = "$told" ] || echo "$said" | while read -r line; do say "$line"; done
  told=$said
  generation=$(cd "$next" && cat haproxy.cfg hosts.map exact.map prefix.map root.map | cksum | cut -d' ' -f1)
  echo "now $generation" > "$next/generation.map"
  if cmp -s "$next/generation.map" "$dir/now/generation.map"; then
    taken
    rm -rf "$next"
    return 1
  fi
  # The maps are named by the path that they will have.
  sed "s#$dir/now/#$next/#" "$next/haproxy.cfg" > "$next/check.cfg"
  if ! said=$(haproxy -c -f "$next/check.cfg" 2>&1); then
    say "HAProxy refuses the new configuration, the old one stays:"
    echo "$said"
    state refused "$(echo "$said" | grep -m1 ALERT | tr -cd '[:print:]' | cut -c1-200)"
    rm -rf "$next"
    return 1
  fi
  rm -f "$next/check.cfg"
  former=$(readlink "$dir/now" 2>/dev/null || true)
  use "$next"
  for old in "$dir"/gen/*; do
    [ "$old" = "$next" ] || [ "$old" = "$former" ] || rm -rf "$old"
  done
  # What failed once is taken when it runs.
  [ -n "$failed" ] || state taken "$generation"
}

# taken: the newest configuration is the one that runs.
taken() {
  state taken "$generation"
  [ -n "$waits" ] || failed=''
}

# use FOLDER: makes it the current one.
use() {
  ln -sfn "$1" "$dir/now.new" && mv -fT "$dir/now.new" "$dir/now"
  cp "$1/claims" "$dir/claims"
}

# workers: the processes of HAProxy's master, newest configuration or not.
workers() { grep -l "^PPid:[[:space:]]*$pid\$" /proc/[0-9]*/status 2> /dev/null | sort; }

# pause: the traps must not wait for it, so it is a child that is waited for.
pause() { sleep $poll & wait $!; }

# reload: whether a new worker came and stayed. Where an address or a port cannot be had, which a check of the configuration does not show, the
# master keeps the former ones.
reload() {
  before=$(workers)
  kill -USR2 $pid
  stayed=0
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    pause
    if workers | grep -qvxF "$before"; then stayed=$((stayed + 1)); else stayed=0; fi
    [ $stayed -lt 3 ] || return 0
  done
  return 1
}

# A start from nothing: no service is known yet.
[ -d "$dir/gen" ] || mkdir -p "$dir/gen"
if ! haproxy -c -q -f "$dir/now/haproxy.cfg" 2>/dev/null; then
  first=$dir/gen/0
  mkdir -p "$first"
  cp "$base" "$first/haproxy.cfg"
  for part in hosts.map exact.map prefix.map root.map claims; do : > "$first/$part"; done
  echo "now 0" > "$first/generation.map"
  ln -sfn "$first" "$dir/now"
  state taken 0
fi
touch "$dir/claims"
seen='' told='' failed='' again=0
if [ -f "$bundle" ]; then
  seen=$(stat -c %i.%Y "$bundle")
  take || true
  [ -z "$waits" ] || seen=''
fi

haproxy -W -db -f "$dir/now/haproxy.cfg" -S "$dir/master.sock,mode,600" "$@" &
pid=$!
trap 'kill -TERM $pid' TERM INT
trap 'kill -USR1 $pid' USR1
while kill -0 $pid 2>/dev/null; do
  pause
  if [ ! -f "$bundle" ] || [ "$(date +%s)" -lt $again ]; then continue; fi
  now=$(stat -c %i.%Y "$bundle")
  [ "$now" != "$seen" ] || continue
  seen=$now
  if take; then
    say "reloading"
    if reload; then
      taken
    else
      # A restart must find what works.
      say "no worker started with the new configuration (an address or a port is not to be had), the old one stays"
      use "$former"
      state refused "no worker starts with it, since an address or a port is not to be had (docker logs toots-haproxy)"
      failed=yes waits=yes
    fi
  fi
  # What is in the way may be gone in a moment.
  [ -z "$waits" ] || { seen='' again=$(($(date +%s) + 10)); }
done
wait $pid
