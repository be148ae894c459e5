# shellcheck shell=sh
# Observes a host; changes nothing. Runs in dash, bash and busybox. Prints one block of base64
# between "NONCE begin" and "NONCE end"; decoded, it is sections of text, each after a line "NONCE
# KEY", and last an archive. Nothing on the host can look like the start of a section: the nonce is
# known to this shell only, and must not become part of a command line or of the environment.
#
# A run starts at most 40 processes, however many files, containers and sockets there are: a test
# counts them. So a program runs once for all files or units; what the shell can do, it does.
#
# The caller sets nonce, paths, data, reach (words) and reach_script (reach.bash).
# shellcheck disable=SC2154
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"
newline='
'
section() { printf '\n%s %s\n' "$nonce" "$1"; }
value() { section "$1"; printf '%s\n' "$2"; }
have() { command -v "$1" >/dev/null; }
# `cat` without a process; for small files, as the shell reads byte by byte.
show() {
  [ -r "$1" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done < "$1"
}

machine() {
  uname=$(uname -nrm)
  value uname "$uname"
  section os; show /etc/os-release
  section machine-id; show /etc/machine-id
  section cpus; getconf _NPROCESSORS_ONLN 2>/dev/null
  while read -r key size _; do
    case "$key" in MemTotal:) value memory "$size"; break ;; esac
  done < /proc/meminfo
  if have ip; then section nics; ip -o addr show 2>/dev/null
  else section addresses; hostname -I 2>/dev/null; fi
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then value cgroup 2; else value cgroup 1; fi
  section mounts
  grep -E '^([^ ]+ ){4}(/|/var|/var/lib|/var/lib/toots(/[^ ]+)?) ' /proc/self/mountinfo 2>/dev/null
  section own-name; getent ahosts "${uname%% *}" 2>/dev/null
  if [ -d /run/systemd/system ]; then value systemd 1; fi
  section managers
  for manager in apt-get dnf zypper apk; do if have $manager; then echo $manager; fi; done
  if have mount.nfs; then value nfs-client 1; fi
  if kernel_has_nfs; then value nfs-kernel 1; fi
}
kernel_has_nfs() {
  while read -r first second; do
    case "$first $second" in "nfs4 " | *" nfs4") return 0 ;; esac
  done < /proc/filesystems
  have modprobe && modprobe --dry-run --quiet nfsv4 2>/dev/null
}

# The Engine's data root: of its command line, else of its configuration.
find_docker_root() {
  docker_root='' pid='' former='' json=''
  if [ -r /var/run/docker.pid ]; then read -r pid < /var/run/docker.pid; fi
  if [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ]; then
    IFS=$newline
    for word in $(tr '\0' '\n' < "/proc/$pid/cmdline"); do
      case "$former" in --data-root | --graph | -g) use_docker_root "$word" ;; esac
      case "$word" in --data-root=* | --graph=*) use_docker_root "${word#*=}" ;; esac
      former=$word
    done
    unset IFS
  fi
  if [ -r /etc/docker/daemon.json ]; then
    while read -r line || [ -n "$line" ]; do json="$json $line"; done < /etc/docker/daemon.json
    case "$json" in *'"data-root"'*)
      json=${json#*\"data-root\"}
      json=${json#*\"}
      use_docker_root "${json%%\"*}" ;;
    esac
  fi
  use_docker_root /var/lib/docker
}
# The first absolute path counts.
use_docker_root() { case "$docker_root:$1" in :/*) docker_root=$1 ;; esac; }
free_space() {
  path=$1
  while [ ! -d "$path" ]; do path=${path%/*}; [ -n "$path" ] || path=/; done
  df -Pk "$path"
}
docker_facts() {
  find_docker_root
  value docker-root "$docker_root"
  section disk-docker; free_space "$docker_root"
  section disk-containerd; if [ -d /var/lib/containerd ]; then free_space /var/lib/containerd; fi
  section disk-data; free_space /var/lib/toots
  if have docker || [ -S /var/run/docker.sock ]; then value docker-here 1; fi
  if have docker && [ ! -S /var/run/docker.sock ]; then
    section docker-unit
    if have systemctl; then systemctl is-active docker 2>&1; else echo "no socket"; fi
  fi
  section compose
  if have docker-compose; then docker-compose version --short 2>/dev/null
  elif have docker; then docker compose version --short 2>/dev/null; fi
}

# Managed paths, with an action of find. Names with white space are nobody's: they could look like
# two. Of a managed folder outside /etc/toots, the content is not toots'.
managed() {
  set -f
  # shellcheck disable=SC2086
  find /etc/toots $paths -xdev \
    \( -name .stage -o -name '*[[:space:][:cntrl:]]*' \) -prune -o \
    \( -path /etc/toots -o -path '/etc/toots/*' -o -prune \) "$@" 2>/dev/null
  set +f
}
has_entries() {
  for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then return 0; fi
  done
  return 1
}
data_folders() { for dir in $data; do if has_entries "$dir"; then echo "$dir"; fi; done; }

units() {
  set --
  section unit-files
  for unit in /etc/systemd/system/*.service /etc/systemd/system/*.mount; do
    first=
    if [ -f "$unit" ] && [ -r "$unit" ]; then IFS= read -r first < "$unit"; fi
    if [ "$first" = "# Written by toots." ]; then
      set -- "$@" "${unit##*/}"
      echo "${unit##*/}"
    fi
  done
  section units
  [ $# = 0 ] || systemctl show --property=Id,UnitFileState,ActiveState -- "$@" 2>/dev/null
}

# Without ss: the same lines from /proc/net, with the holders from the descriptors of all processes.
sockets_of_proc() {
  # shellcheck disable=SC2012
  ls -l /proc/[0-9]*/fd 2>/dev/null | awk '
    function number(text, n, i) {
      for (i = 1; i <= length(text); i++)
        n = n * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1
      return n + 0
    }
    function bytes(hex, order, out, i) {
      for (i = 1; i <= 4; i++) out = out (i > 1 ? "." : "") number(substr(hex, 9 - 2 * i, 2))
      return out
    }
    function address(hex, out, w) {
      if (length(hex) == 8) return bytes(hex)
      for (w = 1; w <= 25; w += 8)
        out = out (w > 1 ? ":" : "") substr(hex, w + 6, 2) substr(hex, w + 4, 2) \
          ":" substr(hex, w + 2, 2) substr(hex, w, 2)
      return "[" out "]"
    }
    function users(inode, out, list, count, i, name, file) {
      count = split(pids[inode], list, " ")
      for (i = 1; i <= count; i++) {
        name = "?"
        file = "/proc/" list[i] "/comm"
        getline name < file
        close(file)
        out = out (i > 1 ? "," : "") "(\"" name "\",pid=" list[i] ",fd=0)"
      }
      return count ? "users:(" out ")" : ""
    }
    /^\/proc\// { split($0, part, "/"); pid = part[3] }
    match($0, /socket:\[[0-9]+\]/) {
      inode = substr($0, RSTART + 8, RLENGTH - 9)
      pids[inode] = pids[inode] " " pid
    }
    END {
      count = split("tcp tcp6 udp udp6", tables, " ")
      for (t = 1; t <= count; t++) {
        table = "/proc/net/" tables[t]
        protocol = substr(tables[t], 1, 3)
        while ((getline < table) > 0) {
          if ($4 != (protocol == "tcp" ? "0A" : "07")) continue
          split($2, local, ":")
          print protocol, "LISTEN 0 0", address(local[1]) ":" number(local[2]), "*:*", users($10)
        }
      }
    }'
}
listeners() { if have ss; then ss -H -lntup 2>/dev/null; else sockets_of_proc; fi; }
# The cgroup path of a process names its container. Prints "complete", or "gone" when a process has
# ended meanwhile, then PID CONTAINER lines, then "sockets" and what was read.
# shellcheck disable=SC2016
with_owners='
  {
    lines[NR] = rest = $0
    while (match(rest, /pid=[0-9]+/)) {
      pids[substr(rest, RSTART + 4, RLENGTH - 4)]
      rest = substr(rest, RSTART + RLENGTH)
    }
  }
  END {
    for (n = 0; n < 64; n++) id = id "[0-9a-f]"
    state = "complete"
    for (pid in pids) {
      file = "/proc/" pid "/cgroup"
      owner = ""
      for (n = 0; (getline text < file) > 0; n++)
        while (match(text, id)) {
          owner = substr(text, RSTART, RLENGTH)
          text = substr(text, RSTART + RLENGTH)
        }
      close(file)
      if (n == 0) state = "gone"
      if (owner != "") owners = owners pid " " owner "\n"
    }
    print state
    printf "%ssockets\n", owners
    for (n = 1; n <= NR; n++) print lines[n]
  }'
# A process that ends meanwhile (HAProxy's at each reload) has passed its sockets on to another one:
# then everything is read again.
sockets() {
  for _ in 1 2 3; do
    sockets=$(listeners | awk "$with_owners")
    case "$sockets" in complete*) break ;; esac
    sleep 0.2
  done
  value sockets "$sockets"
}

observe() {
  section time; date +%s%N
  machine
  docker_facts
  section files; managed -exec stat -c '%f %a %u %g %n' {} +
  section sums; managed -type f -exec sha256sum {} +
  section data; data_folders
  section hosts
  awk '/^# toots begin$/{on=1;next} /^# toots end$/{on=0} on' /etc/hosts
  units
  sockets
  # shellcheck disable=SC2086
  if have bash; then section reach; bash -c "$reach_script" bash $reach; fi
  # Contents: only of files that everyone on the host may read, and of toots' own records. tar does
  # not follow a symbolic link that has just taken a file's place.
  section contents
  managed -type f -size -65537c \( -perm -004 -o -path '/etc/toots/secrets/*' \
    -o -path '/etc/toots/containers/*' -o -path /etc/toots/node.json \
    -o -path /etc/toots/members.json \) -exec tar -cf - {} +
  section end
}
printf '%s begin\n' "$nonce"
observe < /dev/null | base64
printf '%s end\n' "$nonce"
