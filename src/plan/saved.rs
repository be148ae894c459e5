//! A plan saved in a file: `plan --out FILE`, then `up --plan FILE` executes exactly that or
//! refuses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::types::{HostPlan, Plan, Step};
use crate::spec::{ContainerSpec, HostName, Membership, NodeRecord, digest};

/// The folder of the recorded specifications.
const RECORDS: &str = "/etc/toots/containers/";

/// A saved plan: every change by name, what it depends on, and no content (which may be secret).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// Format version.
    pub v: u8,
    pub cluster: String,
    /// Digest of the inventory file.
    pub inventory: String,
    /// Host and change, in order.
    pub changes: Vec<(HostName, String)>,
}

/// Why a saved plan cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// Not a plan file.
    #[error("cannot read the plan: {0}")]
    Format(String),
    /// Written by another version.
    #[error("cannot use the plan: format must be 1, got {0}")]
    Version(u8),
    /// The inventory changed.
    #[error("cannot use the plan: the inventory file changed since it was saved")]
    Inventory,
    /// The hosts changed.
    #[error("cannot use the plan: the hosts changed since it was saved")]
    Hosts {
        /// Changes that are only in the plan (`-`), and changes that are only needed now (`+`).
        differences: Vec<String>,
    },
}

impl SavedPlan {
    /// Saves a plan.
    #[must_use]
    pub fn from_plan(cluster: &str, inventory: &str, plan: &Plan) -> Self {
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

    /// Parses a saved plan.
    ///
    /// # Errors
    /// When the text is not a plan, or has another format version.
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
    /// When the inventory or the needed changes differ.
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
            // Generated secrets and ids are drawn again by each plan until they are recorded once,
            // so their content cannot be compared.
            let files = files.iter().map(|f| {
                let drawn = f.reason == Reason::New
                    && (f.file.secret
                        || [NodeRecord::PATH, Membership::PATH].contains(&f.file.path.as_str())
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
        // Whichever host has it or builds it: the image is the same.
        Step::Build { recipe, .. } => vec![format!("bring {}", recipe.image())],
        Step::Load { image, digest, .. } => vec![match digest {
            Some(digest) => format!("bring {image} {digest}"),
            None => format!("bring {image}"),
        }],
        other => vec![other.title()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("saved_plan_error", SavedPlanError, hints: |_| Vec::new(), {
            SavedPlanError::Format(_) => SavedPlanError::Format("expected value at line 1 column 1".into()),
            SavedPlanError::Version(_) => SavedPlanError::Version(2),
            SavedPlanError::Inventory => SavedPlanError::Inventory,
            SavedPlanError::Hosts { .. } => SavedPlanError::Hosts { differences: vec!["+ m1: container zookeeper".into()] },
        });
    }
}
