# shellcheck shell=sh
# Prints the last lines of a task from its sandbox. $1: the agent's work directory, whose folders are the
# same for every containerizer; $2: the task's id.
for f in "$1"/slaves/*/frameworks/*/executors/"$2"/runs/latest/stdout \
  "$1"/slaves/*/frameworks/*/executors/"$2"/runs/latest/stderr; do
  if [ -s "$f" ]; then tail -n 20 "$f" | tail -c 4000; fi
done
