#!/bin/sh
# Chronos' start script takes its ports from PORT0 and PORT1, and splits its arguments at spaces.
export LIBPROCESS_PORT="$PORT1"
# shellcheck disable=SC2068
exec /chronos/bin/chronos $@ --http_port "$PORT0"
