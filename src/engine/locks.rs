//! The locks of a run's hosts.

use futures::future::join_all;

use super::failure;
use super::ledger::EarlyExit;
use super::run::Run;
use crate::event::Outcome;
use crate::guard::{LockError, Owner};
use crate::spec::{ExitCode, Phase};

/// Locks every host that may be changed and all masters that take part. The locks are held until
/// the connections close.
pub(super) async fn take(run: &Run<'_>) -> Result<(), EarlyExit> {
    let (cx, ledger) = (run.cx, &run.ledger);
    let owner = Owner {
        who: cx.owner.clone(),
        command: cx.command.clone(),
        run_id: cx.run_id.clone(),
    };
    let taking_part = run.hosts.values().filter(|host| {
        let name = &host.info.name;
        ledger.alive(name) && (cx.scope.contains(name) || host.info.is_master())
    });
    let results = taking_part.map(|host| {
        let owner = owner.clone();
        async move { (host, host.line.lock(owner).await) }
    });
    let (mut is_held, mut is_refused) = (false, false);
    for (host, result) in join_all(results).await {
        let Err(error) = result else { continue };
        let mut failure = failure::from_error(&Phase::Lock, "take the lock", &error);
        if matches!(error, LockError::Held { .. }) {
            is_held = true;
            failure.hints = vec!["wait until that run ends, then run again".into()];
        }
        is_refused = true;
        ledger.fail(&host.info.name, Outcome::Failed, failure);
    }
    match (is_held, is_refused) {
        (true, _) => Err(EarlyExit(ExitCode::LOCKED)),
        (false, true) => Err(EarlyExit(ExitCode::REFUSED)),
        (false, false) => Ok(()),
    }
}

/// Gives the locks back; the connections stay.
pub(super) async fn give_back(run: &Run<'_>) {
    join_all(run.hosts.values().map(|host| host.line.unlock())).await;
}
