# shellcheck shell=sh
# Holds the host's lock until the input ends, or is silent for too long. $1: the holder, as shown to
# others; $2: the folder of the lock; $3: seconds of silence; $4: the name of the process that serves
# the connection. Prints "locked", or why it does not hold it, and a line for each point that it reads.
# The holder's line in the file is that of whoever holds the lock: only the holder writes it.
set -u
command -v flock >/dev/null || { echo "no flock"; exit 0; }
dir=$2
# In a subshell first: a failed redirection of exec ends the shell without a word.
open_lock() { mkdir -p "$dir" 2>/dev/null && chmod 700 "$dir" && ( : >>"$dir/lock" ) 2>/dev/null; }
open_lock || { echo "cannot write $dir/lock"; exit 0; }
exec 9>>"$dir/lock"
if ! flock -n 9; then
  # A connection of this very run that the host does not know to be dead yet.
  case $(head -n 1 "$dir/lock") in "$1 since "*) kill "$(sed -n 2p "$dir/lock")" 2>/dev/null; flock -w 5 9 && again=y;; esac
  if [ -z "${again-}" ]; then echo "held $(head -n 1 "$dir/lock" | head -c 500 | tr -cd '[:print:]')"; exit 0; fi
fi
printf '%s since %s\n%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" $$ > "$dir/lock"
echo locked
# Only this shell holds the lock, so that ending it is enough. A byte is answered by a line. dd reads
# no byte too many: the end of the input is a byte as well.
if timeout 9 true 2>/dev/null; then
  while
    byte=$(timeout "$3" dd bs=1 count=1 2>/dev/null 9>&-)
    code=$?
    [ "$byte" = . ]
  do echo .; done
  if [ "$code" -ne 0 ]; then
    # Silence, not the end of the connection: the process that serves it must end first.
    p=$$
    while [ "$p" -gt 1 ] && p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null) && [ -n "$p" ]; do
      case $(cat "/proc/$p/comm" 2>/dev/null) in "$4"*) kill "$p" 2>/dev/null; break ;; esac
    done
  fi
else
  while byte=$(dd bs=1 count=1 2>/dev/null 9>&-); [ "$byte" = . ]; do echo .; done
fi
( : > "$dir/lock" ) 2>/dev/null
# Before the output ends, which the run waits for.
exec 9>&-
