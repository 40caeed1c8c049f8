fleet "home" {
  id = "f7c10b8e5a2d4c93b6e1f04a7d825c39"
}

host "rack1" {
  ssh = "root@rack1.example.org"
}
host "rack2" {
  ssh = "root@rack2.example.org"
}

network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  gateway   = "10.77.0.1"
  addresses = "10.77.0.100-10.77.0.199"
}

image "debian-12" {
  source = "https://images.example.org/debian-12.qcow2"
  sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

vm "web" {
  count  = 2
  host   = [host.rack1, host.rack2]
  image  = image.debian-12
  cpus   = 2
  memory = "2GiB"
  wait   = "none"

  disk "root" {
    size = "20GiB"
  }
  disk "data" {
    size = "100GiB"
    keep = true
  }
  nic "lan" {}
}
