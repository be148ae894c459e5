#!/bin/sh
# As the public image does: an agent gets its folders, and everything runs as the user consul.
set -e
if [ "$1" = agent ]; then
  shift
  chown -R 100:1000 /consul/data /consul/config
  exec setpriv --reuid 100 --regid 1000 --clear-groups consul agent -data-dir=/consul/data -config-dir=/consul/config "$@"
fi
exec consul "$@"
