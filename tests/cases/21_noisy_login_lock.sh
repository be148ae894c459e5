#!/bin/bash
# usage: 21_noisy_login_lock.sh TOOTS INVENTORY MACHINE ADDRESS
# needs the lab: running
# An echo in root's ~/.bashrc: `up` takes the lock as always.
docker exec "$3" sh -c 'cp -p /root/.bashrc /root/.bashrc.bugs; sed -i "1i echo Welcome" /root/.bashrc'
"$1" cluster up -i "$2" --yes --output plain 2>&1 | grep 'unexpected answer'; c=$?
docker exec "$3" mv /root/.bashrc.bugs /root/.bashrc; [ $c = 1 ]
