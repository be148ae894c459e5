#!/bin/bash
# usage: 50_no_ss.sh TOOTS INVENTORY MACHINE ADDRESS
# needs the lab: fresh
# No `ss` on the host, port 8500 taken: `plan` refuses (exit 4).
docker exec "$3" perl -MIO::Socket -e 'fork and exit; $s = IO::Socket::INET->new(LocalAddr => "'"$4"':8500", Listen => 5, ReuseAddr => 1) or die; open F, ">/run/case-50.pid"; print F $$; close F; sleep 600' < /dev/null > /dev/null 2>&1 &
sleep 2; ss=$(docker exec "$3" sh -c 'command -v ss'); docker exec "$3" mv "$ss" "$ss.gone"
"$1" cluster plan -i "$2" --output plain 2>&1 | grep -q "8500/tcp .*in use by perl"; c=$?
docker exec "$3" mv "$ss.gone" "$ss"; docker exec "$3" sh -c 'kill $(cat /run/case-50.pid)'; echo "want the port and its holder: $c"; [ $c = 0 ]
