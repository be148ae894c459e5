# shellcheck shell=sh
# Writes files and folders, each old or new, never half. Standard input is a tar archive: "manifest"
# with a line KIND MODE UID GID NAME PATH for each, the contents by name, and "hosts", the block of
# toots in /etc/hosts, when it is to be written.
#
# Each file is staged beside its target, all are synced at once, then renamed, and the new names are
# synced: a container that is started next must find its files after a loss of power too. The
# /etc/hosts of a container is a bind mount that cannot be replaced by a rename; it alone is written
# in place.
set -eu
umask 077
mkdir -p /etc/toots
chmod 755 /etc/toots
s=/etc/toots/.stage
# What an earlier attempt staged and did not rename.
if [ -f "$s/manifest" ]; then
  while read -r kind _ _ _ _ path; do
    [ "$kind" != f ] || rm -f "$path.toots-new"
  done < "$s/manifest"
fi
rm -rf "$s"
mkdir "$s"
new=
dirs=
# shellcheck disable=SC2086
clean_up() {
  [ -z "$new" ] || rm -f $new
  rm -rf "$s"
}
trap clean_up EXIT
tar -x -f - -C "$s"
# Once each.
add_dir() {
  case "$dirs " in
    *" ${1:-/} "*) ;;
    *) dirs="$dirs ${1:-/}" ;;
  esac
}
fail() { echo "$1" >&2; exit 20; }
while read -r kind mode uid gid n path; do
  case "$kind" in
    d)
      [ ! -L "$path" ] || fail "$path is a symbolic link"
      mkdir -p "$path"
      chown "$uid:$gid" "$path"
      chmod "$mode" "$path"
      add_dir "${path%/*}" ;;
    f)
      [ ! -L "$path" ] || fail "$path is a symbolic link"
      [ ! -d "$path" ] || fail "$path is a directory"
      dir=${path%/*}
      [ -d "$dir" ] || (umask 022; mkdir -p "$dir")
      add_dir "$dir"
      rm -f "$path.toots-new"
      new="$new $path.toots-new"
      cp "$s/$n" "$path.toots-new"
      chown "$uid:$gid" "$path.toots-new"
      chmod "$mode" "$path.toots-new" ;;
  esac
done < "$s/manifest"
# shellcheck disable=SC2086
[ -z "$new" ] || sync $new 2>/dev/null || sync
while read -r kind mode uid gid n path; do
  [ "$kind" = f ] || continue
  mv -f "$path.toots-new" "$path"
done < "$s/manifest"
if [ -f "$s/hosts" ]; then
  awk '/^# toots begin$/{skip=1} !skip{print} /^# toots end$/{skip=0}' /etc/hosts > "$s/hosts.new"
  cat "$s/hosts" >> "$s/hosts.new"
  chmod 644 "$s/hosts.new"
  cp "$s/hosts.new" /etc/hosts.toots-new
  chmod 644 /etc/hosts.toots-new
  # The new name may reach the disk before the content does.
  sync /etc/hosts.toots-new 2>/dev/null || sync
  mv -f /etc/hosts.toots-new /etc/hosts 2>/dev/null || { rm -f /etc/hosts.toots-new; cat "$s/hosts.new" > /etc/hosts; }
  add_dir /etc
fi
# shellcheck disable=SC2086
[ -z "$dirs" ] || sync $dirs 2>/dev/null || sync
