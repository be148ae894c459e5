#!/bin/bash
# usage: 24_wrong_first_image.sh TOOTS INVENTORY_WITH_A_WRONG_CONSUL_IMAGE INVENTORY_WITH_THE_RIGHT_ONE (three fresh masters)
# needs the lab: two inventories
# The first run makes three members that end at once: an image that is pulled but is another program. The second run replaces them when the image is
# corrected, although no majority of them ever ran.
"$1" cluster up -i "$2" --yes --output plain --gate-timeout 30s > /dev/null 2>&1; c=$?
[ $c = 6 ] || { echo "want exit 6 with the wrong image, got $c"; exit 1; }
"$1" cluster up -i "$3" --yes --output plain --gate-timeout 60s 2>&1 | grep 'stopping .* would leave 0'; [ "${PIPESTATUS[1]}" = 1 ]
