#!/bin/sh
# As the public image does: flags alone are consul-template's, and its own configuration folder is always read.
set -e
case "${1:-}" in -*) set -- /bin/consul-template "$@" ;; esac
if [ "${1:-}" = /bin/consul-template ]; then
  shift
  set -- /bin/consul-template -config=/consul-template/config "$@"
fi
exec "$@"
