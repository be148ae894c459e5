#!/bin/sh
# Starts Chronos as the public image does: both ports must come from the
# environment, and the arguments are split at spaces. An empty PORT0 leaves
# --http_port without a value, which Chronos refuses.
export LIBPROCESS_PORT="$PORT1"
# shellcheck disable=SC2068,SC2086
exec /chronos/chronos $@ --http_port $PORT0
