# shellcheck shell=bash
# Prints "ADDRESS/PORT 1" or "ADDRESS/PORT 0" for each argument. Reached: connected, or refused at
# once. Not reached: no answer, or no route. bash alone can connect without another program.
#
# One process for each address tries its ports one after another: between hosts that see each other
# all of them are answered at once. What is not answered after a second is tried again for three
# seconds, each target in a process of its own: a port that a firewall drops hides no other one.
set -u
declare -A reached

# try TARGET...: tries the targets in turn and prints how each attempt ended, then "= TARGET".
try() {
  local target
  echo "$BASHPID"
  for target; do
    { true 3<>"/dev/tcp/${target%/*}/${target##*/}" && echo connected; } 2>&1
    echo "= $target"
  done
}

# try_groups SECONDS GROUP...: tries all groups in parallel, each in one process, for at least
# SECONDS and less than one more. A process that still waits for an answer is killed.
try_groups() {
  local end=$((SECONDS + $1 + 1)) left group fd pid line answer
  local -a fds=()
  shift
  for group; do
    # shellcheck disable=SC2086
    exec {fd}< <(try $group)
    fds+=("$fd")
  done
  for fd in "${fds[@]}"; do
    read -r -u "$fd" pid
    answer=0
    while
      left=$((end - SECONDS))
      ((left > 0)) || left=0.01
      read -r -t "$left" -u "$fd" line
    do
      case "$line" in
        connected | *refused*) answer=1 ;;
        "= "*)
          reached[${line#= }]=$answer
          answer=0 ;;
      esac
    done
    kill -KILL "$pid" 2>/dev/null
    exec {fd}<&-
  done
}

declare -A ports=()
for target; do ports[${target%/*}]+=" $target"; done
if (($#)); then try_groups 1 "${ports[@]}"; fi
unanswered=()
for target; do [ -n "${reached[$target]-}" ] || unanswered+=("$target"); done
if ((${#unanswered[@]})); then try_groups 3 "${unanswered[@]}"; fi
for target; do echo "$target ${reached[$target]-0}"; done
