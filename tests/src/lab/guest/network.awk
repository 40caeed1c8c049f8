# Turns a cloud-init network-config v2 (block or flow lists) into orders, one a line:
#   mac ID MAC | name ID NEW | address ID CIDR | route ID TO VIA | dns ID ADDRESS | dhcp ID
function clean(s) { gsub(/^[ \t"\047]+|[ \t"\047]+$/, "", s); return s }
function order(what, value) { print what, id, value }
function items(what, s,   n, all, i) {
  gsub(/[][]/, "", s)
  n = split(s, all, ",")
  for (i = 1; i <= n; i++) order(what, clean(all[i]))
}
function route() { if (to != "" && via != "") { order("route", to " " via); to = via = "" } }
{ sub(/[ \t]#.*$/, ""); sub(/^#.*$/, "") }
/^[ \t]*$/ { next }
{
  match($0, /^ */); depth = RLENGTH
  text = substr($0, depth + 1)
  dash = (text ~ /^- /)
  if (dash) sub(/^- +/, "", text)
  key = value = ""
  if (match(text, /^[A-Za-z0-9_-]+:([ \t]|$)/)) {
    key = text; sub(/:.*$/, "", key)
    value = text; sub(/^[^:]*:/, "", value); value = clean(value)
  } else value = clean(text)
}
key == "ethernets" { inside = 1; base = depth; ids = 0; next }
!inside { next }
depth <= base && !dash { inside = 0; next }
!ids { ids = depth }
depth == ids && !dash { id = key; props = 0; section = ""; next }
!props { props = depth }
depth == props && !dash {
  section = key; sub_section = ""
  if (key == "set-name") order("name", value)
  else if (key == "gateway4") order("route", "default " value)
  else if (key == "dhcp4" && value ~ /^(true|yes|on)$/) print "dhcp", id
  else if (key == "addresses" && value != "") items("address", value)
  else if (key == "match" && value ~ /macaddress/) { gsub(/[{}]/, "", value); sub(/^.*macaddress: */, "", value); order("mac", clean(tolower(value))) }
  next
}
section == "match" && key == "macaddress" { order("mac", tolower(value)) }
section == "addresses" && dash { order("address", clean(text)) }
section == "routes" && text ~ /^\{/ {
  gsub(/[{}]/, "", text); n = split(text, pair, ",")
  for (i = 1; i <= n; i++) { v = pair[i]; sub(/^[^:]*:/, "", v); if (pair[i] ~ /to:/) to = clean(v); if (pair[i] ~ /via:/) via = clean(v) }
  route()
}
section == "routes" && key == "to" { to = value; route() }
section == "routes" && key == "via" { via = value; route() }
section == "nameservers" && key != "" { sub_section = key; if (key == "addresses" && value != "") items("dns", value) }
section == "nameservers" && sub_section == "addresses" && dash && key == "" { order("dns", clean(text)) }
