#!/bin/busybox sh
# The tiny guest's PID 1: reads the NoCloud seed, sets name, addresses and keys, then serves SSH and metrics.
# The root file system is the initramfs; the disk it came from is left alone.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/sshd /run/net /mnt /root/.ssh /etc/ssh /tmp /var/empty
mount -t devpts pts /dev/pts
exec < /dev/null > /dev/console 2>&1
echo "guest: kernel up after $(cut -d' ' -f1 /proc/uptime) s"

load() { while read -r module; do insmod "/modules/$module"; done < "/modules/$1"; }

# Writes the list KEY of YAML FILE, one item a line; block and flow style.
yaml_list() {
  awk -v key="$2" '
    function item(s) { gsub(/^[ \t]*["\047]?|["\047]?[ \t]*$/, "", s); if (s != "") print s }
    inside && /^[ \t]*- / { sub(/^[ \t]*- /, ""); item($0); next }
    inside && /^[ \t]*(#|$)/ { next }
    { inside = 0 }
    index($0, key ":") == 1 {
      sub(/^[^:]*:[ \t]*/, "")
      if ($0 ~ /^\[/) { gsub(/[][]/, ""); n = split($0, all, ","); for (i = 1; i <= n; i++) item(all[i]) }
      else inside = 1
    }' "$1"
}

# Writes the one-line value KEY of YAML FILE, at any depth.
yaml_value() {
  awk -v key="$2" '{ line = $0; sub(/^[ \t]*(- )?/, "", line) }
    index(line, key ":") == 1 { sub(/^[^:]*:[ \t]*/, "", line); gsub(/^["\047]|["\047][ \t]*$/, "", line); print line; exit }' "$1"
}

# Writes the block scalar KEY (`KEY: |`) of YAML FILE without its indent.
yaml_block() {
  awk -v key="$2" '
    { match($0, /^ */); depth = RLENGTH }
    inside && $0 != "" && depth <= at { exit }
    inside { if (!cut) cut = depth; print substr($0, cut + 1); next }
    index(substr($0, depth + 1), key ": |") == 1 { inside = 1; at = depth }' "$1"
}

mount_seed() {
  local device kind
  for device in /dev/vd[a-z] /dev/sr0 /dev/sd[a-z] /dev/vd[a-z][0-9] /dev/sd[a-z][0-9]; do
    [ -b "$device" ] || continue
    case "$(label_of "$device")" in
      CIDATA|cidata) ;;
      *) continue ;;
    esac
    for kind in vfat iso9660; do
      mount -t "$kind" -o ro "$device" /mnt 2>/dev/null && return 0
    done
  done
  return 1
}

# The volume label stands at 43 (FAT12/16) or 71 (FAT32) of the boot sector, or at 32808 of an ISO.
label_of() {
  local at label
  for at in 43 71 32808; do
    label=$(dd if="$1" bs=1 skip=$at count=11 2>/dev/null | tr -d ' \0' | cut -c1-6)
    case "$label" in CIDATA|cidata) echo "$label"; return ;; esac
  done
}

interface_of() {
  local address
  for address in /sys/class/net/*/address; do
    [ "$(cat "$address")" = "$1" ] && basename "$(dirname "$address")" && return
  done
}

# Turns network-config v2 into one order a line (see network.awk) and carries them out.
configure_network() {
  local order id first second device
  awk -f /etc/network.awk /mnt/network-config > /run/net/orders
  while read -r order id first second; do
    device=$(cat "/run/net/$id" 2>/dev/null) || device=$id
    case "$order" in
      mac) interface_of "$first" > "/run/net/$id"; ip link set "$(cat "/run/net/$id")" up ;;
      name) ip link set "$device" down; ip link set "$device" name "$first" && echo "$first" > "/run/net/$id"; ip link set "$first" up ;;
      address) ip link set "$device" up; ip addr add "$first" dev "$device"; echo "guest: $device has $first" ;;
      route) ip route add "$first" via "$second" dev "$device" ;;
      dns) echo "nameserver $first" >> /etc/resolv.conf ;;
      dhcp) udhcpc -i "$device" -s /bin/lease -x "hostname:$name" -R -b -S > /dev/null & ;;
    esac
  done < /run/net/orders
}

install_keys() {
  { yaml_list /mnt/meta-data public-keys; yaml_list /mnt/vendor-data ssh_authorized_keys
    yaml_list /mnt/user-data ssh_authorized_keys; } 2>/dev/null > /root/.ssh/authorized_keys
  yaml_block /mnt/vendor-data ed25519_private > /etc/ssh/host_key 2>/dev/null
  chmod 700 /root /root/.ssh
  chmod 600 /root/.ssh/authorized_keys /etc/ssh/host_key
  [ -s /etc/ssh/host_key ] && return
  rm -f /etc/ssh/host_key
  echo "guest: the seed has no host key, making one"
  ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/host_key
}

# Any event of the power button means: off, now.
watch_power_button() {
  local event
  event=$(awk '/Name="Power Button"/ { hit = 1 } hit && /Handlers=/ { match($0, /event[0-9]+/); print substr($0, RSTART, RLENGTH); exit }' /proc/bus/input/devices)
  [ -e "/dev/input/$event" ] || { echo "guest: no power button"; return; }
  dd if="/dev/input/$event" of=/dev/null bs=24 count=1 2>/dev/null
  echo "guest: power button, going off"
  poweroff -f
}

name=guest
load early
watch_power_button &
ip link set lo up
mount_seed || { load late; late=done; mount_seed; } || echo "guest: no seed found"
if [ -r /mnt/meta-data ]; then
  name=$(yaml_value /mnt/meta-data local-hostname)
  echo "guest: instance $(yaml_value /mnt/meta-data instance-id)"
fi
hostname "${name:=guest}"
echo "127.0.0.1 localhost $name" > /etc/hosts
[ -r /mnt/network-config ] && configure_network
install_keys
umount /mnt 2>/dev/null
/usr/sbin/sshd -f /etc/ssh/sshd_config
nc -ll -p 9100 -e /bin/metrics &
echo "guest: up after $(cut -d' ' -f1 /proc/uptime) s"
echo "ready $name"
[ -n "$late" ] || load late
while :; do wait; sleep 3600; done
