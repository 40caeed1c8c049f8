//! The words of a line, split as OpenSSH splits them.

/// An option's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// In lower case.
    pub(super) option: String,
    pub(super) words: Vec<String>,
    /// What stands behind the option, as it is: for commands.
    pub(super) raw: String,
}

/// Splits a line: `Option value`, `Option=value`; `None` for a comment or nothing at all.
pub(super) fn line_of(line: &str) -> Result<Option<Line>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (option, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let option = option.to_ascii_lowercase();
    Ok(Some(Line { option, words: words_of(rest)?, raw: rest.to_owned() }))
}

/// Splits words at blanks: quotation marks of both kinds join, a backslash takes the meaning from a
/// quotation mark, a backslash or a blank, and a word that begins with `#` ends the line.
fn words_of(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none_or(|c| *c == '#') {
            return Ok(words);
        }
        let mut word = String::new();
        let mut quote = None;
        loop {
            match (chars.next(), quote) {
                (None, None) => break,
                (None, Some(_)) => return Err("a quotation mark is missing"),
                (Some(c), None) if c.is_whitespace() => break,
                (Some('\\'), _) => {
                    let plain = |c: &char| matches!(c, '"' | '\'' | '\\');
                    let taken = chars.next_if(|c| plain(c) || (quote.is_none() && *c == ' '));
                    word.push(taken.unwrap_or('\\'));
                }
                (Some(c), None) if matches!(c, '"' | '\'') => quote = Some(c),
                (Some(c), Some(end)) if c == end => quote = None,
                (Some(c), _) => word.push(c),
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_openssh_does() {
        for (text, want) in [
            ("a  b", vec!["a", "b"]),
            ("\"a b\" 'c \"d'", vec!["a b", "c \"d"]),
            (r#"a\ b "c\"d" 'e\'f' \g"#, vec!["a b", "c\"d", "e'f", "\\g"]),
            ("a # b", vec!["a"]),
            ("a#b \"\"", vec!["a#b", ""]),
        ] {
            assert_eq!(words_of(text).unwrap(), want, "{text}");
        }
        assert!(words_of("\"a").is_err());
        let line = line_of("  ProxyCommand = nc '%h' #x").unwrap().unwrap();
        assert_eq!((line.option.as_str(), line.raw.as_str()), ("proxycommand", "nc '%h' #x"));
        assert_eq!(line_of("# x"), Ok(None));
    }
}
