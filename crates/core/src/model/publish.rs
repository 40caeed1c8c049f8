//! Where names and targets are published.

use ipnet::Ipv4Net;

use super::{DnsServerName, DomainName, HostName, Secret, TargetFileName, VmName, ZoneName};

/// A name server that takes our records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsServer {
    /// Its name in the fleet.
    pub name: DnsServerName,
    /// What it is.
    pub kind: DnsServerKind,
    /// Where it answers DNS: `host:port`; by default the URL's host, port 53.
    pub asks: Option<String>,
}

/// What a name server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsServerKind {
    /// `PowerDNS` Authoritative by its HTTP API.
    PowerDns {
        /// Base of the API, without `/api/v1`.
        url: String,
        /// Sent as `X-API-Key`.
        api_key: Secret<String>,
    },
}

/// A zone we write into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name in the fleet.
    pub name: ZoneName,
    /// Its domain name.
    pub domain: DomainName,
    /// The server that takes its records.
    pub server: DnsServerName,
    /// Time to live of our records, in seconds.
    pub ttl: u32,
    /// Whether PTR records are written for the addresses of its names.
    pub reverse: bool,
    /// The networks PTR zones are made for when `create`; longest prefix that is a multiple of 8.
    pub reverse_networks: Vec<Ipv4Net>,
    /// Whether we make the zone (and its reverse zones) where the server has none.
    pub create: bool,
    /// Name servers of a zone we make.
    pub nameservers: Vec<DomainName>,
}

/// A file of scrape targets (`file_sd`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// Its name in the fleet.
    pub name: TargetFileName,
    /// The machine it lies on.
    pub on: Place,
    /// Its path there; absolute on a host or VM, made absolute here.
    pub path: String,
    /// Prometheus' own address, to see that the file was read.
    pub url: Option<String>,
}

/// A machine that takes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This machine.
    Here,
    /// A physical host, over its SSH connection.
    Host(HostName),
    /// A VM, over SSH to its address.
    Vm(VmName),
}
