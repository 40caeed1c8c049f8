//! `dns` of a file, and `zone`.

use super::{
    seconds::ttl,
    url::{host_port, http},
};
use crate::{
    config::{
        fields::{Fields, One, required},
        problem::Reported,
    },
    model::{DnsServer, DnsServerKind, DomainName, Secret, Zone},
};

/// Reads a name server.
pub(in crate::config) fn dns_server(fields: Fields<'_>) -> Result<DnsServer, Reported> {
    let name = fields.label();
    let later = ["rfc2136", "bind", "embedded", "knot"];
    let kind = required(fields.word("kind", &[("powerdns", ())], &later));
    let url = required(fields.parsed_by("url", http));
    let api_key = api_key(fields);
    let asks = fields.parsed_by("ask", host_port);
    kind?;
    // The API's own path is ours to add.
    let url = url?.value.trim_end_matches('/').to_owned();
    let kind = DnsServerKind::PowerDns { url, api_key: api_key? };
    Ok(DnsServer { name: name?, kind, asks: asks?.map(|given| given.value) })
}

fn api_key(fields: Fields<'_>) -> Result<Secret<String>, Reported> {
    let given = required(fields.text("api_key"))?;
    let key = given.value.text;
    // It becomes an HTTP header (RFC 9110 §5.5).
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        let message = "`api_key` is empty or has a character no HTTP header can have";
        let hint = "a key read from a file ends with its line: `trimspace(file(…))`";
        return Err(fields.add(fields.problem(&given.span, message).hint(hint).sealed()));
    }
    Ok(Secret::new(key))
}

/// Reads a zone; the networks of its names are filled in later.
pub(in crate::config) fn zone(fields: Fields<'_>) -> Result<Zone, Reported> {
    let name = fields.label();
    let domain = required(fields.parsed::<DomainName>("name"));
    let server = required(fields.named("server", "dns"));
    let ttl = fields.parsed_by("ttl", ttl);
    let reverse = fields.boolean("reverse");
    let create = fields.boolean("create");
    let nameservers = fields.texts("nameservers", One::IsWrong, str::parse::<DomainName>);
    let (domain, create, nameservers) = (domain?.value, create?.unwrap_or(false), nameservers?);
    if nameservers.is_some() && !create {
        let span = fields.key_span("nameservers");
        let problem = fields.problem(&span, "`nameservers` are those of a zone we make");
        return Err(fields.add(problem.hint("give `create = true` too, or leave them out")));
    }
    let nameservers = match nameservers {
        Some(list) if list.is_empty() => {
            let span = fields.key_span("nameservers");
            return Err(fields.fail(&span, "a zone has at least one name server"));
        }
        Some(list) => list.into_iter().map(|given| given.value).collect(),
        None if create => {
            let default = domain.child("ns1").map_err(|error| {
                fields.fail(&fields.key_span("name"), format!("no room for ns1: {error}"))
            });
            vec![default?]
        }
        None => Vec::new(),
    };
    Ok(Zone {
        name: name?,
        domain,
        server: server?,
        ttl: ttl?.map_or(60, |given| given.value),
        reverse: reverse?.unwrap_or(false),
        reverse_networks: Vec::new(),
        create,
        nameservers,
    })
}
