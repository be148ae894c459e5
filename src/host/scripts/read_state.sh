# shellcheck shell=sh
# Prints a file in which a service records its state, and then the host's time. $1: its path.
cat "$1" && date -u +%Y-%m-%dT%H:%M:%SZ
