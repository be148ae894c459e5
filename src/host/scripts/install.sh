# shellcheck shell=sh
# Installs a package of the distribution and starts what it brings. $1: docker or nfs-client; $2: the
# package manager.
set -e
apt() { apt-get -o DPkg::Lock::Timeout=300 "$@"; }
# Waits for a package manager at work (a fresh cloud machine upgrades itself) instead of failing.
apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt update -q
  # Debian 13 has the command in a package of its own.
  if [ "$1" = docker.io ] && apt-cache show docker-cli >/dev/null 2>&1; then set -- "$@" docker-cli; fi
  apt install -qy --no-install-recommends "$@"
}
install() {
  case "$1 $2" in
    "docker apt-get") apt_install docker.io ;;
    "docker dnf") dnf install -qy moby-engine || dnf install -qy docker ;;
    "docker zypper") zypper --non-interactive install docker ;;
    "docker apk")
      apk add docker
      rc-update add docker default
      rc-service docker start ;;
    "nfs-client apt-get") apt_install nfs-common ;;
    "nfs-client dnf") dnf install -qy nfs-utils ;;
    "nfs-client zypper") zypper --non-interactive install nfs-client ;;
    "nfs-client apk") apk add nfs-utils ;;
    *) echo "cannot install $1 with $2"; exit 2 ;;
  esac
}
start_docker() {
  if [ -d /run/systemd/system ]; then systemctl enable --now docker; fi
  i=0
  until docker version >/dev/null 2>&1; do
    i=$((i+1))
    [ $i -lt 60 ] || { docker version; exit 1; }
    sleep 0.5
  done
}
install "$1" "$2" >&2
if [ "$1" = docker ]; then start_docker; fi
