# shellcheck shell=sh
# Prints the last lines of a task from its sandbox. $1: the task's id. The work directory is that of the
# agents' component; the agent's folders below it are the same for every containerizer.
for f in /var/lib/toots/mesos-slave/slaves/*/frameworks/*/executors/"$1"/runs/latest/stdout \
  /var/lib/toots/mesos-slave/slaves/*/frameworks/*/executors/"$1"/runs/latest/stderr; do
  if [ -s "$f" ]; then tail -n 20 "$f" | tail -c 4000; fi
done
