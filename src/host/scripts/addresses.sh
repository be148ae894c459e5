# shellcheck shell=sh
# Prints the addresses of the host's interfaces, a line for each.
PATH=$PATH:/usr/sbin:/sbin ip -o addr show
