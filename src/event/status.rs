//! What is known of a cluster at one moment. Its serialised form is the object of
//! `status --output json`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::types::{ServiceRow, VERSION, WebAddress};
use crate::spec::{ClusterName, ComponentName, ExitCode, HostName, ImageRef};

/// The observed state of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    pub cluster: ClusterName,
    /// Whether everything is proven and up to date.
    pub healthy: bool,
    /// Its services with a leader or a quorum.
    pub services: Vec<ServiceView>,
    /// Its hosts; those that could not be observed come last.
    pub hosts: Vec<HostStatusView>,
    /// Its web addresses.
    pub web: Vec<WebAddress>,
}

impl StatusReport {
    /// The exit code of the command.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.hosts.iter().any(|host| host.error.is_some()) {
            ExitCode::UNREACHABLE
        } else if self.healthy {
            ExitCode::DONE
        } else {
            ExitCode::GATE
        }
    }
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
    pub component: ComponentName,
    /// The container's state (`running`, `exited`, …); `absent` when there is none, `unknown` with
    /// the reason when its Engine does not answer.
    pub state: String,
    /// `ok`, or what is out of date; absent when nothing was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Its current role (`leader`, `follower`, …).
    pub role: Option<String>,
    /// Version of the program.
    pub version: Option<String>,
    /// Image reference.
    pub image: Option<ImageRef>,
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
        map.serialize_entry("exit_code", &self.exit_code().0)?;
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
        map.serialize_entry(
            "components",
            &Map(&self.components, |c| c.component.as_str()),
        )?;
        map.end()
    }
}
