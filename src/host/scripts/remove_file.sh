# shellcheck shell=sh
# Removes a file. $1: its path.
rm -f -- "$1"
