#!/bin/bash
# usage: 51_data_root_elsewhere.sh TOOTS INVENTORY MACHINE ADDRESS
# needs the lab: fresh
# The Engine's data root is on a large disk, /var/lib/docker on a small one: free space of the data root counts.
docker exec "$3" sh -c 'mkdir -p /data /etc/docker; mount --bind /var/lib/docker /data; echo "{\"data-root\":\"/data\"}" > /etc/docker/daemon.json; systemctl reset-failed docker; systemctl restart docker; mount -t tmpfs -o size=1m tmpfs /var/lib/docker'
"$1" cluster plan -i "$2" --output plain 2>&1 | grep 'are free for'; c=$?
docker exec "$3" sh -c 'umount /var/lib/docker; rm /etc/docker/daemon.json; systemctl reset-failed docker; systemctl restart docker; umount /data'; [ $c = 1 ]
