
# Added to packages.sh when an image is built anew: asks for the versions that its first build
# installed. toots_packages: NAME=VERSION …. What cannot be had any more is said for toots, and stays
# as the recipe wants it.
# shellcheck shell=sh
by_recipe="$*"
for package; do
  shift
  for recorded in ${toots_packages:-}; do
    [ "${recorded%%=*}" = "${package%%=*}" ] || continue
    if exists "$recorded"; then
      package=$recorded
    else
      echo "toots-package-gone ${recorded%%=*} ${recorded#*=}"
    fi
  done
  set -- "$@" "$package"
done

# A version may be there, and what it depends on gone.
if [ "$by_recipe" != "$*" ] &&
  ! install --simulate --no-install-recommends "$@" > /dev/null 2>&1; then
  for package; do
    case " $by_recipe " in
      *" $package "*) ;;
      *) echo "toots-package-refused ${package%%=*} ${package#*=}" ;;
    esac
  done
  set -f
  # shellcheck disable=SC2086 # Names of packages, with patterns.
  set -- $by_recipe
  set +f
fi
