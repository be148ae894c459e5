# Reads a host. Prints records "NONCE KEY BASE64" and a last one with the key "end"; a value is always encoded, so that nothing on the host
# can look like a record. Changes nothing. dash, bash and busybox run it.
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"
b64() { base64 | tr -d '\n'; }
put() { printf '%s %s ' "$nonce" "$1"; b64; echo; }
text() { printf '%s' "$2" | put "$1"; }

text time "$(date +%s%N)"
uname -n | put hostname
uname -m | put arch
uname -r | put kernel
cat /etc/os-release 2>/dev/null | put os
cat /etc/machine-id 2>/dev/null | put machine-id
getconf _NPROCESSORS_ONLN 2>/dev/null | put cpus
grep MemTotal /proc/meminfo | put memory
free() { p=$1; while [ ! -d "$p" ]; do p=${p%/*}; [ -n "$p" ] || p=/; done; df -Pk "$p" | awk 'NR==2{print $4}'; }
free /var/lib/docker | put disk-docker
free /var/lib/toots | put disk-data
if command -v ip >/dev/null; then ip -o addr show 2>/dev/null | awk '{print $2, $4}' | put nics; else hostname -I 2>/dev/null | tr ' ' '\n' | awk 'NF{print "?", $1}' | put nics; fi
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then text cgroup 2; else text cgroup 1; fi
getent ahosts "$(uname -n)" 2>/dev/null | awk '{print $1}' | sort -u | put own-name
if [ -d /run/systemd/system ]; then text systemd 1; fi
for m in apt-get dnf zypper apk; do if command -v $m >/dev/null; then echo $m; fi; done | put managers
if command -v docker >/dev/null || [ -S /var/run/docker.sock ]; then
  text docker-here 1
  [ -S /var/run/docker.sock ] || { if command -v systemctl >/dev/null; then systemctl is-active docker 2>&1; else echo "no socket"; fi; } | put docker-unit
fi
if command -v docker-compose >/dev/null; then docker-compose version --short 2>/dev/null | put compose
elif command -v docker >/dev/null; then docker compose version --short 2>/dev/null | put compose; fi

if command -v mount.nfs >/dev/null; then text nfs-client 1; fi
if grep -qw nfs4 /proc/filesystems || { command -v modprobe >/dev/null && modprobe --dry-run --quiet nfsv4; }; then text nfs-kernel 1; fi

# stat in one call for all paths; sums in one call for all regular files.
list() { { find /etc/toots -xdev \( -name .stage -prune \) -o -print 2>/dev/null; printf '%s\n' $paths; } | grep -v '[[:space:]]' | sort -u; }
list | while read -r p; do [ -e "$p" ] || [ -L "$p" ] || continue; stat -c '%f %a %u %g %n' "$p"; done | put files
list | while read -r p; do [ -f "$p" ] && [ ! -L "$p" ] && printf '%s\0' "$p"; done | xargs -0 -r sha256sum | put sums
# Contents: only what nobody else on the host may not read, and toots' own records.
list | while read -r p; do
  [ -f "$p" ] && [ ! -L "$p" ] || continue
  size=$(stat -c %s "$p")
  [ "$size" -le 65536 ] || continue
  case "$p" in
    /etc/toots/secrets/* | /etc/toots/containers/* | /etc/toots/node.json) ;;
    *) case "$(stat -c %a "$p")" in *[4567]) ;; *) continue ;; esac ;;
  esac
  printf '%s ' "$p"; b64 < "$p"; echo
done | put contents
for d in $data; do if [ -d "$d" ] && [ -n "$(ls -A "$d" 2>/dev/null)" ]; then echo "$d"; fi; done | put data
awk '/^# toots begin$/{on=1;next} /^# toots end$/{on=0} on' /etc/hosts | put hosts

for u in /etc/systemd/system/*; do
  case "$u" in *.service | *.mount) ;; *) continue ;; esac
  if [ -f "$u" ] && [ "$(head -n 1 "$u" 2>/dev/null)" = "# Written by toots." ]; then
    u=${u##*/}
    echo "$u $(systemctl is-enabled "$u" 2>/dev/null) $(systemctl is-active "$u" 2>/dev/null)"
  fi
done | put units

# Which container a listener belongs to is in the cgroup path of its process. A process that ends meanwhile (HAProxy's at each reload) has
# handed its sockets to another: then all is looked at again.
owners() {
  printf '%s' "$sockets" | grep -o 'pid=[0-9]*' | sort -u | cut -d= -f2 | while read -r pid; do
    if c=$(cat "/proc/$pid/cgroup" 2>/dev/null); then
      c=$(printf '%s' "$c" | grep -o '[0-9a-f]\{64\}' | tail -n 1)
      if [ -n "$c" ]; then echo "$pid $c"; fi
    else
      echo "$pid gone"
    fi
  done
}
for again in 1 2 3; do
  sockets=$(ss -H -lntup 2>/dev/null)
  owners=$(owners)
  case "$owners" in *gone*) sleep 0.2 ;; *) break ;; esac
done
text sockets "$sockets"
text owners "$owners"

# Reached: connected, or refused at once by the other side. Not reached: no answer, or no route.
if command -v bash >/dev/null && command -v timeout >/dev/null; then
  for r in $reach; do
    (
      said=$(timeout 3 bash -c "exec 3<>/dev/tcp/${r%/*}/${r##*/}" 2>&1)
      code=$?
      case "$code $said" in 0*) echo "$r 1" ;; *refused*) echo "$r 1" ;; *) echo "$r 0" ;; esac
    ) &
  done | put reach
fi
text end "$nonce"
