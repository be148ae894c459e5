#!/bin/sh
# As in the public image: an agent gets its folders, a subcommand needs no "consul" in front, and root
# becomes the user consul.
set -e
case "${1:-}" in -*) set -- consul "$@" ;; esac
if [ "${1:-}" = agent ]; then
  shift
  set -- consul agent -data-dir=/consul/data -config-dir=/consul/config "$@"
elif [ "${1:-}" = version ] || consul --help "${1:-}" 2>&1 | grep -q "consul ${1:-} "; then
  set -- consul "$@"
fi
if [ "$1" = consul ] && [ "$(id -u)" = 0 ] && [ -z "$CONSUL_DISABLE_PERM_MGMT" ]; then
  chown 100:1000 /consul/data /consul/config
  exec setpriv --reuid 100 --regid 1000 --clear-groups "$@"
fi
exec "$@"
