//! Replacements of a container that every cause to end meets at every request, and the run after each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::cancel::EndCause;
use super::checks::choose_exit_code;
use super::connect::connect;
use super::ending::check_cancelled;
use super::fake_engine::{BreakAt, FakeEngine, PlayedContainer};
use super::fake_images::Stored;
use super::faulty_session::{Bug, Dialed};
use super::locks;
use super::outcomes::ComponentOutcomes;
use super::session::in_session;
use super::steps::run_steps;
use super::test_run::{TestRun, host};
use crate::event::{Event, Outcome, RunResult};
use crate::observe::DockerStatus;
use crate::plan::{self, Reason, Step};
use crate::spec::{ContainerSpec, ExitCode, HostName, Role};

const PHASE: &str = "consul";
const NAME: &str = "toots-consul";

/// The requests of an undisturbed replacement: what an earlier one left is stopped and removed, which
/// is absent here, then the container is stopped, renamed, created, started, and the former one removed.
const REQUESTS: usize = 7;

fn container(hash: &str) -> PlayedContainer {
    PlayedContainer {
        name: NAME.into(),
        labels: [
            (ContainerSpec::LABEL_SPEC, hash),
            ("toots.cluster", "dc1"),
            ("toots.component", "consul"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        is_running: true,
    }
}

fn engine() -> FakeEngine {
    let engine = FakeEngine::with(false, vec![Stored::new(&[b"layer"], "consul")]);
    engine.play().containers = vec![container("former")];
    engine
}

async fn run_on(hosts: Vec<(FakeEngine, Arc<Bug>)>) -> TestRun {
    let count = hosts.len();
    TestRun::dialed(Arc::new(Dialed(hosts)), count, None).await
}

async fn run_on_engine(engine: &FakeEngine) -> TestRun {
    run_on(vec![(engine.clone(), Arc::default())]).await
}

fn spec(run: &TestRun) -> &ContainerSpec {
    &run.planned.desired.hosts[0].components[0].container
}

fn replacement(run: &TestRun) -> Step {
    Step::Replace {
        spec: Box::new(spec(run).clone()),
        reason: Reason::Specification("image".into()),
    }
}

/// A step that is one command.
fn place() -> Step {
    Step::Place {
        dirs: Vec::new(),
        files: Vec::new(),
        hosts_entries: None,
    }
}

/// A run under its locks that replaces the container of h1, while h2, where there is one, runs
/// `other`.
async fn replace(run: &TestRun, other: Step) -> RunResult {
    let (steps, other_steps) = ([replacement(run)], [other]);
    let mut session = run.begin();
    // On the heap: the stack of a test is small.
    let ended = Box::pin(in_session(&mut session, async |session| {
        connect(session).await?;
        locks::take(session).await?;
        let (work, hosts) = (session.work(), &session.hosts);
        let own = Box::pin(run_steps(&work, &hosts[&host(1)], PHASE, &steps));
        let other = Box::pin(async {
            if let Some(other) = hosts.get(&host(2)) {
                drop(run_steps(&work, other, PHASE, &other_steps).await);
            }
        });
        drop(futures::join!(own, other));
        let TestRun { cx, ledger, .. } = run;
        check_cancelled(cx, ledger)?;
        Ok(choose_exit_code(cx, ledger, &ComponentOutcomes::default()))
    }));
    let ended = ended.await;
    session.finish(ended)
}

/// The container of the new specification runs, alone.
fn is_done(run: &TestRun, engine: &FakeEngine) -> bool {
    let hash = spec(run).hash().0;
    let play = engine.play();
    let [only] = play.containers.as_slice() else {
        return false;
    };
    only.name == NAME
        && only.is_running
        && only.labels.get(ContainerSpec::LABEL_SPEC) == Some(&hash)
}

/// The next run finds what was left and finishes it.
async fn finish(engine: &FakeEngine) {
    {
        let mut play = engine.play();
        play.on_request = None;
        play.break_at = None;
        play.delay_at = None;
        play.closes = false;
        play.lock_limit = None;
    }
    let run = run_on_engine(engine).await;
    let h1 = &run.hosts[&host(1)];
    let mut observed = run.planned.observed.clone();
    let seen = h1.engine.containers().await.unwrap();
    let status = observed.get_mut(&host(1)).unwrap();
    if let DockerStatus::Up { containers, .. } = &mut status.docker {
        *containers = seen;
    }
    let plan = plan::diff(&run.planned.desired, &observed);
    let plan = plan.host(&host(1)).unwrap();
    let is_of_container = |step: &&Step| !matches!(step, Step::Place { .. });
    let steps = plan.components.values().flatten().chain(&plan.cleanup);
    let steps: Vec<Step> = steps.filter(is_of_container).cloned().collect();
    let work = run.work();
    Box::pin(run_steps(&work, h1, PHASE, &steps)).await.unwrap();
    assert!(is_done(&run, engine), "{:?}", engine.play().containers);
}

/// Calls it at the request with this number.
fn at_request(engine: &FakeEngine, at: usize, mut act: impl FnMut() + Send + 'static) {
    engine.play().on_request = Some(Box::new(move |number, _| {
        if number == at {
            act();
        }
    }));
}

/// The result is the last event, and no lock is left.
fn assert_ended(run: &TestRun, result: &RunResult, engines: &[&FakeEngine]) {
    let events = run.events.list();
    let Some(Event::Result(last)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(last, result);
    for engine in engines {
        let (taken, given_back) = engine.play().locks;
        assert!(taken > 0 && taken == given_back, "{taken} {given_back}");
    }
}

/// The result names the step of this host as one that may be half done.
fn assert_half_done(run: &TestRun, result: &RunResult, name: &HostName, why: &str) {
    let events = run.events.list();
    let failures: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::HostFailed { host, failure, .. } => Some((host, failure)),
            _ => None,
        })
        .collect();
    let [(failed, failure)] = failures.as_slice() else {
        panic!("{failures:?}");
    };
    assert_eq!(*failed, name);
    let cause = failure.cause.join(": ");
    assert!(
        cause.contains(why) && cause.contains("its result is unknown"),
        "{cause}"
    );
    let left = failure.left.as_deref().unwrap();
    assert!(left.ends_with(" may be half done"), "{left}");
    assert_eq!(failure.hints.len(), 1, "{failure:?}");
    let own = &result.hosts[name];
    assert!(own.outcome.is_failure() && own.changed > 0, "{own:?}");
    assert_eq!(own.failed_step.as_ref(), Some(&failure.step));
    assert!(result.error.is_some() && result.changed > 0, "{result:?}");
}

#[tokio::test]
async fn an_undisturbed_replacement_makes_these_requests() {
    let engine = engine();
    let run = run_on_engine(&engine).await;
    let result = replace(&run, place()).await;
    assert_eq!((result.exit_code, result.changed), (0, 1));
    assert!(is_done(&run, &engine));
    assert_eq!(engine.play().requests, REQUESTS);
    assert_ended(&run, &result, &[&engine]);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_end_finishes_the_replacement() {
    let limit = Duration::from_secs(600);
    let causes = [
        (EndCause::Interrupted, 130),
        (EndCause::Terminated, 143),
        (EndCause::HungUp, 129),
        (EndCause::Deadline, 8),
    ];
    for (cause, code) in causes {
        for at in 1..=REQUESTS {
            let engine = engine();
            let mut run = run_on_engine(&engine).await;
            if cause == EndCause::Deadline {
                run.cx.timeouts.run = Some(limit);
                run.cx.timeouts.answer = 2 * limit;
                engine.play().delay_at = Some((at, limit + Duration::from_secs(1)));
            } else {
                let cancel = run.cx.cancel.clone();
                at_request(&engine, at, move || {
                    cancel.cancel(cause);
                });
            }
            let result = replace(&run, place()).await;
            assert_eq!((result.exit_code, result.changed), (code, 1), "{at}");
            assert_eq!(result.error.as_deref(), Some(cause.as_str()));
            assert_eq!(result.hosts[&host(1)].outcome, Outcome::Changed);
            assert!(is_done(&run, &engine), "{cause:?} at {at}");
            assert_ended(&run, &result, &[&engine]);
            // Nothing new begins.
            let h1 = &run.hosts[&host(1)];
            let (work, steps) = (run.work(), [replacement(&run)]);
            let next = Box::pin(run_steps(&work, h1, PHASE, &steps)).await;
            assert!(next.is_err());
            assert_eq!(engine.play().requests, REQUESTS);
        }
    }
}

/// A request that is not answered does not hold up the end of the run for good.
#[tokio::test(start_paused = true)]
async fn a_replacement_that_hangs_is_given_up_and_named() {
    for at in 1..=REQUESTS {
        let engine = engine();
        let mut run = run_on_engine(&engine).await;
        let hour = Duration::from_secs(3600);
        run.cx.timeouts.answer = hour;
        engine.play().delay_at = Some((at, hour));
        let cancel = run.cx.cancel.clone();
        at_request(&engine, at, move || {
            cancel.cancel(EndCause::Interrupted);
        });
        let started = Instant::now();
        let result = replace(&run, place()).await;
        assert!(started.elapsed() < Duration::from_secs(120), "at {at}");
        assert_eq!(result.exit_code, 130);
        assert_half_done(&run, &result, &host(1), "interrupted");
        assert_ended(&run, &result, &[&engine]);
        // What the Engine has received it carries out.
        tokio::time::sleep(2 * hour).await;
        assert_eq!(engine.play().requests, at);
        finish(&engine).await;
    }
}

/// A lost connection finds the lock in other hands: its host gets nothing more. Another host's
/// replacement goes on, except where the lock was that of the only master.
#[tokio::test]
async fn a_lost_lock_ends_the_replacement_on_its_host() {
    for at in 1..=REQUESTS {
        for (breaks, is_majority) in [
            (BreakAt::Request, false),
            (BreakAt::Answer, false),
            (BreakAt::Answer, true),
        ] {
            let (engine, other) = (engine(), engine());
            engine.play().break_at = Some((at, breaks));
            engine.play().lock_limit = Some(1);
            if is_majority {
                // Still under way when the lock of h1 is lost.
                other.play().delay_at = Some((1, Duration::from_secs(5)));
            }
            let hosts = [&engine, &other].map(|engine| (engine.clone(), Arc::default()));
            let mut run = run_on(hosts.into()).await;
            if is_majority {
                run.cx.masters = 1;
                run.cx.hosts[0].roles = [Role::Master].into();
            }
            let result = replace(&run, replacement(&run)).await;
            assert_eq!(result.exit_code, 5, "at {at}: {result:?}");
            assert_eq!(engine.play().requests, at, "{breaks:?}");
            assert_ended(&run, &result, &[&engine, &other]);
            if is_majority {
                assert_eq!(run.cx.cancel.cause(), Some(EndCause::LocksLost));
                assert_eq!(other.play().requests, 1);
                assert_eq!(result.hosts[&host(2)].outcome, Outcome::Failed);
                finish(&other).await;
            } else {
                assert_half_done(&run, &result, &host(1), "cannot take the lock again");
                assert!(!run.cx.cancel.is_cancelled());
                assert!(is_done(&run, &other), "at {at}");
            }
            finish(&engine).await;
        }
    }
}

/// Without a majority of the locks nothing more is sent: another run may be at work.
#[tokio::test]
async fn without_the_locks_nothing_more_is_sent() {
    for at in 1..=REQUESTS {
        let engine = engine();
        let run = run_on_engine(&engine).await;
        let cancel = run.cx.cancel.clone();
        at_request(&engine, at, move || {
            cancel.cancel(EndCause::LocksLost);
        });
        let result = replace(&run, place()).await;
        assert_eq!(result.exit_code, 5, "something may be changed");
        // What the Engine has received it carries out.
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(engine.play().requests, at);
        assert_half_done(&run, &result, &host(1), "the locks of a majority");
        assert_ended(&run, &result, &[&engine]);
        finish(&engine).await;
    }
}

/// A bug on one host ends the run, and another host's replacement is finished first: a bug in a step,
/// and one between two steps.
#[tokio::test]
async fn a_panic_elsewhere_finishes_the_replacement() {
    for commands_succeed in [false, true] {
        for at in 1..=REQUESTS {
            let (engine, other) = (engine(), FakeEngine::with(false, Vec::new()));
            let bug = Arc::new(Bug {
                in_command: Some(Notify::new()),
                commands_succeed,
                ..Bug::default()
            });
            let trigger = Arc::clone(&bug);
            at_request(&engine, at, move || {
                trigger.in_command.as_ref().unwrap().notify_one();
            });
            let hosts = [(engine.clone(), Arc::default()), (other.clone(), bug)];
            let run = run_on(hosts.into()).await;
            let ends_step = |event: &Event| matches!(event, Event::StepFinished { host: name, step, .. } if *name == host(2) && *step == place().title());
            if commands_succeed {
                run.events.panics_at.set(ends_step).unwrap();
            }
            let result = replace(&run, place()).await;
            assert_eq!(result.exit_code, 1, "at {at}");
            assert_eq!(run.cx.cancel.cause(), Some(EndCause::Panicked));
            assert!(is_done(&run, &engine), "at {at}");
            assert_ended(&run, &result, &[&engine, &other]);
            assert_eq!(result.hosts[&host(1)].outcome, Outcome::Changed);
            assert_eq!(result.hosts[&host(2)].outcome, Outcome::Failed);
            let error = result.error.as_deref().unwrap_or_default();
            assert!(error.starts_with("h2: internal error"), "{error}");
        }
    }
}

/// A bug in the middle of a replacement is named, and the next run finishes what it left.
#[tokio::test]
async fn a_panic_in_a_replacement_is_resumed_by_the_next_run() {
    let mut reached = 0;
    for at in 0.. {
        let engine = engine();
        engine.play().closes = true;
        let bug = Arc::new(Bug {
            at_stream: Some(at),
            ..Bug::default()
        });
        let run = run_on(vec![(engine.clone(), Arc::clone(&bug))]).await;
        let result = replace(&run, place()).await;
        assert_ended(&run, &result, &[&engine]);
        if !bug.is_reached.load(Ordering::SeqCst) {
            assert!(is_done(&run, &engine));
            break;
        }
        reached += 1;
        assert_eq!(run.cx.cancel.cause(), Some(EndCause::Panicked), "at {at}");
        assert_eq!(result.exit_code, 1);
        assert_half_done(&run, &result, &host(1), "internal error");
        finish(&engine).await;
    }
    assert!(reached >= REQUESTS, "{reached}");
}

/// A bug outside of the hosts' steps drops what is under way, and names it.
#[tokio::test]
async fn a_panic_beside_the_steps_names_the_replacement() {
    for at in 1..=REQUESTS {
        let engine = engine();
        let run = run_on_engine(&engine).await;
        let trigger = Arc::new(Notify::new());
        let notified = Arc::clone(&trigger);
        at_request(&engine, at, move || notified.notify_one());
        let steps = [replacement(&run)];
        let mut session = run.begin();
        let ended = Box::pin(in_session(&mut session, async |session| {
            connect(session).await?;
            let bug = async {
                trigger.notified().await;
                panic!("a bug");
            };
            let work = session.work();
            let own = Box::pin(run_steps(&work, &session.hosts[&host(1)], PHASE, &steps));
            drop(futures::join!(own, bug));
            Ok(ExitCode::DONE)
        }));
        let ended = ended.await;
        let result = session.finish(ended);
        assert_eq!(result.exit_code, 1, "at {at}");
        assert_half_done(&run, &result, &host(1), "internal error");
        tokio::time::sleep(Duration::from_millis(5)).await;
        finish(&engine).await;
    }
}
