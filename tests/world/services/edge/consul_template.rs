//! consul-template with toots' own template: what the template writes literally is taken from the
//! rendered file, what it loops over is done here, since nothing here reads Go's templates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout_at};

use crate::files::Files;
use crate::process::{Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::coordination::Instance;
use crate::services::view::{Seat, Service};

/// `wait`: so long nothing must change before it renders, and at most so long it waits for that.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(4);
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Exit codes: a template that cannot be read, an interrupt.
const TEMPLATE: i64 = 14;
const INTERRUPTED: i64 = 12;

pub struct ConsulTemplate(pub Surroundings);

/// The literal parts of the template.
pub struct Template {
    base: String,
    /// The address before the port of each TCP listener.
    bind: String,
    /// What follows a service's name in the names by which it is reached.
    domains: Vec<String>,
}

impl Template {
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("==== file haproxy.cfg\n")?;
        let (base, rest) =
            rest.split_once("{{- range $name, $tagged := scratch.Get \"http\" }}")?;
        let (_, listen) = rest.split_once("listen tcp_")?;
        let (_, bind) = listen.split_once("  bind ")?;
        let (bind, _) = bind.split_once(":{{")?;
        let (_, hosts) = rest.split_once("==== file hosts.map\n")?;
        let (hosts, _) = hosts.split_once("==== file")?;
        let domains = hosts.lines().filter_map(|line| {
            let domain = line.strip_prefix("{{ toLower $name }}")?;
            Some(domain.strip_suffix(" http_{{ $name }}")?.to_owned())
        });
        let template = Self {
            base: base.trim_end().to_owned(),
            bind: bind.to_owned(),
            domains: domains.collect(),
        };
        (!template.domains.is_empty()).then_some(template)
    }

    /// The bundle for these services.
    pub fn render(&self, services: &BTreeMap<String, Vec<Instance>>) -> String {
        let requests = Requests::read(services);
        let mut out = format!("==== file haproxy.cfg\n{}\n", self.base);
        for name in &requests.http {
            let _ = writeln!(
                out,
                "\nbackend http_{name}\n  mode http\n  balance roundrobin\n  option redispatch\n  \
                 retries 3\n  default-server inter 2s fall 3 rise 2 maxconn 1024{}",
                servers(&services[name])
            );
        }
        for (port, name) in &requests.tcp {
            let _ = writeln!(
                out,
                "==== tcp {port} {name}\nlisten tcp_{port}\n  mode tcp\n  bind {}:{port}\n  \
                 balance roundrobin\n  option redispatch\n  default-server inter 2s fall 3 rise 2{}",
                self.bind,
                servers(&services[name])
            );
        }
        out += "==== file hosts.map\n";
        for name in &requests.http {
            for domain in &self.domains {
                let _ = writeln!(out, "{}{domain} http_{name}", name.to_lowercase());
            }
        }
        let maps = [("exact.map", ""), ("prefix.map", "/")];
        for (map, end) in maps {
            let _ = writeln!(out, "==== file {map}");
            for (route, name) in requests
                .routes
                .iter()
                .filter(|(route, _)| !route.is_empty())
            {
                let _ = writeln!(out, "{route}{end} http_{name}");
            }
        }
        out += "==== file root.map\n";
        if let Some(name) = requests.routes.get("") {
            let _ = writeln!(out, "/ http_{name}");
        }
        out += "==== end\n";
        out
    }
}

/// What services ask for by their tags.
#[derive(Default)]
struct Requests {
    http: BTreeSet<String>,
    /// Port and name.
    tcp: BTreeSet<(String, String)>,
    routes: BTreeMap<String, String>,
}

impl Requests {
    fn read(services: &BTreeMap<String, Vec<Instance>>) -> Self {
        let mut requests = Self::default();
        for (name, instances) in services.iter().filter(|(name, _)| is_name(name)) {
            for tag in instances.iter().flat_map(|instance| &instance.tags) {
                let tag = tag.trim();
                if tag == "haproxy" {
                    requests.http.insert(name.clone());
                } else if let Some(route) = tag.strip_prefix("haproxy_route=").filter(is_route) {
                    let route = route.trim_end_matches('/').to_owned();
                    requests.routes.entry(route).or_insert_with(|| name.clone());
                    requests.http.insert(name.clone());
                } else if let Some(port) = tag.strip_prefix("haproxy_tcp=").filter(is_port) {
                    requests.tcp.insert((port.to_owned(), name.clone()));
                }
            }
        }
        requests
    }
}

/// A name that Consul's DNS could answer.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let is_inner = |c: char| "_-".contains(c);
    !name.is_empty()
        && name.len() <= 63
        && name.chars().all(fits)
        && !name.starts_with(is_inner)
        && !name.ends_with(is_inner)
}

fn is_route(route: &&str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._~!&'()*+,;=:@%/-".contains(c);
    route.starts_with('/') && route.len() <= 201 && route.chars().all(fits)
}

fn is_port(port: &&str) -> bool {
    !port.starts_with('0') && port.len() <= 5 && port.parse::<u32>().is_ok()
}

fn weight(instance: &Instance) -> u64 {
    let mut weights = instance.tags.iter().filter_map(|tag| {
        let digits = tag.trim().strip_prefix("weight=")?;
        digits.parse().ok().filter(|_: &u64| digits.len() <= 9)
    });
    weights.next_back().unwrap_or(100).min(256)
}

/// One line for each address and port.
fn servers(instances: &[Instance]) -> String {
    let mut seen = BTreeSet::new();
    let mut out = String::new();
    for instance in instances {
        let is_usable = instance.address.parse::<std::net::IpAddr>().is_ok() && instance.port > 0;
        if is_usable && seen.insert((&instance.address, instance.port)) {
            let (address, port) = (&instance.address, instance.port);
            let weight = weight(instance);
            let _ = write!(
                out,
                "\n  server s_{address}_{port} {address}:{port} weight {weight} check"
            );
        }
    }
    out
}

/// The value of `key = "…"` in the configuration.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let lines = text.lines().map(str::trim);
    let found = lines.filter_map(|line| line.strip_prefix(key)).next()?;
    let value = found.trim_start().strip_prefix('=')?.trim();
    Some(value.trim_matches('"'))
}

#[async_trait]
impl Program for ConsulTemplate {
    async fn run(&self, mut process: Process) -> i64 {
        let log = process.log.clone();
        let fail = |why: &str| {
            log.line(format!("[ERR] (cli) {why}"));
            TEMPLATE
        };
        let path = process
            .command
            .iter()
            .find_map(|word| word.strip_prefix("-config="));
        let Some(config) = path.and_then(|path| process.text(path)) else {
            return fail("no configuration");
        };
        let ends_on_term = value(&config, "kill_signal") == Some("SIGTERM");
        let template = value(&config, "source").and_then(|path| process.text(path));
        let template = template.as_deref().and_then(Template::parse);
        let bundle = value(&config, "destination").and_then(|path| process.on_machine(path));
        let (Some(template), Some(bundle)) = (template, bundle) else {
            return fail("template: cannot be read");
        };
        process.notes().note("start");
        let work = Work {
            world: self.0.clone(),
            address: process.address,
            seat: self
                .0
                .view
                .sit(Service::ConsulTemplate, process.address, &process.name),
            files: process.files.clone(),
            template,
            bundle,
        };
        let render = work.render();
        tokio::pin!(render);
        loop {
            tokio::select! {
                biased;
                Some(signal) = process.signals.recv() => if signal == Signal::Term && ends_on_term {
                    return INTERRUPTED;
                },
                () = &mut render => {}
            }
        }
    }
}

struct Work {
    world: Surroundings,
    address: Ipv4Addr,
    seat: Seat,
    files: Files,
    template: Template,
    /// Where the bundle lies on the machine.
    bundle: String,
}

impl Work {
    /// Renders after each change, for ever. Without Consul the former bundle stays.
    async fn render(&self) {
        let (mut index, mut pause) = (0, BACK_OFF.0);
        loop {
            let Ok((mut newest, mut services)) = self.ask(index).await else {
                sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
                continue;
            };
            pause = BACK_OFF.0;
            let latest = Instant::now() + WAIT_MAX;
            while Instant::now() < latest {
                let quiet = latest.min(Instant::now() + WAIT_MIN);
                match timeout_at(quiet, self.ask(newest)).await {
                    Ok(Ok(answer)) => (newest, services) = answer,
                    Ok(Err(_)) | Err(_) => break,
                }
            }
            index = newest;
            let text = self.template.render(&services);
            if self.files.text(&self.bundle).as_deref() != Some(&text) {
                self.files.write(&self.bundle, text, 0o600);
            }
            self.seat.set(|row| row.serves = true);
        }
    }

    async fn ask(&self, after: u64) -> std::io::Result<(u64, BTreeMap<String, Vec<Instance>>)> {
        self.world
            .catalog
            .passing(self.address, self.address, after)
            .await
    }
}
