//! A run from its first connection to the end of its last one.

use super::connect;
use super::ending::{ended_early, run_to_end};
use super::ledger::EarlyExit;
use super::run::Run;

/// Does the work of a run, and closes the connections, whether the work ended early or not.
pub(super) async fn in_session<'a, T>(
    run: &mut Run<'a>,
    work: impl AsyncFnOnce(&mut Run<'a>) -> Result<T, EarlyExit>,
) -> Result<T, EarlyExit> {
    let (cx, ledger, started) = (run.cx, run.ledger.clone(), run.started);
    let outcome = run_to_end(cx, &ledger, started, work(run)).await;
    connect::close(&run.hosts).await;
    match outcome {
        Some(Ok(value)) => Ok(value),
        // What was refused or failed because the run ended is no result of its own.
        Some(Err(early)) if !cx.cancel.is_cancelled() => Err(early),
        Some(Err(_)) | None => Err(ended_early(cx, &ledger)),
    }
}
