#!/bin/bash
# usage: 04_full_disk.sh TOOTS
# Data that cannot be written exits 1: a script must not continue with half an inventory.
t=$(mktemp -d); bad=0; "$1" init --masters 10.0.0.1,10.0.0.2,10.0.0.3 > "$t/i.toml"; printf 'MASTERS="10.0.0.1,10.0.0.2,10.0.0.3"\n' > "$t/Toots.conf"
try() { "$@" > /dev/full 2> /dev/null; c=$?; [ $c = 1 ] || { echo "${*:2}: $c, want 1"; bad=1; }; }
try "$1" init --masters 10.0.0.1,10.0.0.2,10.0.0.3; try "$1" render -i "$t/i.toml"; try "$1" inventory import "$t/Toots.conf"; try "$1" inventory check -i "$t/i.toml"
rm -rf "$t"; exit $bad
