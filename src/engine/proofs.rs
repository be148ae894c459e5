//! The records of what was proven. From then on no member creates an ensemble again.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::ledger::EarlyExit;
use super::run::Run;
use super::steps::run_steps;
use super::work::Work;
use super::{ending, locks};
use crate::plan::{FileChange, Reason, Step};
use crate::spec::{ComponentName, ExitCode, FileSpec, HostName, Phase, Placement};

/// Records which services were proven, on each master that has no such record: the records must
/// outlive every master but one. A run without changes holds no locks: it takes them when a record is
/// missing, because the run that changed the cluster last was interrupted.
pub(super) async fn record(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let unrecorded = find_unrecorded(run);
    if unrecorded.is_empty() {
        return Ok(());
    }
    if !run.has_changes() {
        // The writing is finished once it began; the wait for another run is not.
        let taking = locks::take(run);
        if ending::droppable(run.cx, &run.ledger, taking)
            .await?
            .is_err()
        {
            run.unrecorded = Some(ExitCode::LOCKED);
            return Ok(());
        }
        write_outdated(&run.work()).await;
    }
    write_proofs(&run.work(), unrecorded).await;
    Ok(())
}

/// Components proven now, by the master that has not recorded them yet.
fn find_unrecorded(run: &Run<'_>) -> BTreeMap<HostName, Vec<ComponentName>> {
    let mut unrecorded = BTreeMap::new();
    for master in run.work().usable_masters() {
        let status = run.planned.observed.get(&master.info.name);
        let is_recorded =
            |name: &ComponentName| status.is_some_and(|status| status.proven.contains(name));
        let proven = run.ended.verdicts.keys();
        let missing: Vec<_> = proven.filter(|name| !is_recorded(name)).cloned().collect();
        if !missing.is_empty() {
            unrecorded.insert(master.info.name.clone(), missing);
        }
    }
    unrecorded
}

/// Writes records of an older format. Failures are in the ledger.
async fn write_outdated(work: &Work<'_>) {
    let hosts = work.in_scope();
    join_all(hosts.map(|(host, plan)| run_steps(work, host, Phase::Record, &plan.records))).await;
}

async fn write_proofs(work: &Work<'_>, unrecorded: BTreeMap<HostName, Vec<ComponentName>>) {
    let now = format!("{}\n", work.cx.clock.now());
    let record = |name: ComponentName| FileChange {
        file: FileSpec {
            path: format!("/etc/toots/proven/{name}"),
            mode: 0o644,
            uid: 0,
            gid: 0,
            content: now.clone().into_bytes(),
            secret: false,
            place: Placement::Always,
        },
        reason: Reason::New,
        diff: None,
    };
    let writes = work.usable_masters().filter_map(|master| {
        let names = unrecorded.get(&master.info.name)?.iter().cloned();
        let step = Step::Place {
            dirs: Vec::new(),
            files: names.map(record).collect(),
            hosts_entries: None,
        };
        Some(async move { run_steps(work, master, Phase::Record, &[step]).await })
    });
    join_all(writes).await;
}
