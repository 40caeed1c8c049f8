//! Connects from an address or interface of this machine that `ssh_config` names.

use std::{
    io::{Error, ErrorKind},
    net::{IpAddr, SocketAddr},
};

use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::config::{Bound, Route};

/// Connects to a route's host from wherever it says.
pub(super) async fn connect(route: &Route) -> Result<TcpStream, Error> {
    let to = (&*route.host, route.port);
    let from: Vec<SocketAddr> = match &route.from {
        None => return TcpStream::connect(to).await,
        Some(Bound::Address(name)) => {
            let found = lookup_host((&**name, 0)).await;
            let found = found.map_err(|error| said(&format!("BindAddress {name}"), &error))?;
            found.collect()
        }
        Some(Bound::Interface(name)) => addresses_of(name)?,
    };
    let mut last = said("no address to bind", &ErrorKind::AddrNotAvailable.into());
    for to in lookup_host(to).await? {
        for from in from.iter().filter(|from| from.is_ipv4() == to.is_ipv4()) {
            match connect_from(*from, to).await {
                Ok(connected) => return Ok(connected),
                Err(error) => last = said(&format!("from {}", from.ip()), &error),
            }
        }
    }
    Err(last)
}

async fn connect_from(from: SocketAddr, to: SocketAddr) -> Result<TcpStream, Error> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(from)?;
    socket.connect(to).await
}

/// Those of IPv6 that hold on one link alone are left out: they lead nowhere else.
fn addresses_of(interface: &str) -> Result<Vec<SocketAddr>, Error> {
    let all = if_addrs::get_if_addrs()?;
    let here = all.iter().filter(|one| one.name == interface).map(if_addrs::Interface::ip);
    let leads_on = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let found: Vec<SocketAddr> = here.filter(leads_on).map(|ip| (ip, 0).into()).collect();
    if found.is_empty() {
        let why = ErrorKind::AddrNotAvailable.into();
        return Err(said(&format!("BindInterface {interface} has no address"), &why));
    }
    Ok(found)
}

fn said(what: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{what}: {error}"))
}
