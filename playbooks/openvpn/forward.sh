#!/bin/sh
# forward.sh on|off NETWORK INTERFACE: passes the VPN's clients on to the cluster's network in this host's name, and nothing back but answers.
set -u
PATH=$PATH:/usr/sbin:/sbin

# rule HOW TABLE CHAIN…: each rule once.
rule() {
  how=$1 table=$2 chain=$3
  shift 3
  case $how in
    on) iptables -w -t "$table" -C "$chain" "$@" 2> /dev/null || iptables -w -t "$table" -I "$chain" "$@" ;;
    off) while iptables -w -t "$table" -D "$chain" "$@" 2> /dev/null; do :; done ;;
  esac
}

[ "$1" = off ] || echo 1 > /proc/sys/net/ipv4/ip_forward || exit 1
rule "$1" filter FORWARD -i toots0 -o "$3" -s "$2" -j ACCEPT &&
  rule "$1" filter FORWARD -i "$3" -o toots0 -d "$2" -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT &&
  rule "$1" nat POSTROUTING -s "$2" -o "$3" -j MASQUERADE
