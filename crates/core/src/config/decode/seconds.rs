//! Times: `300s`, `5m`.

/// Parses a whole number of seconds, minutes, hours or days.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let bad =
        || format!("`{text}` is no time: a whole number and a unit (s, m, h, d), as in \"60s\"");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too long"))
}

/// Parses a whole number of seconds, minutes, hours or days: `30d`.
pub fn time(text: &str) -> Result<std::time::Duration, String> {
    seconds(text).map(std::time::Duration::from_secs)
}

/// Parses a time to live (RFC 2181 §8), without 0, which many resolvers mistreat.
pub(super) fn ttl(text: &str) -> Result<u32, String> {
    let seconds = seconds(text)?;
    match u32::try_from(seconds) {
        Ok(0) => Err("a TTL of 0 is not allowed: many resolvers treat it badly".to_owned()),
        Ok(ttl) if ttl <= i32::MAX.unsigned_abs() => Ok(ttl),
        _ => Err(format!("a TTL is at most {}s", i32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        assert_eq!(seconds("5m"), Ok(300));
        assert!(seconds("300").is_err() && seconds("s").is_err() && seconds("1.5s").is_err());
        assert_eq!(ttl("2147483647s"), Ok(2_147_483_647));
        assert!(ttl("0s").is_err() && ttl("2147483648s").is_err());
    }
}
