# shellcheck shell=sh
# Enables a unit of systemd and starts it anew. $1: its name.
start() {
  systemctl daemon-reload || return
  systemctl enable --quiet "$1" || return
  # systemd refuses to start a unit that failed often until the failure is reset.
  systemctl reset-failed "$1" 2>/dev/null
  systemctl restart "$1"
}
if ! start "$1"; then
  systemctl status --no-pager --lines=20 "$1" >&2
  exit 1
fi
