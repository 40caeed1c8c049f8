#!/bin/busybox sh
# Answers one HTTP request on standard input with the guest's metrics.
read -r _ path _
while read -r line; do [ "${#line}" -le 1 ] && break; done
case "$path" in
  /metrics|/metrics\?*) ;;
  *) printf 'HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'; exit ;;
esac
body="# HELP freehold_guest_info Who this guest is.
# TYPE freehold_guest_info gauge
freehold_guest_info{hostname=\"$(hostname)\"} 1
# HELP freehold_guest_uptime_seconds Seconds since the kernel started.
# TYPE freehold_guest_uptime_seconds gauge
freehold_guest_uptime_seconds $(cut -d' ' -f1 /proc/uptime)
"
printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "${#body}" "$body"
