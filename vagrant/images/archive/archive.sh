#!/bin/sh
# Makes /archive from the programs and the key beside this script: archive.sh VERSION.
set -eu
cd "$(dirname "$0")"
architecture=$(dpkg --print-architecture)
package=aventer-mesos
folder=/archive/dists/noble/main/binary-$architecture
install -D mesos-master root/usr/bin/mesos-master
install -D mesos-slave root/usr/bin/mesos-agent
mkdir -p root/DEBIAN "$folder" /archive/pool
cat > root/DEBIAN/control << CONTROL
Package: $package
Version: $1
Architecture: $architecture
Maintainer: toots lab <lab@toots.test>
Description: stand-ins for the programs of Mesos, for the lab of toots
CONTROL
dpkg-deb --root-owner-group --build root "/archive/pool/${package}_$1_$architecture.deb"
cd /archive
apt-ftparchive packages pool > "$folder/Packages"
apt-ftparchive -o APT::FTPArchive::Release::Suite=noble -o APT::FTPArchive::Release::Codename=noble \
  -o APT::FTPArchive::Release::Components=main -o APT::FTPArchive::Release::Architectures="$architecture" \
  release dists/noble > /tmp/Release
mv /tmp/Release dists/noble/Release
gpg --batch --import /build/signing-key.asc
gpg --batch --clearsign --output dists/noble/InRelease dists/noble/Release
gpg --batch --armor --export > key.asc
