//! Arguments of command lines, as the programs read them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Values by flag.
#[derive(Debug, Clone, Default)]
pub struct Flags(BTreeMap<String, String>);

/// A program does not start with such arguments; in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFlag(pub String);

/// The arguments of a command line: what follows the words of an entrypoint.
pub fn arguments(command: &[String]) -> &[String] {
    let is_argument = |word: &String| word.starts_with('-') || word.contains("://");
    let first = command.iter().position(is_argument);
    &command[first.unwrap_or(command.len())..]
}

impl Flags {
    /// `--name=value`, `--name` and `--no-name`, as Mesos reads them. `known` lists the flags, one a
    /// line, the name first.
    pub fn of_mesos(command: &[String], known: &str) -> Result<Self, BadFlag> {
        let mut flags = Self::default();
        for argument in arguments(command)
            .iter()
            .filter(|argument| !argument.is_empty())
        {
            let bad = |why: &str| BadFlag(format!("Failed to load {why} '{argument}'"));
            let rest = argument.strip_prefix("--").ok_or_else(|| bad("argument"))?;
            let (name, value) = match rest.split_once('=') {
                Some((name, value)) => (name, value),
                None => match rest.strip_prefix("no-") {
                    Some(name) => (name, "false"),
                    None => (rest, "true"),
                },
            };
            let is_known = |line: &str| line.split('\t').next() == Some(name);
            if !known.lines().skip(1).any(is_known) {
                return Err(bad("unknown flag"));
            }
            if flags.0.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(bad("flag twice:"));
            }
        }
        Ok(flags)
    }

    /// `--name value` pairs, as Marathon and Chronos read them.
    pub fn of_pairs(command: &[String], known: &[&str]) -> Result<Self, BadFlag> {
        let mut flags = Self::default();
        let mut words = arguments(command).iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").unwrap_or_default();
            if !known.contains(&name) {
                return Err(BadFlag(format!("[scallop] Error: Unknown option '{name}'")));
            }
            let value = words.next().ok_or_else(|| {
                BadFlag(format!(
                    "[scallop] Error: Bad arguments for option '{name}'"
                ))
            })?;
            flags.0.insert(name.to_owned(), value.clone());
        }
        Ok(flags)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    /// # Errors
    /// When the value is of another form.
    pub fn parse<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, BadFlag> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| {
                BadFlag(format!(
                    "Bad arguments for option '{name}': '{value}' - wrong arguments format"
                ))
            }),
        }
    }
}

/// The servers and the path of `zk://a:1,b:2/path`; also without the scheme or the path.
pub fn zookeepers(url: &str) -> (Vec<(Ipv4Addr, u16)>, String) {
    let rest = url.strip_prefix("zk://").unwrap_or(url);
    let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
    let servers = servers.split(',').filter_map(|server| {
        let (host, port) = server.split_once(':')?;
        Some((host.parse().ok()?, port.parse().ok()?))
    });
    (servers.collect(), format!("/{path}"))
}
