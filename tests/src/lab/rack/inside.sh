#!/bin/bash
# inside.sh NAME DIR: PID 1 of a rack. Turns fresh namespaces into a host of its own and keeps its daemons running.
set -eu
name=$1 dir=$2
mount --make-rprivate /
hostname "$name"
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/rack /run/sshd /run/libvirt /run/lock
mount --bind "$dir" /run/rack
while read -r from to; do
  [ -e "$to" ] || continue
  mount --bind "/run/rack/$from" "$to"
done < /run/rack/mounts
for setting in iptables ip6tables arptables; do
  # A host without Docker has br_netfilter unloaded: bridged guests are not filtered.
  echo 0 2> /dev/null > "/proc/sys/net/bridge/bridge-nf-call-$setting" || true
done
if [ -e /dev/kvm ]; then
  # As udev has it. Where root may use it and libvirt-qemu may not, libvirt distrusts its cache of what QEMU
  # can do, and asks QEMU again (10 s and more) at every define.
  mknod -m 0660 /run/kvm c 10 232
  chgrp kvm /run/kvm
  mount --bind /run/kvm /dev/kvm
fi
unset dir
keep() {
  local log=/run/rack/log/$1; shift
  while :; do
    "$@" >> "$log" 2>&1 || echo "$1 ended with status $?" >> "$log"
    sleep 0.5
  done
}
keep virtlogd.log virtlogd &
keep libvirtd.log libvirtd &
keep sshd.log /usr/sbin/sshd -D -e -f /run/rack/ssh/sshd_config &
while :; do wait; done
