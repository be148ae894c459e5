# shellcheck shell=bash
# Shared by the steps of vagrant/demo and tests/run: progress, tools, the Docker Engine. Expects the
# variables root, lab, cache, log.
# shellcheck disable=SC2154

say() { printf '%s\n' "lab: $*" >&2; }

# step NAME COMMAND…: runs a command and prints its name and duration. Its output goes to the log; on
# failure the last lines are shown.
step() {
  local name=$1 began=$SECONDS
  shift
  say "$name …"
  printf '\n=== %s\n' "$name" >> "$log"
  if ! "$@" > "$log.step" 2>&1 < /dev/null; then
    cat "$log.step" >> "$log"
    say "failed: $name (after $((SECONDS - began)) s). The last lines of $log:"
    tail -n 30 "$log.step" >&2
    exit 1
  fi
  cat "$log.step" >> "$log"
  say "$name: $((SECONDS - began)) s"
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# need COMMAND:PACKAGE…: installs the packages of missing commands.
need() {
  local pair missing=()
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" > /dev/null || [[ " ${missing[*]} " == *" ${pair##*:} "* ]] || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get > /dev/null || {
    say "missing packages: ${missing[*]} (Debian's names); install them and run again"
    exit 1
  }
  if [ "$(id -u)" != 0 ] && ! command -v sudo > /dev/null; then
    say "missing packages; run as root: apt-get install ${missing[*]}"
    exit 1
  fi
  step "package lists" as_root apt-get -o DPkg::Lock::Timeout=300 update -q
  step "packages ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "${missing[@]}"
}

# at_least REQUIRED FOUND: compares versions.
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# tools: what the scripts of this folder and tests/run call. Compilers and mmdebstrap are installed
# only where something must be built.
tools() {
  need docker:docker.io dockerd:docker.io vagrant:vagrant ssh:openssh-client sshd:openssh-server openssl:openssl curl:curl shellcheck:shellcheck gpg:gnupg \
    fish:fish tcsh:tcsh zsh:zsh busybox:busybox sudo:sudo doas:opendoas
  # A library without a command.
  [ -d /usr/lib/python3/dist-packages/paramiko ] || need no-command-of:python3-paramiko
}

# toots: builds the release binary; cargo does nothing when nothing changed.
toots() {
  [ -x "$root/target/release/toots" ] || say "the first build of toots takes several minutes"
  step "toots" cargo build --release --locked --manifest-path "$root/Cargo.toml"
}

need_rust() {
  local found
  found=$(rustc --version 2> /dev/null | cut -d' ' -f2)
  at_least 1.89 "${found:-0}" || {
    say "Rust must be 1.89 or later, got ${found:-none}; install it from https://rustup.rs"
    exit 1
  }
  need cc:build-essential
}

need_go() {
  need go:golang-go
  local found
  found=$(env -C / go version | sed 's/^go version go\([0-9.]*\).*/\1/')
  # Since 1.21 Go fetches the toolchain that a go.mod names.
  at_least 1.21 "$found" || {
    say "Go must be 1.21 or later, got $found; install it from https://go.dev/dl or your distribution's backports"
    exit 1
  }
}

# running PIDFILE NAME: whether the process in the file is that program. After a crash or a reboot the
# file names no process, or another program.
running() { [ "$(cat "/proc/$(cat "$1" 2> /dev/null || echo none)/comm" 2> /dev/null)" = "$2" ]; }

engine_answers() { timeout 20 docker info > /dev/null 2>&1; }

engine() {
  engine_answers || start_engine
  case $(docker info -f '{{.OSType}}' 2> /dev/null) in
    linux) ;;
    *)
      say "the Docker Engine must run Linux containers"
      exit 1
      ;;
  esac
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    step "Docker Engine" as_root systemctl start docker
  else
    # An Engine does not start while its pid file names a running process.
    running /var/run/docker.pid dockerd || as_root rm -f /var/run/docker.pid
    running /var/run/docker/containerd/containerd.pid containerd || as_root rm -f /var/run/docker/containerd/containerd.pid
    if ! running /var/run/docker.pid dockerd; then
      say "Docker Engine … (log: /var/log/toots-lab-dockerd.log)"
      # The Engine must not inherit the lock of this script.
      # shellcheck disable=SC2016 # PATH is root's
      as_root sh -c 'PATH=$PATH:/usr/sbin:/sbin setsid dockerd > /var/log/toots-lab-dockerd.log 2>&1 < /dev/null 9>&- &'
    fi
  fi
  for _ in $(seq 120); do
    ! engine_answers || return 0
    sleep 0.5
  done
  if as_root docker info > /dev/null 2>&1; then
    # shellcheck disable=SC2016 # to be typed as it is
    say 'no access to the Docker Engine; run: sudo usermod -aG docker "$USER", then log in again'
  else
    say "the Docker Engine does not answer:"
    tail -n 30 /var/log/toots-lab-dockerd.log >&2 2> /dev/null || true
  fi
  exit 1
}
