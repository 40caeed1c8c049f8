# Three VMs on two hosts, with DNS names and monitoring. `cargo xtask demo` applies it to the lab.

fleet "quickstart" {
  id = "8f0c6a5e2d9b4713a1e7c35f60d28b94"
}

variable "image" {
  description = "the disk image that guests begin as"
}
variable "image_sha256" {
  description = "its SHA-256"
}
variable "ssh_key" {
  description = "file of the public key that may log in to the guests"
}
variable "targets" {
  description = "the file that Prometheus reads its targets from"
}
variable "web_count" {
  default = 2
}

host "rack1" {
  ssh   = "rack1"
  accel = "tcg"
}
host "rack2" {
  ssh   = "rack2"
  accel = "tcg"
}

network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  gateway   = "10.77.0.1"
  dns       = ["10.77.0.1"]
  addresses = "10.77.0.100-10.77.0.199"
}

image "guest" {
  source = var.image
  sha256 = var.image_sha256
}

vm "web" {
  count  = var.web_count
  host   = [host.rack1, host.rack2]
  image  = image.guest
  memory = "256MiB"

  disk "root" {
    size = "1GiB"
  }
  nic "lan" {}

  cloud_init {
    user     = "root"
    ssh_keys = [file(var.ssh_key)]
  }
  dns {
    zone = zone.home
  }
  metrics "node" {
    port = 9100
  }
  ansible {
    groups = ["web"]
  }
}

vm "db" {
  host   = host.rack2
  image  = image.guest
  memory = "256MiB"

  disk "root" {
    size = "1GiB"
  }
  disk "data" {
    size = "2GiB"
    keep = true
  }
  nic "lan" {}

  cloud_init {
    user     = "root"
    ssh_keys = [file(var.ssh_key)]
  }
  dns {
    zone = zone.home
  }
  metrics "node" {
    port = 9100
  }
}

dns "main" {
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
}
zone "home" {
  name    = "home.example.org"
  server  = dns.main
  ttl     = "60s"
  reverse = true
  create  = true
}
prometheus "main" {
  path = var.targets
  url  = "http://10.77.0.1:9090"
}
