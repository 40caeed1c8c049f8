//! Tokens (`%h`) and variables (`${HOME}`) in values of `ssh_config`.

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
        let mut filled = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                filled.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => filled.push('%'),
                Some('n') => filled.push_str(self.given),
                Some('h') => filled.push_str(self.host),
                Some('p') => filled.push_str(&self.port.to_string()),
                Some('r') => filled.push_str(self.user),
                Some('u') => filled.push_str(self.local_user),
                Some('d') => filled.push_str(self.home),
                Some('k') => filled.push_str(self.alias),
                Some('i') => filled.push_str(&rustix::process::getuid().as_raw().to_string()),
                Some('L') => filled.push_str(&machine(true)),
                Some('l') => filled.push_str(&machine(false)),
                Some(other) => return Err(format!("%{other}")),
                None => return Err("% at the end".to_owned()),
            }
        }
        Ok(filled)
    }
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
