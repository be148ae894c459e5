#!/bin/sh
# Sets up a real machine (libvirt, virtualbox) like the images of the docker provider.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends docker.io iptables curl netcat-openbsd dnsutils
usermod -aG docker vagrant
