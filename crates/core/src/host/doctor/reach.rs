//! From a name to a login.

use std::time::Instant;

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Check, Step, Verdict};
use crate::{
    host::{
        ConnectOptions, HostErrorKind,
        connect::ssh_options,
        ssh::{Destination, ON_THE_WAY, ShownKey, Ssh, destination, host_key},
        transport::Transport,
        trouble::Trouble,
    },
    model::{self, SshTarget},
};

/// Goes there step by step; returns where that is, and what commands can be run over.
pub(super) async fn reach(
    host: &model::Host,
    target: &SshTarget,
    options: &ConnectOptions,
    checks: &mut Vec<Check>,
) -> (String, Option<Transport>) {
    let way = match destination(target, &ssh_options(options)).await {
        Ok(way) => way,
        Err(trouble) => {
            checks.push(Check::of(Step::Name, &trouble, "mend that line of ssh_config"));
            return (target.to_string(), None);
        }
    };
    let place = format!("{}@{}", way.user, way.place);
    if way.direct && !answers(&way, options, checks).await {
        return (place, None);
    }
    let shown = host_key(target, &ssh_options(options)).await;
    let check = key_check(host, &way, shown);
    let is_known = check.verdict == Verdict::Good;
    checks.push(check);
    if !is_known {
        return (place, None);
    }
    match Ssh::connect(target, ssh_options(options)).await {
        Ok(ssh) => {
            let said = format!("as {}: {}", way.user, ssh.logged_in_with());
            checks.push(Check::good(Step::Login, said));
            (place, Some(Transport::Ssh(Box::new(ssh))))
        }
        Err(trouble) => {
            let copy = format!("ssh-copy-id {target}, or its console: ~/.ssh/authorized_keys");
            checks.push(Check::of(Step::Login, &trouble, &copy).fix(copy.clone()));
            (place, None)
        }
    }
}

fn key_check(host: &model::Host, way: &Destination, shown: Result<ShownKey, Trouble>) -> Check {
    let (name, target) = (&host.name, &way.target);
    let add = format!("freehold host add {target} --name {name}");
    match shown {
        Ok(ShownKey { fingerprint, known: Some(place), .. }) => {
            Check::good(Step::HostKey, format!("{fingerprint}, known from {place}"))
        }
        Ok(ShownKey { fingerprint, kind, known: None, fault, .. }) => {
            let compare =
                format!("at its console, compare: ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub");
            let fault =
                fault.map(|fault| format!("; its host certificate does not count: {fault}"));
            let said = format!("{fingerprint} is not known{}", fault.unwrap_or_default());
            Check::bad(Step::HostKey, said).fix(compare).fix(add)
        }
        // Whatever happens on the way to it says nothing of its key.
        Err(trouble)
            if !way.direct && trouble.kind != HostErrorKind::HostKey
                || trouble.source.to_string().starts_with(ON_THE_WAY) =>
        {
            Check::of(Step::Tcp, &trouble, "mend the way that ssh_config tells")
        }
        Err(trouble) => {
            let remove = "once you know why: remove that line, or ssh-keygen -R HOST -f FILE";
            Check::of(Step::HostKey, &trouble, remove).fix(format!("then: {add}"))
        }
    }
}

/// Finds the address and opens a connection to it.
async fn answers(way: &Destination, options: &ConnectOptions, checks: &mut Vec<Check>) -> bool {
    let limit = way.connect_timeout.unwrap_or(options.deadlines.connect / 3);
    let addresses = match timeout(limit, lookup_host((&*way.host, way.port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            let check = Check::bad(Step::Name, format!("{}: {error}", way.host));
            checks.push(check.fix(format!(
                "give {} an address in DNS or /etc/hosts, or a HostName in ~/.ssh/config",
                way.host
            )));
            return false;
        }
        Err(_) => {
            let said = format!("{}: the name servers do not answer", way.host);
            checks.push(
                Check::bad(Step::Name, said).fix("look at /etc/resolv.conf and /etc/hosts here"),
            );
            return false;
        }
    };
    let ips: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let is_address = ips == [way.host.clone()];
    let said =
        if is_address { way.host.clone() } else { format!("{} is {}", way.host, ips.join(", ")) };
    checks.push(Check::good(Step::Name, said));
    let begun = Instant::now();
    let (said, fix) = match timeout(limit, TcpStream::connect(&*addresses)).await {
        Ok(Ok(_)) => {
            let took = begun.elapsed().as_secs_f64() * 1e3;
            checks.push(Check::good(Step::Tcp, format!("port {} accepts, {took:.1} ms", way.port)));
            return true;
        }
        Ok(Err(error)) => (error.to_string(), "at its console: systemctl status ssh; ss -ltn"),
        Err(_) => (
            format!("no answer within {} s", limit.as_secs()),
            "is it on, and does a firewall on the way let the port through?",
        ),
    };
    checks.push(Check::bad(Step::Tcp, format!("port {}: {said}", way.port)).fix(fix));
    false
}
