//! The records of what was proven. From then on no member creates an ensemble again.

use super::components::ComponentOutcomes;
use super::ending::EarlyExit;
use super::planned::Planned;
use super::prepare;
use super::work::{RECORD, Work};
use crate::plan::{FileChange, Step};
use crate::spec::{ComponentName, ExitCode, FileSpec, Placement, Role};

/// Components proven now that no master has recorded yet.
pub(super) fn find_unrecorded(planned: &Planned, ended: &ComponentOutcomes) -> Vec<ComponentName> {
    ended
        .verdicts
        .keys()
        .filter(|name| !planned.recorded.proven.contains(*name))
        .cloned()
        .collect()
}

/// Records which services were proven: from then on no member creates an ensemble again.
pub(super) async fn record_proofs(work: &Work<'_>, ended: &ComponentOutcomes) {
    let files: Vec<FileChange> = find_unrecorded(work.planned, ended)
        .into_iter()
        .map(|name| FileChange {
            file: FileSpec {
                path: format!("/etc/toots/proven/{name}"),
                mode: 0o644,
                uid: 0,
                gid: 0,
                content: format!("{}\n", jiff::Timestamp::now()).into_bytes(),
                secret: false,
                place: Placement::Always,
            },
            reason: "new".into(),
            diff: None,
        })
        .collect();
    if files.is_empty() {
        return;
    }
    let step = Step::Place {
        dirs: Vec::new(),
        files,
        hosts_entries: None,
    };
    let masters = work.hosts.values().filter(|host| {
        host.info.roles.contains(&Role::Master) && work.ledger.alive(&host.info.name)
    });
    futures::future::join_all(
        masters.map(|host| work.run_steps(host, RECORD, std::slice::from_ref(&step))),
    )
    .await;
}

/// Writes the record that a run interrupted after its last change did not write.
pub(super) async fn record_late(
    work: &Work<'_>,
    ended: &ComponentOutcomes,
) -> Result<(), EarlyExit> {
    prepare::lock(work.cx, work.ledger, work.hosts)
        .await
        .map_err(|_| EarlyExit(ExitCode::LOCKED))?;
    let outdated = work.in_scope();
    futures::future::join_all(
        outdated.map(|(host, plan)| work.run_steps(host, RECORD, &plan.records)),
    )
    .await;
    record_proofs(work, ended).await;
    Ok(())
}
