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
        ssh::{Destination, ShownKey, Ssh, destination, host_key},
        transport::Transport,
        trouble::Trouble,
    },
    model::SshTarget,
};

/// Goes there step by step; returns where that is, and what commands can be run over.
pub(super) async fn reach(
    target: &SshTarget,
    options: &ConnectOptions,
    checks: &mut Vec<Check>,
) -> (String, Option<Transport>) {
    let way = match destination(target, &ssh_options(options)).await {
        Ok(way) => way,
        Err(trouble) => {
            let check = Check::bad(Step::Name, format!("ssh_config: {}", trouble.source));
            checks.push(advised(check, &trouble));
            return (target.to_string(), None);
        }
    };
    let place = format!("{}@{}", way.user, way.place);
    if way.direct && !answers(&way, options, checks).await {
        return (place, None);
    }
    let shown = host_key(target, &ssh_options(options)).await;
    if !is_known(&way, shown, checks) {
        return (place, None);
    }
    match Ssh::connect(target, ssh_options(options)).await {
        Ok(ssh) => {
            checks.push(Check::good(Step::Login, format!("as {}", way.user)));
            (place, Some(Transport::Ssh(Box::new(ssh))))
        }
        Err(trouble) => {
            let check = Check::bad(Step::Login, trouble.source.to_string());
            checks.push(advised(check, &trouble));
            (place, None)
        }
    }
}

fn is_known(way: &Destination, shown: Result<ShownKey, Trouble>, checks: &mut Vec<Check>) -> bool {
    let check = match shown {
        Ok(ShownKey { fingerprint, known: Some(place), .. }) => {
            Check::good(Step::HostKey, format!("{fingerprint}, known from {place}"))
        }
        Ok(ShownKey { fingerprint, known: None, .. }) => {
            let said = format!("{fingerprint} is not known");
            let fix = "at its console, compare: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";
            let target = &way.target;
            Check::bad(Step::HostKey, said).fix(fix).fix(format!("freehold host add {target}"))
        }
        // On the way to it.
        Err(trouble) if trouble.kind == HostErrorKind::Unreachable && !way.direct => {
            advised(Check::bad(Step::Tcp, trouble.source.to_string()), &trouble)
        }
        Err(trouble) => advised(Check::bad(Step::HostKey, trouble.source.to_string()), &trouble),
    };
    let is_good = check.verdict == Verdict::Good;
    checks.push(check);
    is_good
}

/// Finds the address and opens a connection to it.
async fn answers(way: &Destination, options: &ConnectOptions, checks: &mut Vec<Check>) -> bool {
    let limit = options.deadlines.connect / 3;
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
            checks.push(Check::bad(Step::Name, said).fix("look at /etc/resolv.conf here"));
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

/// Adds what a trouble advises.
pub(super) fn advised(mut check: Check, trouble: &Trouble) -> Check {
    check.fix.extend(trouble.hint.clone());
    check
}
