#!/bin/sh
# The registry on a real machine; its files were put into /tmp/registry.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends docker-registry apache2-utils openssl
systemctl disable --now docker-registry
install -m 644 /tmp/registry/config.yml /tmp/registry/plain.yml /etc/docker/registry/
install -m 755 /tmp/registry/first-start /usr/local/sbin/
install -m 644 /tmp/registry/registry.service /etc/systemd/system/
mkdir -p /var/lib/registry
systemctl daemon-reload
systemctl enable --now registry
