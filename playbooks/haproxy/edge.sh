#!/bin/sh
# Runs HAProxy in master-worker mode and takes up each new bundle that consul-template renders.
#
# A bundle is taken apart into a folder of its own, checked by HAProxy itself, and only then made the current one, so a refused bundle changes
# nothing and a restart always finds the last good one. TCP ports go to the service that claimed them first: the claims are remembered,
# since Consul does not tell who was first. Whatever happens to a bundle is said in the log and in the file "state".
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

# The ports on which something listens that is not this balancer's.
busy() {
  awk -v own=" $(cut -d' ' -f1 "$dir/claims" 2>/dev/null | tr '\n' ' ')" '
    function hex(s,  i, v) { v = 0; for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789ABCDEF", substr(s, i, 1)) - 1; return v }
    $4 == "0A" { n = split($2, part, ":"); port = hex(part[n]); if (index(own, " " port " ") == 0 && !seen[port]++) printf "%d ", port }
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

# The newest bundle becomes the current one if HAProxy accepts it.
take() {
  next=$dir/gen/$(date +%s%N)
  mkdir -p "$next"
  : > "$next/claims"
  if ! said=$(split "$bundle" "$next" 2>&1); then
    say "the bundle is incomplete and is not used"
    state refused incomplete
    rm -rf "$next"
    return 1
  fi
  [ -z "$said" ] || echo "$said" | while read -r line; do say "$line"; done
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
  ln -sfn "$next" "$dir/now.new" && mv -fT "$dir/now.new" "$dir/now"
  cp "$next/claims" "$dir/claims"
  for old in "$dir"/gen/*; do
    [ "$old" = "$next" ] || [ "$old" = "$former" ] || rm -rf "$old"
  done
  state taken "$(cksum < "$bundle" | cut -d' ' -f1)"
}

# A start from nothing: no service is known yet.
[ -d "$dir/gen" ] || mkdir -p "$dir/gen"
if ! haproxy -c -q -f "$dir/now/haproxy.cfg" 2>/dev/null; then
  first=$dir/gen/0
  mkdir -p "$first"
  cp "$base" "$first/haproxy.cfg"
  : > "$first/hosts.map"; : > "$first/exact.map"; : > "$first/prefix.map"; : > "$first/claims"
  ln -sfn "$first" "$dir/now"
fi
touch "$dir/claims"
seen=
if [ -f "$bundle" ]; then
  seen=$(stat -c %i.%Y "$bundle")
  take
fi

haproxy -W -db -f "$dir/now/haproxy.cfg" -S "$dir/master.sock,mode,600" "$@" &
pid=$!
trap 'kill -TERM $pid' TERM INT
trap 'kill -USR1 $pid' USR1
while kill -0 $pid 2>/dev/null; do
  # The trap must not wait for the pause, so the pause is a child that is waited for.
  sleep $poll &
  wait $!
  [ -f "$bundle" ] || continue
  now=$(stat -c %i.%Y "$bundle")
  [ "$now" != "$seen" ] || continue
  seen=$now
  if take; then
    say "reloading"
    kill -USR2 $pid
  fi
done
wait $pid
