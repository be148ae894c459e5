//! HAProxy's configuration, as far as toots writes it: what `haproxy -c` would refuse, and what is
//! served by it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const SECTIONS: [&str; 6] = [
    "global", "defaults", "frontend", "backend", "listen", "userlist",
];
const KEYWORDS: [&str; 20] = [
    "log",
    "user",
    "group",
    "hard-stop-after",
    "option",
    "timeout",
    "mode",
    "bind",
    "http-request",
    "use_backend",
    "default_backend",
    "acl",
    "stats",
    "balance",
    "retries",
    "default-server",
    "server",
    "maxconn",
    "description",
    "no",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub address: Ipv4Addr,
    pub port: u16,
}

/// A proxy that listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontend {
    pub port: u16,
    pub is_statistics: bool,
    /// It passes connections on to these, byte by byte.
    pub is_tcp: bool,
    pub servers: Vec<Server>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub frontends: BTreeMap<String, Frontend>,
    pub backends: BTreeMap<String, Vec<Server>>,
    /// User and password of the statistics.
    pub login: Option<(String, String)>,
}

struct Parser {
    config: Config,
    section: String,
    name: String,
}

impl Config {
    /// # Errors
    /// The alert that HAProxy would print.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            config: Self::default(),
            section: String::new(),
            name: String::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            parser.line(line).map_err(|why| {
                let number = number + 1;
                format!("[ALERT] (1) : config : parsing [check.cfg:{number}] : {why}")
            })?;
        }
        if parser.config.frontends.is_empty() {
            return Err("[ALERT] (1) : config : no listener".to_owned());
        }
        Ok(parser.config)
    }
}

/// The number with which a text begins, as C reads it.
fn leading(text: &str) -> i64 {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let number: i64 = digits[..end].parse().unwrap_or(0);
    if text.starts_with('-') {
        -number
    } else {
        number
    }
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() > 64 {
            return Err("too many words, truncating after word 64".to_owned());
        }
        let (word, rest) = (words[0], &words[1..]);
        if SECTIONS.contains(&word) {
            self.section = word.to_owned();
            self.name = rest.first().copied().unwrap_or_default().to_owned();
            match word {
                "frontend" | "listen" => {
                    self.config
                        .frontends
                        .insert(self.name.clone(), Frontend::default());
                }
                "backend" => {
                    let former = self.config.backends.insert(self.name.clone(), Vec::new());
                    let taken = || format!("backend '{}' has the same name", self.name);
                    return former.map_or(Ok(()), |_| Err(taken()));
                }
                _ => {}
            }
            return Ok(());
        }
        if !KEYWORDS.contains(&word) {
            return Err(format!(
                "unknown keyword '{word}' in '{}' section",
                self.section
            ));
        }
        let frontend = self.config.frontends.get_mut(&self.name);
        match (word, rest, frontend) {
            ("user", [user, "insecure-password", password], _) => {
                self.config.login = Some(((*user).to_owned(), (*password).to_owned()));
            }
            ("bind", [at, ..], Some(frontend)) => {
                let (_, port) = at.rsplit_once(':').unwrap_or_default();
                let number = u16::try_from(leading(port)).ok().filter(|port| *port > 0);
                frontend.port = number.ok_or_else(|| format!("'bind' : invalid port '{port}'"))?;
            }
            ("stats", ["enable"], Some(frontend)) => frontend.is_statistics = true,
            ("mode", ["tcp"], Some(frontend)) => frontend.is_tcp = true,
            ("server", [name, at, more @ ..], _) => self.server(name, at, more)?,
            _ => {}
        }
        Ok(())
    }

    fn server(&mut self, name: &str, at: &str, more: &[&str]) -> Result<(), String> {
        let (host, port) = at.rsplit_once(':').unwrap_or_default();
        let address = host
            .parse::<IpAddr>()
            .map_err(|_| format!("could not resolve '{host}'"))?;
        let port = u16::try_from(leading(port)).map_err(|_| format!("invalid port '{port}'"))?;
        let weight = more
            .iter()
            .position(|word| *word == "weight")
            .and_then(|n| more.get(n + 1));
        if weight.is_some_and(|weight| !(0..=256).contains(&leading(weight))) {
            return Err(format!("weight of server {name} is not within 0 and 256"));
        }
        let items = match self.config.frontends.get_mut(&self.name) {
            Some(frontend) => &mut frontend.servers,
            None => self.config.backends.entry(self.name.clone()).or_default(),
        };
        if items.iter().any(|server| server.name == name) {
            return Err(format!("server '{name}' has the same name as another one"));
        }
        // The world has no machines at addresses of the other family.
        if let IpAddr::V4(address) = address {
            let name = name.to_owned();
            items.push(Server {
                name,
                address,
                port,
            });
        }
        Ok(())
    }
}
