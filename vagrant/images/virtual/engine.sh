#!/bin/sh
# A real machine (libvirt, virtualbox) as the images of the docker provider have it.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends docker.io iptables curl netcat-openbsd dnsutils
usermod -aG docker vagrant
