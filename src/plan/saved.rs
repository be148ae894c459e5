//! A plan kept in a file: `plan --out FILE`, then `up --plan FILE` does exactly that or refuses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{HostPlan, Plan, Step};
use crate::spec::{ContainerSpec, HostName, NodeRecord, digest};

/// Below it lie the specifications as they were last applied.
const RECORDS: &str = "/etc/toots/containers/";

/// The form in which a plan is kept: every change by name, what it turns on, and no content (which may be secret).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// Format version.
    pub v: u8,
    /// The cluster.
    pub cluster: String,
    /// Digest of the inventory file that it was made from.
    pub inventory: String,
    /// Host and change, in order.
    pub changes: Vec<(HostName, String)>,
}

/// Why a kept plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// Not a plan file.
    #[error("read the plan: {0}")]
    Format(String),
    /// Made by another version.
    #[error("use the plan: it has format version {0}, this toots knows version 1")]
    Version(u8),
    /// The inventory is another one.
    #[error("use the plan: the inventory file changed since it was made")]
    Inventory,
    /// The hosts changed.
    #[error("use the plan: the hosts changed since it was made")]
    Hosts {
        /// What the plan has and the hosts no longer call for (`-`), and what they call for now (`+`).
        differences: Vec<String>,
    },
}

impl SavedPlan {
    /// Keeps a plan.
    #[must_use]
    pub fn of(cluster: &str, inventory: &str, plan: &Plan) -> Self {
        let changes = plan
            .hosts
            .iter()
            .flat_map(|host| lines(host).map(|line| (host.host.clone(), line)))
            .collect();
        Self {
            v: 1,
            cluster: cluster.to_owned(),
            inventory: digest(inventory.as_bytes()),
            changes,
        }
    }

    /// Reads a kept plan.
    ///
    /// # Errors
    /// When the text is not a plan, or of another format version.
    pub fn parse(text: &str) -> Result<Self, SavedPlanError> {
        let plan: Self = serde_json::from_str(text)
            .map_err(|error| SavedPlanError::Format(error.to_string()))?;
        if plan.v == 1 {
            Ok(plan)
        } else {
            Err(SavedPlanError::Version(plan.v))
        }
    }

    /// Checks that this is still what would be done now.
    ///
    /// # Errors
    /// When the inventory or what the hosts call for differs.
    pub fn check(&self, now: &Self) -> Result<(), SavedPlanError> {
        if self.inventory != now.inventory || self.cluster != now.cluster {
            return Err(SavedPlanError::Inventory);
        }
        let gone = self
            .changes
            .iter()
            .filter(|change| !now.changes.contains(change))
            .map(|(host, what)| format!("- {host}: {what}"));
        let come = now
            .changes
            .iter()
            .filter(|change| !self.changes.contains(change))
            .map(|(host, what)| format!("+ {host}: {what}"));
        let differences: Vec<String> = gone.chain(come).collect();
        if differences.is_empty() {
            Ok(())
        } else {
            Err(SavedPlanError::Hosts { differences })
        }
    }
}

fn lines(host: &HostPlan) -> impl Iterator<Item = String> + '_ {
    host.steps().flat_map(|step| match step {
        Step::Place {
            dirs,
            files,
            hosts_entries,
        } => {
            let dirs = dirs
                .iter()
                .map(|(dir, why)| format!("directory {} ({why})", dir.path));
            // Generated secrets and ids are drawn anew by each plan until they have been put down once, so their content cannot be compared.
            let files = files.iter().map(|f| {
                let drawn = f.reason == "new"
                    && (f.file.secret
                        || f.file.path == NodeRecord::PATH
                        || f.file.path.starts_with(RECORDS));
                let content = if drawn {
                    String::new()
                } else {
                    format!(" {}", f.file.digest())
                };
                format!("file {} ({}){content}", f.file.path, f.reason)
            });
            let entries = hosts_entries
                .iter()
                .map(|entries| format!("/etc/hosts {entries:?}"));
            dirs.chain(files).chain(entries).collect::<Vec<_>>()
        }
        Step::Create { spec } | Step::Replace { spec, .. } => {
            // The files are compared by their own lines.
            let bare = ContainerSpec {
                files: BTreeMap::new(),
                ..(**spec).clone()
            };
            vec![format!("{} {}", step.title(), bare.hash().0)]
        }
        Step::Pull { digest, .. } => vec![format!(
            "{} {}",
            step.title(),
            digest.as_deref().unwrap_or("unresolved")
        )],
        other => vec![other.title()],
    })
}
