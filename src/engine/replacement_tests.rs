//! Replacements of a container that every cause to end meets at every request, and the run after each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::ending::{Cancel, EndCause, run_to_end};
use super::fake_engine::{FakeEngine, PlayedContainer, Stored};
use super::test_run::{Run, host};
use crate::observe::DockerStatus;
use crate::plan::{self, Step};
use crate::spec::{ContainerSpec, HostName};
use crate::transport::fake::FakeSession;
use crate::transport::{BoxStream, Cost, Dial, Exec, ExecOutput, Session, Target, TransportError};

const PHASE: &str = "consul";
const NAME: &str = "toots-consul";

/// The requests of an undisturbed replacement: what an earlier one left is stopped and removed, which
/// is absent here, then the container is stopped, renamed, created, started, and the former one removed.
const REQUESTS: usize = 7;

/// A host on which toots panics: in a command once it is asked to, or at the n-th stream.
struct Faulty {
    inner: FakeSession,
    bug: Arc<Bug>,
    streams: AtomicUsize,
}

#[derive(Default)]
struct Bug {
    /// Commands wait, and panic when this is notified.
    in_command: Option<Notify>,
    is_reached: AtomicBool,
    at_stream: Option<usize>,
}

#[async_trait]
impl Session for Faulty {
    fn host(&self) -> &HostName {
        self.inner.host()
    }

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        if let Some(trigger) = &self.bug.in_command {
            trigger.notified().await;
            panic!("a bug");
        }
        self.inner.exec(exec).await
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        let number = self.streams.fetch_add(1, Ordering::SeqCst);
        if self.bug.at_stream == Some(number) {
            self.bug.is_reached.store(true, Ordering::SeqCst);
            panic!("a bug");
        }
        self.inner.open(target).await
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.inner.settle_privilege().await
    }

    fn closed(&self) -> bool {
        self.inner.closed()
    }

    fn cost(&self) -> Cost {
        self.inner.cost()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// The hosts h1, h2, … with their bugs.
struct Dialed(Vec<(FakeEngine, Arc<Bug>)>);

#[async_trait]
impl Dial for Dialed {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn Session>, TransportError> {
        let n: usize = host.as_str()[1..].parse().unwrap();
        let (engine, bug) = &self.0[n - 1];
        Ok(Arc::new(Faulty {
            inner: engine.session(host.clone()),
            bug: Arc::clone(bug),
            streams: AtomicUsize::default(),
        }))
    }
}

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

async fn run_on(hosts: Vec<(FakeEngine, Arc<Bug>)>) -> Run {
    let count = hosts.len();
    Run::dialed(Arc::new(Dialed(hosts)), count, None).await
}

fn spec(run: &Run) -> &ContainerSpec {
    &run.planned.desired.hosts[0].components[0].container
}

fn replacement(run: &Run) -> Step {
    Step::Replace {
        spec: Box::new(spec(run).clone()),
        reason: "image".into(),
    }
}

/// Replaces the container of h1, while h2, where there is one, runs a command. `None`: given up.
async fn replace(run: &Run) -> Option<()> {
    let work = run.work();
    let place = Step::Place {
        dirs: Vec::new(),
        files: Vec::new(),
        hosts_entries: None,
    };
    let (steps, other_steps) = ([replacement(run)], [place]);
    // On the heap: the stack of a test is small.
    let own = Box::pin(work.run_steps(&run.hosts[&host(1)], PHASE, &steps));
    let other = Box::pin(async {
        if let Some(other) = run.hosts.get(&host(2)) {
            drop(work.run_steps(other, PHASE, &other_steps).await);
        }
    });
    let both = async { drop(futures::join!(own, other)) };
    let started = tokio::time::Instant::now();
    Box::pin(run_to_end(&run.cx, &run.ledger, started, both)).await
}

/// The container of the new specification runs, alone.
fn is_done(run: &Run, engine: &FakeEngine) -> bool {
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
    engine.play().on_request = None;
    let run = run_on(vec![(engine.clone(), Arc::default())]).await;
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
    Box::pin(work.run_steps(h1, PHASE, &steps)).await.unwrap();
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

#[tokio::test]
async fn an_undisturbed_replacement_makes_these_requests() {
    let engine = engine();
    let run = run_on(vec![(engine.clone(), Arc::default())]).await;
    assert_eq!(replace(&run).await, Some(()));
    assert!(is_done(&run, &engine));
    assert_eq!(engine.play().requests, REQUESTS);
}

#[tokio::test]
async fn a_request_to_end_finishes_the_replacement() {
    let causes = [
        EndCause::Interrupted,
        EndCause::Terminated,
        EndCause::HungUp,
        EndCause::Deadline,
    ];
    for (cause, at) in causes
        .into_iter()
        .flat_map(|c| (1..=REQUESTS).map(move |at| (c, at)))
    {
        let engine = engine();
        let run = run_on(vec![(engine.clone(), Arc::default())]).await;
        let cancel: Cancel = run.cx.cancel.clone();
        at_request(&engine, at, move || {
            cancel.cancel(cause);
        });
        assert_eq!(replace(&run).await, Some(()), "{cause:?} at {at}");
        assert!(is_done(&run, &engine), "{cause:?} at {at}");
        assert_eq!(run.cx.cancel.cause(), Some(cause));
        // Nothing new begins.
        let h1 = &run.hosts[&host(1)];
        let (work, steps) = (run.work(), [replacement(&run)]);
        let next = Box::pin(work.run_steps(h1, PHASE, &steps)).await;
        assert!(next.is_err());
        assert_eq!(engine.play().requests, REQUESTS);
    }
}

#[tokio::test]
async fn without_the_locks_nothing_more_is_sent() {
    for at in 1..=REQUESTS {
        let engine = engine();
        let run = run_on(vec![(engine.clone(), Arc::default())]).await;
        let cancel = run.cx.cancel.clone();
        at_request(&engine, at, move || {
            cancel.cancel(EndCause::LocksLost);
        });
        assert_eq!(replace(&run).await, None);
        // What the Engine has received it carries out.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(engine.play().requests, at);
        let failures = run.failures();
        let [(failed, why)] = failures.as_slice() else {
            panic!("at {at}: {failures:?}");
        };
        assert!(
            *failed == host(1) && why.contains("its result is unknown"),
            "at {at}: {why}"
        );
        finish(&engine).await;
    }
}

/// A bug on one host ends the run, and another host's replacement is finished first.
#[tokio::test]
async fn a_panic_elsewhere_finishes_the_replacement() {
    for at in 1..=REQUESTS {
        let (engine, other) = (engine(), FakeEngine::with(false, Vec::new()));
        let bug = Arc::new(Bug {
            in_command: Some(Notify::new()),
            ..Bug::default()
        });
        let trigger = Arc::clone(&bug);
        at_request(&engine, at, move || {
            trigger.in_command.as_ref().unwrap().notify_one();
        });
        let run = run_on(vec![(engine.clone(), Arc::default()), (other, bug)]).await;
        assert_eq!(replace(&run).await, Some(()), "at {at}");
        assert!(is_done(&run, &engine), "at {at}");
        let cause = run.cx.cancel.cause().unwrap();
        assert_eq!(cause, EndCause::Panicked);
        let result = run.ledger.result(cause.exit_code(true));
        assert_eq!(result.exit_code, 1);
        let failures = run.failures();
        let [(failed, why)] = failures.as_slice() else {
            panic!("at {at}: {failures:?}");
        };
        assert!(
            *failed == host(2) && why.contains("internal error"),
            "at {at}: {why}"
        );
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
        assert_eq!(replace(&run).await, Some(()));
        if !bug.is_reached.load(Ordering::SeqCst) {
            assert!(is_done(&run, &engine));
            break;
        }
        reached += 1;
        assert_eq!(run.cx.cancel.cause(), Some(EndCause::Panicked), "at {at}");
        let failures = run.failures();
        let [(failed, why)] = failures.as_slice() else {
            panic!("at {at}: {failures:?}");
        };
        assert!(
            *failed == host(1) && why.contains("its result is unknown"),
            "at {at}: {why}"
        );
        engine.play().closes = false;
        finish(&engine).await;
    }
    assert!(reached >= REQUESTS, "{reached}");
}
