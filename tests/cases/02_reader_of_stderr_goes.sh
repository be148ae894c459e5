#!/bin/bash
# usage: 02_reader_of_stderr_goes.sh TOOTS
# `toots … 2>&1 | head` exits with the run's own code (3), never 134 (SIGABRT).
t=$(mktemp -d); export XDG_STATE_HOME=$t
printf 'masters = ["m1","m2","m3"]\n[ssh]\nport = 1\nconfig_file = "/dev/null"\n' > "$t/i.toml"
for i in 1 2 3; do printf '[hosts.m%s]\naddress = "10.44.8.1%s"\nssh = "127.0.2.1"\n' $i $i >> "$t/i.toml"; done
"$1" cluster up -i "$t/i.toml" --yes --output plain --connect-timeout 1s 2>&1 | head -1 > /dev/null
got=${PIPESTATUS[0]}; rm -rf "$t"; echo "want 3, got $got"; [ "$got" = 3 ]
