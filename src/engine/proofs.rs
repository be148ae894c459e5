//! The records of what was proven. From then on no member creates an ensemble again.

use futures::future::join_all;

use super::ledger::EarlyExit;
use super::locks;
use super::run::Run;
use super::steps::run_steps;
use super::work::Work;
use crate::plan::{FileChange, Reason, Step};
use crate::spec::{ComponentName, ExitCode, FileSpec, Phase, Placement};

/// Records which services were proven. A run without changes holds no locks: it takes them when it
/// finds something proven that no master has recorded, because the run that changed it last was
/// interrupted.
pub(super) async fn record(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let unrecorded = find_unrecorded(run);
    if unrecorded.is_empty() {
        return Ok(());
    }
    if !run.has_changes() {
        if locks::take(run).await.is_err() {
            run.unrecorded = Some(ExitCode::LOCKED);
            return Ok(());
        }
        write_outdated(&run.work()).await;
    }
    write_proofs(&run.work(), unrecorded).await;
    Ok(())
}

/// Components proven now that no master has recorded yet.
fn find_unrecorded(run: &Run<'_>) -> Vec<ComponentName> {
    let recorded = &run.planned.recorded.proven;
    let proven = run.ended.verdicts.keys();
    proven
        .filter(|name| !recorded.contains(*name))
        .cloned()
        .collect()
}

/// Writes records of an older format. Failures are in the ledger.
async fn write_outdated(work: &Work<'_>) {
    let hosts = work.in_scope();
    join_all(hosts.map(|(host, plan)| run_steps(work, host, Phase::Record, &plan.records))).await;
}

async fn write_proofs(work: &Work<'_>, proven: Vec<ComponentName>) {
    let proven = proven.into_iter().map(|name| FileChange {
        file: FileSpec {
            path: format!("/etc/toots/proven/{name}"),
            mode: 0o644,
            uid: 0,
            gid: 0,
            content: format!("{}\n", work.cx.clock.now()).into_bytes(),
            secret: false,
            place: Placement::Always,
        },
        reason: Reason::New,
        diff: None,
    });
    let step = Step::Place {
        dirs: Vec::new(),
        files: proven.collect(),
        hosts_entries: None,
    };
    let steps = std::slice::from_ref(&step);
    join_all(
        work.usable_masters()
            .map(|host| run_steps(work, host, Phase::Record, steps)),
    )
    .await;
}
