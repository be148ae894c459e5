//! Reads the files into [`Values`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::criteria::{self, Subject};
use super::error::ConfigError;
use super::keywords::{self, Meaning};
use super::lex;
use super::tokens::{self, Tokens};
use super::values::{Origin, Takes, Values};
use crate::transport::TransportError;
use crate::transport::known_hosts::wildcard;

/// Maximum depth of nested `Include` files, as in OpenSSH.
const MAX_DEPTH: usize = 16;
const MAX_FILE_BYTES: u64 = 4 << 20;
const MAX_INCLUDED: usize = 1024;

/// The configuration files.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Files {
    /// The first file wins. The flag marks a file of the user: its `Include` is relative to
    /// `~/.ssh`, and its owner is checked.
    pub(in crate::transport) files: Vec<(PathBuf, bool)>,
    /// Whether a missing file is an error.
    pub(in crate::transport) required: bool,
}

/// Reads all files for one host name. `values` holds what the inventory sets; `given` is the name
/// as written in the inventory.
pub(in crate::transport) fn read(
    files: &Files,
    given: &str,
    mut tokens: Tokens,
    values: &mut Values,
) -> Result<String, TransportError> {
    given.clone_into(&mut tokens.original);
    given.clone_into(&mut tokens.host);
    let mut reader = ConfigReader {
        tokens,
        values,
        host: given.to_owned(),
        final_pass: false,
        wants_final: false,
        included: 0,
        exec: true,
    };
    reader.pass(files)?;
    let mut host = reader.hostname()?;
    if host.parse::<std::net::IpAddr>().is_err() {
        host.make_ascii_lowercase();
    }
    if reader.wants_final {
        reader.values.settle("hostname", host.replace('%', "%%"));
        reader.final_pass = true;
        reader.host.clone_from(&host);
        reader.pass(files)?;
    }
    Ok(host)
}

struct ConfigReader<'v> {
    tokens: Tokens,
    values: &'v mut Values,
    /// The name that `Host` patterns are compared with.
    host: String,
    final_pass: bool,
    wants_final: bool,
    included: usize,
    exec: bool,
}

/// How a file is read.
#[derive(Clone, Copy)]
struct PassMode {
    user: bool,
    depth: usize,
    /// False inside a block that does not apply: then nothing in it applies.
    reachable: bool,
}

impl ConfigReader<'_> {
    fn pass(&mut self, files: &Files) -> Result<(), TransportError> {
        for (path, user) in &files.files {
            if !files.required && !path.exists() {
                continue;
            }
            self.file(
                path,
                PassMode {
                    user: *user,
                    depth: 0,
                    reachable: true,
                },
                *user && !files.required,
            )?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        mode: PassMode,
        check_owner: bool,
    ) -> Result<(), TransportError> {
        let fail =
            |why: &str| TransportError::Settings(format!("cannot read {}: {why}", path.display()));
        let meta = fs::metadata(path).map_err(|e| fail(&e.to_string()))?;
        if !meta.is_file() && path != Path::new("/dev/null") {
            return Err(fail("must be a regular file"));
        }
        if meta.len() > MAX_FILE_BYTES {
            return Err(fail("must be at most 4 MiB"));
        }
        let own = meta.uid() == 0 || meta.uid() == self.tokens.uid;
        if check_owner && (!own || meta.mode() & 0o022 != 0) {
            return Err(fail("is writable by another user"));
        }
        let bytes = fs::read(path).map_err(|e| fail(&e.to_string()))?;
        self.text(&String::from_utf8_lossy(&bytes), path, mode)
    }

    fn text(&mut self, text: &str, path: &Path, mode: PassMode) -> Result<(), TransportError> {
        let mut active = mode.reachable;
        for (index, line) in text.lines().enumerate() {
            let fail = |why: &str| {
                TransportError::Settings(format!("{}:{}: {why}", path.display(), index + 1))
            };
            let Some((keyword, rest)) = lex::keyword(line) else {
                continue;
            };
            match keyword.as_str() {
                "host" => {
                    let patterns = lex::arguments(rest).map_err(fail)?;
                    active = mode.reachable && self.host_matches(&patterns);
                }
                "match" => {
                    self.refresh();
                    let subject = Subject {
                        tokens: &self.tokens,
                        final_pass: self.final_pass,
                        exec: self.exec,
                    };
                    let matched = criteria::evaluate(rest, &subject, mode.reachable)
                        .map_err(|error| fail(&error.to_string()))?;
                    self.wants_final |= matched.wants_final;
                    active = matched.holds;
                }
                "include" => {
                    let mode = PassMode {
                        depth: mode.depth + 1,
                        reachable: active,
                        ..mode
                    };
                    if mode.depth > MAX_DEPTH {
                        return Err(fail("includes are nested too deeply"));
                    }
                    for pattern in lex::arguments(rest).map_err(fail)? {
                        self.include(&pattern, mode).map_err(|e| {
                            if let TransportError::Settings(why) = &e {
                                fail(why)
                            } else {
                                e
                            }
                        })?;
                    }
                }
                _ if active => {
                    let (keyword, takes) = match keywords::meaning(&keyword) {
                        Meaning::Honoured(keyword, takes) => (keyword, takes),
                        Meaning::Refused(keyword) => (keyword, Takes::Rest),
                        Meaning::Harmless => continue,
                        Meaning::Unknown if self.is_ignored(&keyword) => continue,
                        Meaning::Unknown => {
                            let error = ConfigError::UnknownKeyword(keyword);
                            return Err(fail(&error.to_string()));
                        }
                    };
                    let values = arguments(takes, rest).map_err(fail)?;
                    check(keyword, &values).map_err(|error| fail(&error.to_string()))?;
                    self.values.take(
                        keyword,
                        takes,
                        values,
                        &Origin::File(path.to_owned(), index + 1),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether `IgnoreUnknown` matches a keyword.
    fn is_ignored(&self, keyword: &str) -> bool {
        let patterns = self.values.first("ignoreunknown").unwrap_or_default();
        patterns
            .to_ascii_lowercase()
            .split([',', ' '])
            .any(|pattern| wildcard(pattern.as_bytes(), keyword.as_bytes()))
    }

    /// Conditions and tokens see the values read so far.
    fn refresh(&mut self) {
        if let Some(user) = self.values.first("user") {
            user.clone_into(&mut self.tokens.user);
        }
        if let Some(port) = self.values.first("port").and_then(|p| p.parse().ok()) {
            self.tokens.port = port;
        }
        let alias = self
            .values
            .first("hostkeyalias")
            .unwrap_or(&self.tokens.original);
        self.tokens.key_alias = alias.to_owned();
        self.tokens.host = self.hostname().unwrap_or_else(|_| self.host.clone());
    }

    fn hostname(&self) -> Result<String, TransportError> {
        match self.values.first("hostname") {
            None => Ok(self.host.clone()),
            Some(text) => tokens::hostname(text, &self.host).map_err(|why| {
                TransportError::Settings(format!(
                    "{}: HostName: {why}",
                    self.values.origin("hostname")
                ))
            }),
        }
    }

    fn host_matches(&self, patterns: &[String]) -> bool {
        let mut found = false;
        for pattern in patterns {
            let (negated, pattern) = pattern
                .strip_prefix('!')
                .map_or((false, pattern.as_str()), |p| (true, p));
            if wildcard(pattern.as_bytes(), self.host.as_bytes()) {
                if negated {
                    return false;
                }
                found = true;
            }
        }
        found
    }

    fn include(&mut self, pattern: &str, mode: PassMode) -> Result<(), TransportError> {
        let fail = |why: &dyn std::fmt::Display| {
            TransportError::Settings(format!("Include {pattern}: {why}"))
        };
        let text = tokens::tilde(pattern, &self.tokens.home).map_err(|error| fail(&error))?;
        let base = if mode.user {
            self.tokens.home.join(".ssh")
        } else {
            PathBuf::from("/etc/ssh")
        };
        for path in expand(&base.join(text)).map_err(|error| fail(&error))? {
            // As in ssh, a folder beside the files is passed over.
            if path.is_dir() {
                continue;
            }
            self.included += 1;
            if self.included > MAX_INCLUDED {
                return Err(fail(&"more than 1024 files are included"));
            }
            self.file(&path, mode, mode.user)?;
        }
        Ok(())
    }
}

fn arguments(takes: Takes, rest: &str) -> Result<Vec<String>, &'static str> {
    if takes == Takes::Rest {
        let rest = rest.trim_start_matches([' ', '\t', '=']);
        return if rest.is_empty() {
            Err("missing argument")
        } else {
            Ok(vec![rest.to_owned()])
        };
    }
    let words = lex::arguments(rest)?;
    if words.first().is_none_or(String::is_empty) {
        return Err("missing argument");
    }
    if takes != Takes::Line && words.len() > 1 {
        return Err("too many arguments");
    }
    Ok(words)
}

/// Rejects values of the wrong form where they are written.
fn check(keyword: &str, values: &[String]) -> Result<(), ConfigError> {
    let Some(value) = values.first() else {
        return Ok(());
    };
    let good = match keyword {
        "port" => value.parse::<u16>().is_ok_and(|p| p > 0),
        "serveralivecountmax" | "requiredrsasize" => value.parse::<u32>().is_ok(),
        "identitiesonly" | "hashknownhosts" => matches!(
            value.to_ascii_lowercase().as_str(),
            "yes" | "no" | "true" | "false"
        ),
        "addressfamily" => matches!(
            value.to_ascii_lowercase().as_str(),
            "any" | "inet" | "inet6"
        ),
        "connecttimeout" | "serveraliveinterval" => super::values::time(value).is_some(),
        _ => true,
    };
    if good {
        Ok(())
    } else {
        Err(ConfigError::InvalidValue {
            keyword: keyword.to_owned(),
            value: value.clone(),
        })
    }
}

/// The files that a pattern matches, in order; no match is not an error.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components().skip(1) {
        let part = part.as_os_str().to_string_lossy();
        if !part.contains(['*', '?', '[']) {
            found = found.into_iter().map(|p| p.join(part.as_ref())).collect();
            continue;
        }
        let glob = GlobBuilder::new(&part)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|e| ConfigError::InvalidPattern(e.kind().to_string()))?
            .compile_matcher();
        let mut next = Vec::new();
        for dir in found {
            let Ok(entries) = fs::read_dir(&dir) else {
                continue;
            };
            for name in entries.flatten().map(|e| e.file_name()) {
                // As in a shell, `*` does not match hidden files.
                if glob.is_match(&name)
                    && (part.starts_with('.') || !name.as_encoded_bytes().starts_with(b"."))
                {
                    next.push(dir.join(name));
                }
            }
        }
        next.sort();
        found = next;
    }
    Ok(found.into_iter().filter(|p| p.exists()).collect())
}

/// Parses a text without running commands or reading other files.
pub(super) fn fuzz(text: &str, name: &str) -> usize {
    let mut values = Values::default();
    let tokens = Tokens {
        original: name.to_owned(),
        host: name.to_owned(),
        ..Tokens::default()
    };
    let mut reader = ConfigReader {
        tokens,
        values: &mut values,
        host: name.to_owned(),
        final_pass: false,
        wants_final: false,
        included: MAX_INCLUDED,
        exec: false,
    };
    let mode = PassMode {
        user: true,
        depth: MAX_DEPTH,
        reachable: true,
    };
    usize::from(reader.text(text, Path::new("config"), mode).is_ok())
        + reader.hostname().map_or(0, |h| h.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "((Host|Match|HostName|Port|Include|ProxyJump) [ -~]{0,20}\n){0,6}", name in "[a-z.]{0,6}") {
            fuzz(&text, &name);
        }
    }

    #[test]
    fn includes_are_found_in_order_and_rings_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        for name in ["b.conf", "a.conf", ".hidden.conf"] {
            fs::write(at(name), "").unwrap();
        }
        assert_eq!(expand(&at("*.conf")).unwrap(), [at("a.conf"), at("b.conf")]);
        assert!(expand(&at("none*")).unwrap().is_empty());
        fs::write(at("ring"), format!("Include {}\n", at("ring").display())).unwrap();
        let files = Files {
            files: vec![(at("ring"), true)],
            required: true,
        };
        let tokens = Tokens {
            uid: nix::unistd::Uid::current().as_raw(),
            ..Tokens::default()
        };
        let error = read(&files, "h", tokens, &mut Values::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("too deeply") && error.len() < 4000,
            "{error}"
        );
    }
}
