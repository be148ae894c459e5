//! `cluster status`: the current state of every host and service, as a table and as one JSON
//! object.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::ending::{faults_and_hints, service_faults, service_table, web_addresses};
use super::json::{VERSION, to_json};
use super::line::Tone;
use super::table::{Row, table};
use super::text::{clean, count, wrap};
use crate::event::{ServiceRow, WebAddress};
use crate::spec::{ClusterName, HostName};

/// The observed state of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    pub cluster: ClusterName,
    /// Whether everything is proven and up to date.
    pub healthy: bool,
    /// The exit code of the command.
    pub exit_code: u8,
    /// Its services, in the order of the playbook.
    pub services: Vec<ServiceView>,
    /// Its hosts, in the order of the inventory.
    pub hosts: Vec<HostStatusView>,
    /// Its web addresses.
    pub web: Vec<WebAddress>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// The row of the table.
    pub row: ServiceRow,
    /// Configured members.
    pub members: usize,
    /// Majority of the members, for services that have a quorum.
    pub quorum: Option<usize>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatusView {
    /// Its name.
    pub host: HostName,
    /// Why the host could not be observed.
    pub error: Option<String>,
    /// Its components, in order.
    pub components: Vec<ComponentView>,
}

/// A component on a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ComponentView {
    /// Its name, the key of the JSON object.
    #[serde(skip)]
    pub component: String,
    /// The container's state (`running`, `exited`, `absent`, …).
    pub state: String,
    /// `ok`, or what is out of date; absent when nothing was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Its current role (`leader`, `follower`, …).
    pub role: Option<String>,
    /// Version of the program.
    pub version: Option<String>,
    /// Image reference.
    pub image: Option<String>,
}

struct Map<'a, T>(&'a [T], fn(&T) -> &str);

impl<T: Serialize> Serialize for Map<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|v| ((self.1)(v), v)))
    }
}

impl Serialize for StatusReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &VERSION)?;
        map.serialize_entry("type", "status")?;
        map.serialize_entry("cluster", &self.cluster)?;
        map.serialize_entry("healthy", &self.healthy)?;
        map.serialize_entry("exit_code", &self.exit_code)?;
        map.serialize_entry("services", &Map(&self.services, |s| &s.row.service))?;
        map.serialize_entry("hosts", &Map(&self.hosts, |h| h.host.as_str()))?;
        map.serialize_entry("web", &self.web)?;
        map.end()
    }
}

impl Serialize for ServiceView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("healthy", &self.row.healthy)?;
        map.serialize_entry("leader", &self.row.leader)?;
        map.serialize_entry("members", &self.members)?;
        map.serialize_entry("quorum", &self.quorum)?;
        map.serialize_entry("membership", &self.row.members)?;
        map.serialize_entry("proof", &self.row.proof)?;
        map.serialize_entry("faults", &self.row.faults)?;
        if !self.row.hints.is_empty() {
            map.serialize_entry("hints", &self.row.hints)?;
        }
        map.end()
    }
}

impl Serialize for HostStatusView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(error) = &self.error {
            map.serialize_entry("error", error)?;
        }
        map.serialize_entry("components", &Map(&self.components, |c| &c.component))?;
        map.end()
    }
}

/// The JSON object of `status --output json`, with its newline.
#[must_use]
pub fn status_json(report: &StatusReport) -> String {
    to_json(report) + "\n"
}

/// The status as text, each line at most `width` columns.
#[must_use]
pub fn status_table(report: &StatusReport, width: usize, colour: bool) -> String {
    let unknown = report.hosts.iter().filter(|h| h.error.is_some()).count();
    let bad = report.services.iter().filter(|s| !s.row.healthy).count();
    let containers: usize = report.hosts.iter().map(|h| h.components.len()).sum();
    let mut title = format!(
        "{} is {}: ",
        report.cluster,
        if report.healthy {
            "healthy"
        } else {
            "not healthy"
        }
    );
    title.push_str(&format!(
        "{}, {}",
        count(report.hosts.len(), "host"),
        count(containers, "container")
    ));
    if unknown > 0 {
        title.push_str(&format!(", {unknown} unreachable"));
    }
    if bad > 0 {
        title.push_str(&format!(", {} not proven", count(bad, "service")));
    }
    let tone = if report.healthy {
        Tone::Good
    } else {
        Tone::Bad
    };
    let services: Vec<_> = report.services.iter().map(|s| s.row.clone()).collect();
    let mut blocks = vec![
        wrap(&title, width, "", "  ")
            .into_iter()
            .map(|l| tone.paint(&l, colour))
            .collect(),
        host_table(&report.hosts, width, colour),
        report
            .hosts
            .iter()
            .flat_map(|h| unreachable(h, width))
            .collect(),
        service_table(&services, width, colour),
    ];
    blocks.extend(services.iter().filter_map(|s| {
        service_faults(&s.service, s.healthy, &faults_and_hints(s), width, colour)
    }));
    blocks.push(web_addresses(&report.web, width));
    let blocks: Vec<_> = blocks
        .into_iter()
        .filter(|b| !b.is_empty())
        .map(|b| b.join("\n"))
        .collect();
    blocks.join("\n\n") + "\n"
}

fn unreachable(host: &HostStatusView, width: usize) -> Vec<String> {
    let why = host
        .error
        .as_ref()
        .map(|e| format!("{} is unreachable: {}", host.host, clean(e)));
    why.iter()
        .flat_map(|w| wrap(w, width, "  ", "    "))
        .collect()
}

fn host_table(hosts: &[HostStatusView], width: usize, colour: bool) -> Vec<String> {
    let or = |text: &Option<String>| text.as_deref().map_or_else(|| "–".into(), clean);
    let mut rows: Vec<Row> = Vec::new();
    for host in hosts {
        let name = host.host.to_string();
        let dash = || "–".to_owned();
        if host.error.is_some() {
            rows.push((
                vec![
                    name.clone(),
                    dash(),
                    "unreachable".into(),
                    dash(),
                    dash(),
                    dash(),
                ],
                Tone::Bad,
            ));
        }
        for c in &host.components {
            let unhealthy = c.state != "running" || c.health.as_deref().is_some_and(|h| h != "ok");
            let cells = vec![
                name.clone(),
                clean(&c.component),
                clean(&c.state),
                or(&c.health),
                or(&c.role),
                or(&c.version),
            ];
            rows.push((cells, if unhealthy { Tone::Bad } else { Tone::Normal }));
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    table(
        &["host", "component", "state", "health", "role", "version"],
        &rows,
        width,
        colour,
    )
}
