//! The locks of a run's hosts. Of any number of runs that begin together one goes on.
//!
//! Masters are locked one after another, by every run in the same order: of two runs that meet, the
//! one that holds the later lock of the two has passed the other, so that one of them always goes on.
//! All masters at once would be faster, but two runs could each hold what the other one lacks. A
//! master that is not reached is left out: majorities meet in any case.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::host_run::HostRun;
use super::ledger::EarlyExit;
use super::phases::ms;
use super::run::Run;
use super::{checks, failure};
use crate::env::Randomness;
use crate::event::{Event, Outcome, escape};
use crate::guard::{LockError, Owner};
use crate::host::TransportError;
use crate::spec::{ExitCode, Phase, Remedy};

/// How long a run tries when it is not told to wait: the runs that it meets may be trying, too.
const CONTEST_LIMIT: Duration = Duration::from_secs(3);
/// The shortest pause between two tries.
const MIN_PAUSE_MS: u64 = 200;
/// How much longer a pause may be. It is drawn: two runs that met would meet again after the same one.
const PAUSE_SPREAD_MS: u64 = 800;
/// From then on the other run is at work, and pauses are so many times longer.
const WORK_PAUSES: (Duration, u32) = (Duration::from_secs(5), 5);

/// The name of the lock where waits are shown.
const NAME: &str = "lock";
const STEP: &str = "take the lock";

/// A host whose lock is not to be had.
struct UnavailableLock<'a> {
    host: &'a HostRun,
    error: LockError,
}

/// Locks every host that may be changed and all masters that take part, and waits for another run as
/// long as the operator allows. The locks are held until the connections close.
pub(super) async fn take(run: &Run<'_>) -> Result<(), EarlyExit> {
    let (cx, started) = (run.cx, Instant::now());
    let limit = cx.mode.lock_wait.unwrap_or(CONTEST_LIMIT);
    let mut has_waited = false;
    loop {
        let unavailable = try_to_take(run).await?;
        if unavailable.is_empty() {
            break;
        }
        // The run that goes on needs them.
        give_back(run).await;
        let left = limit.saturating_sub(started.elapsed());
        let is_held = |lock: &UnavailableLock<'_>| matches!(lock.error, LockError::Held { .. });
        if left.is_zero() || !unavailable.iter().all(is_held) {
            return Err(refuse(run, unavailable));
        }
        if let Some(UnavailableLock { host, error }) = unavailable.first() {
            has_waited = true;
            cx.events.send(Event::GateWaiting {
                service: NAME.to_owned(),
                missing: escape(&format!("{}: {error}", host.info.name)),
                elapsed_ms: ms(started),
            });
        }
        tokio::time::sleep(draw_pause(&cx.random, started.elapsed()).min(left)).await;
    }
    if has_waited {
        cx.events.send(Event::GatePassed {
            service: NAME.to_owned(),
            proof: "taken".to_owned(),
            elapsed_ms: ms(started),
        });
    }
    Ok(())
}

fn draw_pause(random: &Randomness, waited: Duration) -> Duration {
    let drawn = u64::from(u16::from_le_bytes(random.bytes())) % (PAUSE_SPREAD_MS + 1);
    let pause = Duration::from_millis(MIN_PAUSE_MS + drawn);
    let (begin, factor) = WORK_PAUSES;
    if waited < begin {
        pause
    } else {
        pause * factor
    }
}

/// Takes what is free; returns the hosts that end the try. Nothing is changed anywhere yet, so a host
/// whose connection is lost is left out, as one that was not reached in the first place.
async fn try_to_take<'a>(run: &'a Run<'_>) -> Result<Vec<UnavailableLock<'a>>, EarlyExit> {
    let is_alive = |host: &&HostRun| run.ledger.alive(&host.info.name);
    for host in masters_in_order(run).into_iter().filter(is_alive) {
        if let Err(held) = lock(run, host).await {
            return Ok(vec![held]);
        }
        if !is_alive(&host) {
            checks::require_majority(&run.work(), ExitCode::UNREACHABLE)?;
        }
    }
    let hosts = run.hosts.values().map(AsRef::as_ref);
    let others = hosts.filter(|host| {
        !host.info.is_master() && run.cx.scope.contains(&host.info.name) && is_alive(host)
    });
    let results = join_all(others.map(|host| lock(run, host))).await;
    Ok(results.into_iter().filter_map(Result::err).collect())
}

/// The masters by member number; those of a new cluster have none, and their addresses decide. The
/// order of the inventory does not: another operator's may be a different one.
fn masters_in_order<'a>(run: &'a Run<'_>) -> Vec<&'a HostRun> {
    let recorded = &run.planned.recorded;
    let number = |host: &HostRun| {
        let node = recorded.nodes.get(&host.info.name);
        let recorded_number = node.and_then(|node| node.member);
        recorded_number.or_else(|| recorded.committed.get(&host.info.name).copied())
    };
    let hosts = run.hosts.values().map(AsRef::as_ref);
    let mut masters: Vec<&HostRun> = hosts
        .filter(|host: &&HostRun| host.info.is_master())
        .collect();
    masters.sort_by_key(|host| (number(host).unwrap_or(u8::MAX), host.info.address));
    masters
}

/// Locks a host. One whose connection is lost takes no further part.
async fn lock<'a>(run: &Run<'_>, host: &'a HostRun) -> Result<(), UnavailableLock<'a>> {
    let mut result = host.line.lock(owner(run)).await;
    // A wait may have outlived the connection.
    if matches!(result, Err(LockError::Transport(TransportError::Lost(_))))
        && host.line.renew(&*run.cx.dial).await.is_ok()
    {
        result = host.line.lock(owner(run)).await;
    }
    match result {
        Ok(()) => Ok(()),
        Err(LockError::Transport(error)) => {
            let failure = failure::transport(&Phase::Lock, STEP, &error);
            let outcome = failure::outcome_of(&error);
            run.ledger.fail(&host.info.name, outcome, failure);
            Ok(())
        }
        Err(error) => Err(UnavailableLock { host, error }),
    }
}

fn owner(run: &Run<'_>) -> Owner {
    Owner {
        who: run.cx.owner.clone(),
        command: run.cx.command.clone(),
        run_id: run.cx.run_id.clone(),
    }
}

/// Reports who holds the locks, and which hosts cannot lock.
fn refuse(run: &Run<'_>, unavailable: Vec<UnavailableLock<'_>>) -> EarlyExit {
    let mut code = ExitCode::REFUSED;
    for UnavailableLock { host, error } in unavailable {
        let mut failure = failure::from_error(&Phase::Lock, STEP, &error);
        if matches!(error, LockError::Held { .. }) {
            code = ExitCode::LOCKED;
            failure.hints = vec![Remedy::WaitForLock];
        }
        run.ledger.fail(&host.info.name, Outcome::Failed, failure);
    }
    EarlyExit(code)
}

/// Gives the locks back; the connections stay.
pub(super) async fn give_back(run: &Run<'_>) {
    join_all(run.hosts.values().map(|host| host.line.unlock())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_grow_when_the_other_run_is_at_work() {
        let random = Randomness::seeded(1);
        let pauses: Vec<Duration> = (0..1000)
            .map(|_| draw_pause(&random, Duration::ZERO))
            .collect();
        let (shortest, longest) = (pauses.iter().min(), pauses.iter().max());
        assert!(shortest >= Some(&Duration::from_millis(200)) && longest > shortest);
        assert!(longest <= Some(&Duration::from_secs(1)), "{longest:?}");
        let late = draw_pause(&random, Duration::from_secs(60));
        assert!(late >= Duration::from_secs(1), "{late:?}");
    }
}
