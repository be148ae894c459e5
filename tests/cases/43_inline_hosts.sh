#!/bin/bash
# usage: 43_inline_hosts.sh TOOTS
# An inventory with `hosts = { … }` is valid; add-slave reaches the connection (exit 3).
t=$(mktemp -d); export XDG_STATE_HOME=$t
printf 'hosts = { m1 = { address = "10.44.8.11", ssh = "127.0.2.1" }, m2 = { address = "10.44.8.12", ssh = "127.0.2.1" }, m3 = { address = "10.44.8.13", ssh = "127.0.2.1" } }\nmasters = ["m1", "m2", "m3"]\n[ssh]\nport = 1\nconfig_file = "/dev/null"\n' > "$t/i.toml"
"$1" inventory check -i "$t/i.toml" && unshare -n "$1" cluster add-slave 10.44.8.99 --name s9 -i "$t/i.toml" --connect-timeout 1s --output plain > "$t/out" 2>&1; c=$?; head -1 "$t/out"; rm -rf "$t"; [ $c = 3 ]
