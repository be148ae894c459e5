#!/bin/bash
# usage: 60_plan_is_not_cut_off.sh TOOTS INVENTORY MACHINE ADDRESS
# needs the lab: running
# A plan that exits 0 says nothing about being cut off.
! "$1" cluster plan -i "$2" --output plain 2>&1 | grep 'was cut off'
