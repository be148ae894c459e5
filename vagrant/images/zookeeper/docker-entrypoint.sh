#!/bin/sh
# As in the public image: mounted folders belong to the user that runs the server.
set -e
if [ "$(id -u)" = 0 ]; then
  chown 1000:1000 /data /datalog /logs
  exec setpriv --reuid 1000 --regid 1000 --clear-groups "$0" "$@"
fi
exec "$@"
