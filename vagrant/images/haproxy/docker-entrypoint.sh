#!/bin/sh
# As in the public image: `haproxy …` and bare flags run in master-worker mode in the foreground.
set -e
case "${1:-}" in -*) set -- haproxy "$@" ;; esac
if [ "${1:-}" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi
exec "$@"
