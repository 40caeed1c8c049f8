//! Tokens (`%h`) and variables (`${HOME}`) in values of `ssh_config`.

use std::borrow::Cow;

/// What the tokens stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens<'a> {
    /// `%n`: the name as given.
    pub(super) given: &'a str,
    /// `%h`: the name that is connected to.
    pub(super) host: &'a str,
    /// `%p`.
    pub(super) port: u16,
    /// `%r`: the login there.
    pub(super) user: &'a str,
    /// `%u`: the login here.
    pub(super) local_user: &'a str,
    /// `%d`.
    pub(super) home: &'a str,
    /// `%k`: the name its key is known by.
    pub(super) alias: &'a str,
}

impl Tokens<'_> {
    /// Fills in the tokens; says which one it does not know.
    pub(super) fn filled(&self, text: &str) -> Result<String, String> {
        filled(text, |token| self.meaning(token))
    }

    fn meaning(&self, token: char) -> Option<Cow<'_, str>> {
        Some(match token {
            'n' => self.given.into(),
            'h' => self.host.into(),
            'p' => self.port.to_string().into(),
            'r' => self.user.into(),
            'u' => self.local_user.into(),
            'd' => self.home.into(),
            'k' => self.alias.into(),
            'i' => rustix::process::getuid().as_raw().to_string().into(),
            'L' => machine(true).into(),
            'l' => machine(false).into(),
            _ => return None,
        })
    }
}

/// Fills in tokens by what each means, and `%%`; says which one means nothing.
pub(super) fn filled<'a>(
    text: &str,
    meaning: impl Fn(char) -> Option<Cow<'a, str>>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            filled.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => filled.push('%'),
            Some(token) => {
                filled.push_str(&meaning(token).ok_or_else(|| format!("%{token}"))?);
            }
            None => return Err("%".to_owned()),
        }
    }
    Ok(filled)
}

/// Returns this machine's name, without its domain where `short`.
fn machine(short: bool) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let end = if short { name.find('.') } else { None };
    name[..end.unwrap_or(name.len())].to_owned()
}

/// Fills in `${NAME}`; says which variable is not set.
pub(super) fn with_variables(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or("`${` without `}`")?;
        filled.push_str(before);
        filled.push_str(&variable(name).ok_or_else(|| format!("${{{name}}} is not set"))?);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}
