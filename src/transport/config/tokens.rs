//! Expands `%h`, `${HOME}` and `~`.

use std::path::{Path, PathBuf};

use nix::unistd::User;

use super::error::ConfigError;

/// The values of the tokens.
#[derive(Debug, Clone, Default)]
pub(in crate::transport) struct Tokens {
    /// `%h`: the name to connect to.
    pub(in crate::transport) host: String,
    /// `%n`: the name as given.
    pub(in crate::transport) original: String,
    /// `%p`.
    pub(in crate::transport) port: u16,
    /// `%r`: the remote login name.
    pub(in crate::transport) user: String,
    /// `%u`: the local login name.
    pub(in crate::transport) local_user: String,
    /// `%d`.
    pub(in crate::transport) home: PathBuf,
    /// `%i`.
    pub(in crate::transport) uid: u32,
    /// `%k`: `HostKeyAlias`, or the original name.
    pub(in crate::transport) key_alias: String,
    /// `%j`: the jump hosts.
    pub(in crate::transport) jump: String,
}

impl Tokens {
    /// Expands `%` tokens.
    pub(in crate::transport) fn percent(&self, text: &str) -> Result<String, ConfigError> {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('h') => out.push_str(&self.host),
                Some('n') => out.push_str(&self.original),
                Some('p') => out.push_str(&self.port.to_string()),
                Some('r') => out.push_str(&self.user),
                Some('u') => out.push_str(&self.local_user),
                Some('d') => out.push_str(&self.home.to_string_lossy()),
                Some('i') => out.push_str(&self.uid.to_string()),
                Some('k') => out.push_str(&self.key_alias),
                Some('j') => out.push_str(&self.jump),
                Some('l') => out.push_str(&local_name()),
                Some('L') => out.push_str(local_name().split('.').next().unwrap_or_default()),
                Some('C') => out.push_str(&self.connection()),
                Some(c) => return Err(ConfigError::UnknownToken(c)),
                None => return Err(ConfigError::UnfinishedToken),
            }
        }
        Ok(out)
    }

    /// `%C`: SHA-1 of `%l%h%p%r%j`.
    fn connection(&self) -> String {
        use sha1::Digest;
        let text = format!(
            "{}{}{}{}{}",
            local_name(),
            self.host,
            self.port,
            self.user,
            self.jump
        );
        sha1::Sha1::digest(text.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    /// A path with `%` tokens, environment and `~`.
    pub(in crate::transport) fn path(&self, text: &str) -> Result<PathBuf, ConfigError> {
        let text = environment(&tilde(text, &self.home)?)?;
        self.percent(&text).map(PathBuf::from)
    }
}

/// `%h` and `%%` only, as `HostName` has it.
pub(super) fn hostname(text: &str, given: &str) -> Result<String, ConfigError> {
    let tokens = Tokens {
        host: given.to_owned(),
        ..Tokens::default()
    };
    let mut after = text.split('%').skip(1);
    // `%%` splits into an empty piece.
    if text
        .replace("%%", "")
        .split('%')
        .skip(1)
        .any(|p| !p.starts_with('h'))
        || after.next() == Some("") && text == "%"
    {
        return Err(ConfigError::HostNameToken(text.to_owned()));
    }
    tokens.percent(text)
}

fn local_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|n| n.into_string().ok())
        .unwrap_or_default()
}

/// `~` and `~user`.
pub(super) fn tilde(text: &str, home: &Path) -> Result<String, ConfigError> {
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(text.to_owned());
    };
    let (user, tail) = rest
        .split_once('/')
        .map_or((rest, None), |(u, t)| (u, Some(t)));
    let base = if user.is_empty() {
        home.to_owned()
    } else {
        User::from_name(user)
            .ok()
            .flatten()
            .ok_or_else(|| ConfigError::UnknownUser(user.to_owned()))?
            .dir
    };
    Ok(match tail {
        Some(tail) => format!("{}/{tail}", base.display()),
        None => base.display().to_string(),
    })
}

/// Expands `${NAME}`. An unset variable is an error, as in OpenSSH.
fn environment(text: &str) -> Result<String, ConfigError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, more) = after
            .split_once('}')
            .ok_or_else(|| ConfigError::UnclosedVariable(text.to_owned()))?;
        let value =
            std::env::var(name).map_err(|_| ConfigError::VariableNotSet(name.to_owned()))?;
        out.push_str(before);
        out.push_str(&value);
        rest = more;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            host: "h.example".to_owned(),
            original: "h".to_owned(),
            port: 2222,
            user: "ops".to_owned(),
            local_user: "me".to_owned(),
            home: "/home/me".into(),
            uid: 7,
            key_alias: "k".to_owned(),
            jump: String::new(),
        }
    }

    #[test]
    fn tokens_stand_for_what_they_should() {
        let t = tokens();
        assert_eq!(
            t.percent("%n %h:%p %r %u %d %i %k %%").unwrap(),
            "h h.example:2222 ops me /home/me 7 k %"
        );
        assert_eq!(t.percent("%C").unwrap().len(), 40);
        assert!(t.percent("%z").is_err() && t.percent("100%").is_err());
        assert_eq!(
            t.path("~/.ssh/%h").unwrap(),
            PathBuf::from("/home/me/.ssh/h.example")
        );
        assert_eq!(t.path("~root/x").unwrap(), PathBuf::from("/root/x"));
        assert!(t.path("${NO_SUCH_VARIABLE_HERE}").is_err());
        assert!(t.path("~nobody-of-this-name/x").is_err());
    }

    #[test]
    fn hostname_expands_only_its_token() {
        assert_eq!(hostname("%h.example.com", "m1").unwrap(), "m1.example.com");
        assert_eq!(hostname("a%%b", "m1").unwrap(), "a%b");
        assert!(hostname("%p", "m1").is_err());
        assert!(hostname("x%", "m1").is_err());
    }
}
