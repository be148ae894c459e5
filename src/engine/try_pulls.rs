//! Proves before the first change that each host can pull its images from the private registry.

use futures::future::join_all;

use super::failure;
use super::host_run::HostRun;
use super::ledger::EarlyExit;
use super::pull::{login, pull_hint};
use super::run::Run;
use super::work::Work;
use crate::event::{Failure, Outcome};
use crate::plan::{HostPlan, Step, is_elsewhere};
use crate::spec::{ExitCode, Package, Phase, Remedy};

/// Each host's Engine requests every image with the credentials. A host that does not know the
/// registry's CA or name yet cannot do that; there the pulls are the proof, before any container is
/// stopped.
pub(super) async fn try_pulls(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    if prove_pulls(&run.work()).await {
        Ok(())
    } else {
        Err(EarlyExit(ExitCode::REFUSED))
    }
}

/// Whether no image was refused.
pub(super) async fn prove_pulls(work: &Work<'_>) -> bool {
    let asked = work
        .in_scope()
        .filter(|(host, plan)| work.ledger.alive(&host.info.name) && knows_registry(plan));
    let proven = asked.map(|(host, plan)| async move {
        let refused = join_all(
            plan.images
                .iter()
                .map(|step| find_refusal(work, host, step)),
        );
        let refused = refused.await.into_iter().flatten();
        let (cause, mut hints): (Vec<String>, Vec<Remedy>) = refused.unzip();
        if cause.is_empty() {
            return true;
        }
        hints.dedup();
        let failure = Failure {
            cause,
            ..failure::from_text(
                &Phase::Preflight,
                "check that images can be pulled",
                "",
                hints,
            )
        };
        work.ledger.fail(&host.info.name, Outcome::Failed, failure);
        false
    });
    join_all(proven).await.into_iter().all(|proven| proven)
}

/// Whether the plan writes nothing that the Engine needs to know the registry.
fn knows_registry(plan: &HostPlan) -> bool {
    plan.prepare.iter().all(|step| match step {
        Step::Place {
            files,
            hosts_entries,
            ..
        } => {
            let mut paths = files.iter().map(|change| &change.file.path);
            hosts_entries.is_none() && !paths.any(|path| path.starts_with("/etc/docker/certs.d/"))
        }
        Step::Install { package, .. } => *package != Package::Docker,
        _ => true,
    })
}

/// Why an image of the private registry cannot be pulled, and what to do. Tried twice, as a pull is.
async fn find_refusal(work: &Work<'_>, host: &HostRun, step: &Step) -> Option<(String, Remedy)> {
    let Step::Pull { image, digest } = step else {
        return None;
    };
    let digest = digest.as_deref();
    let auth = login(work.cx, image)?;
    let reference = image.reference(digest);
    let ask = || host.engine.distribution_digest(&reference, Some(&auth));
    if ask().await.is_ok() {
        return None;
    }
    let error = ask().await.err()?;
    // What another host has is loaded from there.
    let observed = &work.planned.observed;
    if digest.is_some_and(|digest| is_elsewhere(&host.info.name, image, digest, observed)) {
        return None;
    }
    let why = failure::chain(&error).join(": ");
    let hint = pull_hint(image, &why);
    Some((why, hint))
}
