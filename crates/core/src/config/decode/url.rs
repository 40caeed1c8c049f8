//! Addresses of services.

/// Parses an `http://` or `https://` address without login, blanks or fragment.
pub(super) fn http(text: &str) -> Result<String, String> {
    let scheme = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = scheme else {
        return Err(format!("`{text}` is no URL: it begins with http:// or https://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a URL must not hold a login: it would be shown".to_owned());
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"'`<>\\".contains(c)) {
        return Err(format!("`{text}` is no URL: it has a character that must be encoded"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{text}` is no URL: it has no valid host and port"));
    }
    Ok(text.to_owned())
}

/// Parses `host:port`.
pub(super) fn host_port(text: &str) -> Result<String, String> {
    let bad = || format!("`{text}` is no `host:port`, as in \"10.77.0.1:53\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let odd = host.is_empty()
        || (host.contains(':') && !(host.starts_with('[') && host.ends_with(']')))
        || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@".contains(c));
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !odd => Ok(text.to_owned()),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_of_services() {
        assert!(http("http://10.77.0.1:8081").is_ok() && http("https://[fd00::1]/x").is_ok());
        for bad in ["10.0.0.1", "ftp://x", "http://", "http://u:p@x", "http://a b", "http://x:y"] {
            assert!(http(bad).is_err(), "{bad}");
        }
        assert!(host_port("10.77.0.1:53").is_ok() && host_port("[fd00::1]:53").is_ok());
        assert!(host_port("fd00::1").is_err() && host_port("x").is_err());
    }
}
