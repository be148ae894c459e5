# shellcheck shell=sh
# Stops a unit of systemd and removes its file. $1: its name.
set -eu
file=/etc/systemd/system/$1
# Without its file systemd refuses to disable a unit: an earlier attempt came as far as that.
if [ -e "$file" ] || [ -L "$file" ]; then
  systemctl disable --quiet --now "$1"
  rm -f "$file"
fi
systemctl daemon-reload
