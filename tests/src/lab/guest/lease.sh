#!/bin/busybox sh
# Applies what udhcpc was given.
case "$1" in
  deconfig) ip addr flush dev "$interface"; ip link set "$interface" up ;;
  bound|renew)
    ip addr replace "$ip/$mask" dev "$interface"
    for via in $router; do ip route replace default via "$via" dev "$interface"; done
    for server in $dns; do grep -q "nameserver $server" /etc/resolv.conf || echo "nameserver $server" >> /etc/resolv.conf; done
    echo "guest: $interface leased $ip/$mask" > /dev/console ;;
esac
