//! OpenSSH's host patterns: `*`, `?`, and `!` to take one out.

/// Says whether a list of patterns names a host in whatever case: in files of known keys and in `Match`,
/// not in `Host`.
pub(super) fn matches_host(patterns: &[String], name: &str) -> bool {
    let lower: Vec<String> = patterns.iter().map(|pattern| pattern.to_lowercase()).collect();
    matches_list(&lower, &name.to_lowercase())
}

/// Says whether a list of patterns names this; one negated pattern that fits takes it out.
pub(super) fn matches_list(patterns: &[String], name: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, name) => return false,
            Some(_) => {}
            None => found |= matches(pattern, name),
        }
    }
    found
}

fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last `*` has to swallow one more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*' {
            (p, n) = (p + 1, n + 1);
        } else if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_openssh_does() {
        for (pattern, name, fits) in [
            ("*", "a", true),
            ("rack?", "rack1", true),
            ("rack?", "rack", false),
            ("*.lan", "a.b.lan", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("RACK1", "rack1", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        assert!(matches_host(&["RACK?".to_owned()], "rack1"));
    }
}
