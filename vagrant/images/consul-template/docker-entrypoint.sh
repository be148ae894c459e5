#!/bin/sh
# As in the public image: bare flags are consul-template's, and its configuration folder is always read.
set -e
case "${1:-}" in -*) set -- /bin/consul-template "$@" ;; esac
if [ "${1:-}" = /bin/consul-template ]; then
  shift
  set -- /bin/consul-template -config=/consul-template/config "$@"
fi
exec "$@"
