#!/bin/sh
# Starts Chronos as the public image does: the ports come from the environment.
set -eu
if [ -n "${PORT0:-}" ]; then
  set -- "$@" --http_port "$PORT0"
fi
if [ -n "${PORT1:-}" ]; then
  export LIBPROCESS_PORT="$PORT1"
fi
exec /chronos/chronos "$@"
