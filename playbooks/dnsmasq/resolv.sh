#!/bin/sh
# Puts the host's own dnsmasq before the DNS servers of /etc/resolv.conf.
#
#   resolv.sh keep ADDRESS   now, and again whenever something else writes the file (DHCP, NetworkManager), until it is ended
#   resolv.sh restore        makes the file what it was: the same bytes, or the same symbolic link
#
# The former servers stay behind ours, with a short patience, so that the host resolves when dnsmasq is gone. What was there lies in
# /var/lib/toots/resolv: `former` (the content) and `link` (where the link led); `servers` are those that dnsmasq asks.
set -u
# Other places are for tests.
conf=${RESOLV_CONF:-/etc/resolv.conf}
state=${RESOLV_STATE:-/var/lib/toots/resolv}
resolved=${RESOLVED_CONF:-/run/systemd/resolve/resolv.conf}
mark='# toots: dnsmasq first, then the former servers (/var/lib/toots/resolv/former)'

applied() { [ ! -L "$conf" ] && [ "$(head -n 1 "$conf" 2> /dev/null)" = "$mark" ]; }

# write FILE: takes its place at once where that is possible. In a container the file is a bind mount, which can only be written in place.
write() {
  cp "$1" "$conf.toots-new" && chmod 644 "$conf.toots-new" && mv -f "$conf.toots-new" "$conf" 2> /dev/null && return
  rm -f "$conf.toots-new"
  cat "$1" > "$conf"
}

# remember: what somebody else has written, before ours takes its place.
remember() {
  rm -f "$state/link" "$state/asked"
  if [ -L "$conf" ]; then readlink "$conf" > "$state/link"; fi
  cat "$conf" > "$state/former.new" 2> /dev/null || : > "$state/former.new"
  chmod 644 "$state/former.new"
  mv "$state/former.new" "$state/former"
  # Those of its own configuration: as soon as ours is there, it counts those of ours among them.
  known Global > "$state/global"
}

apply() {
  {
    echo "$mark"
    echo "nameserver $1"
    # Three are the most that a program reads.
    grep . "$state/servers" | head -n 2
    grep -E '^(search|domain|sortlist)[[:space:]]' "$state/former"
    awk '$1 == "options" { for (i = 2; i <= NF; i++) if ($i !~ /^(timeout|attempts):/) o = o " " $i } END { print "options" o " timeout:1 attempts:1" }' "$state/former"
  } > "$state/new"
  if ! applied || ! cmp -s "$state/new" "$conf"; then write "$state/new"; fi
  rm -f "$state/new"
}

# servers ADDRESS: whom dnsmasq asks, and programs after it. systemd-resolved asks whoever stands in a resolv.conf that is no link of its own,
# which is dnsmasq; so dnsmasq does not ask it, in a circle, but the servers that it knows from the network. They stand behind dnsmasq in
# resolv.conf too: its stub fails with dnsmasq.
servers() {
  from=$state/former
  if [ -r "$resolved" ] && grep -q '^nameserver 127\.0\.0\.5[34]$' "$from"; then
    [ ! -e "$state/asked" ] || [ -n "$(find "$resolved" -newer "$state/asked")" ] || return 0
    : > "$state/asked"
    from=$state/known
    { cat "$state/global" 2> /dev/null; known Link; } > "$from"
    # One without resolvectl lists those that it read in ours as well.
    grep -q . "$from" || from=$resolved
  fi
  now=$(awk -v own="$1" '$1 == "nameserver" && $2 != own && !seen[$2]++' "$from")
  [ ! -f "$state/servers" ] || [ "$now" != "$(cat "$state/servers")" ] || return 0
  echo "$now" > "$state/servers.new" && chmod 644 "$state/servers.new" && mv "$state/servers.new" "$state/servers"
}

# known KIND: of its lines "Global: ADDRESS…" or "Link 2 (eth0): ADDRESS#NAME…".
known() { timeout 5 resolvectl dns 2> /dev/null | sed -n "s/^ *$1[^:]*: *//p" | tr -s ' ' '\n' | sed -n 's/#.*//; /./s/^/nameserver /p'; }

restore() {
  if applied && [ -f "$state/former" ]; then
    if [ -s "$state/link" ]; then
      ln -s "$(cat "$state/link")" "$conf.toots-new" && mv -f "$conf.toots-new" "$conf"
    else
      write "$state/former"
    fi
  fi
  # What somebody else wrote after us stays.
  rm -f "$state/link"
}

case "$1" in
  keep)
    trap 'exit 0' TERM INT
    while :; do
      applied || remember
      servers "$2"
      apply "$2"
      sleep 3 &
      wait $!
    done ;;
  restore) restore ;;
  *) echo "usage: resolv.sh keep ADDRESS | restore" >&2; exit 2 ;;
esac
