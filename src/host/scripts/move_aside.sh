# shellcheck shell=sh
# Moves folders aside, all of them or none. $1: suffix of their new names; the others: the folders.
# Prints the size in KiB and the new name of each.
set -eu
suffix=$1
shift
move_back() {
  for dir in "$@"; do
    if [ -d "$dir$suffix" ] && [ ! -e "$dir" ]; then mv -- "$dir$suffix" "$dir"; fi
  done
}
for dir in "$@"; do
  [ -d "$dir" ] || continue
  mv -- "$dir" "$dir$suffix" || { move_back "$@"; exit 1; }
done
for dir in "$@"; do
  if [ -d "$dir$suffix" ]; then du -sk -- "$dir$suffix"; fi
done
