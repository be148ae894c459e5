//! Whole runs without a process: a command line, a machine and hosts in memory.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};
use toots::cli::{self, Env};
use toots::env::Signal;
use toots::env::memory::MemoryMachine;
use toots::host::{Dialler, HostConnector, HostSession};
use toots::transport::{Ask, HostSettings, SshOptions, TransportError};

const INVENTORY: &str = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n";

/// How long a host takes to refuse; `None`: it never answers.
#[derive(Clone, Copy)]
struct Refusing(Option<Duration>);

impl Dialler for Refusing {
    fn connector(&self, _: SshOptions, _: Arc<dyn Ask>) -> Arc<dyn HostConnector> {
        Arc::new(*self)
    }
}

#[async_trait]
impl HostConnector for Refusing {
    async fn connect(&self, host: &HostSettings) -> Result<Arc<dyn HostSession>, TransportError> {
        match self.0 {
            Some(after) => sleep(after).await,
            None => std::future::pending().await,
        }
        Err(TransportError::Unreachable {
            address: format!("{}:22", host.dial),
            why: "connection refused".into(),
        })
    }
}

/// What a run leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    exit: u8,
    output: String,
    error: String,
    files: BTreeMap<PathBuf, Vec<u8>>,
    took: Duration,
}

/// A machine with an inventory, and hosts that refuse.
struct Life {
    machine: MemoryMachine,
    hosts: Refusing,
}

impl Life {
    fn new(seed: u64, hosts: Refusing) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let machine = MemoryMachine::new(seed, now);
        machine.files.add("inventory.toml", INVENTORY);
        Self { machine, hosts }
    }

    fn refused_after(seconds: u64) -> Self {
        Self::new(1, Refusing(Some(Duration::from_secs(seconds))))
    }

    /// Begins a run; its exit code, or `None` when it is killed.
    fn start(&self, line: &str) -> JoinHandle<Option<u8>> {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let env = Env {
            machine: self.machine.machine(),
            dialler: Arc::new(self.hosts),
        };
        spawn_local(self.machine.tasks.contain(cli::run(argv, env)))
    }

    async fn run(&self, line: &str) -> Trace {
        let began = Instant::now();
        let exit = self.start(line).await.unwrap().unwrap();
        // The one that listens to signals lives as long as its process.
        assert!(self.machine.tasks.count() <= 1, "{line}");
        Trace {
            exit,
            output: self.machine.terminal.output(),
            error: self.machine.terminal.error(),
            files: self.machine.files.contents(),
            took: began.elapsed(),
        }
    }
}

fn only_the_inventory() -> BTreeMap<PathBuf, Vec<u8>> {
    [("/work/inventory.toml".into(), INVENTORY.into())].into()
}

#[tokio::test(start_paused = true)]
async fn an_inventory_is_checked_without_a_process() {
    LocalSet::new()
        .run_until(async {
            let checked = Life::refused_after(1).run("toots inventory check").await;
            assert_eq!((checked.exit, checked.error.as_str()), (0, ""));
            let valid =
                "inventory.toml is valid: cluster dc1, 3 hosts (3 masters, 0 slaves, 0 edges), ";
            assert!(checked.output.starts_with(valid), "{}", checked.output);
            assert_eq!(checked.files, only_the_inventory());
            assert_eq!(checked.took, Duration::ZERO);

            let life = Life::refused_after(1);
            life.machine.files.add("wrong.toml", "slave = []\n");
            let wrong = life.run("toots inventory check -i wrong.toml").await;
            assert_eq!((wrong.exit, wrong.output.as_str()), (2, ""));
            assert!(wrong.error.starts_with("wrong.toml:"), "{}", wrong.error);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn variables_come_from_the_run() {
    LocalSet::new()
        .run_until(async {
            let mut life = Life::refused_after(1);
            life.machine.files.add("/clusters/dc2.toml", INVENTORY);
            let variables = [("TOOTS_INVENTORY", "/clusters/dc2.toml")];
            life.machine.variables = variables.into_iter().collect();
            let checked = life.run("toots inventory check").await;
            assert!(checked.output.starts_with("/clusters/dc2.toml is valid"));
            let life = Life::refused_after(1);
            let line = "toots inventory check -i /clusters/absent.toml --output";
            let usage = life.run(line).await;
            assert_eq!(usage.exit, 2, "{}", usage.error);
            assert!(usage.error.starts_with("error: "), "{}", usage.error);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn files_are_written_where_the_run_says() {
    LocalSet::new()
        .run_until(async {
            let life = Life::refused_after(1);
            let line = "toots init --masters 10.0.0.1,10.0.0.2,10.0.0.3 --out new.toml";
            let written = life.run(line).await;
            assert_eq!((written.exit, written.output.as_str()), (0, ""));
            assert!(written.error.starts_with("wrote new.toml; next:\n"));
            let new = &written.files[&PathBuf::from("/work/new.toml")];
            assert!(String::from_utf8_lossy(new).contains("10.0.0.2"));
            assert_eq!(written.files.len(), 2);
            let again = life.run(line).await;
            assert_eq!((again.exit, &again.files), (2, &written.files));

            let life = Life::refused_after(1);
            life.machine.terminal.resize(100, 30);
            let nothing = life.run("toots init --out asked.toml").await;
            assert!(
                nothing
                    .error
                    .ends_with(": error: the questions were not answered; nothing was written\n")
            );
            assert_eq!((nothing.exit, nothing.files), (130, only_the_inventory()));
            life.machine
                .terminal
                .type_text(&format!("10.0.0.1 10.0.0.2 10.0.0.3\n{}", "\n".repeat(15)));
            let asked = life.run("toots init --out asked.toml").await;
            assert_eq!(asked.exit, 0, "{}", asked.error);
            assert!(asked.files.contains_key(&PathBuf::from("/work/asked.toml")));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn hosts_that_refuse_end_a_plan_in_virtual_time() {
    LocalSet::new()
        .run_until(async {
            for (arguments, has_text) in [("", true), (" --output json", false)] {
                let life = Life::refused_after(20);
                let planned = life.run(&format!("toots cluster plan{arguments}")).await;
                assert_eq!(planned.exit, 3, "{planned:?}");
                assert_eq!(planned.took, Duration::from_secs(20));
                assert_eq!(planned.files, only_the_inventory());
                assert_eq!(planned.error.is_empty(), !has_text);
                let shown = planned.output.clone() + &planned.error;
                for why in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "connection refused"] {
                    assert!(shown.contains(why), "{why}\n{shown}");
                }
                let last = planned.output.lines().last().unwrap();
                assert_eq!(last.contains("\"exit_code\":3"), !has_text, "{last}");
                let again = Life::refused_after(20);
                let again = again.run(&format!("toots cluster plan{arguments}")).await;
                assert_eq!(again, planned, "a seed is lived twice");
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_a_run_whose_hosts_never_answer() {
    LocalSet::new()
        .run_until(async {
            let life = Life::new(1, Refusing(None));
            let plan = life.start("toots cluster plan");
            sleep(Duration::from_secs(5)).await;
            assert!(life.machine.signals.send(Signal::Interrupt));
            assert_eq!(plan.await.unwrap(), Some(130));
            let error = life.machine.terminal.error();
            assert!(error.contains("interrupted"), "{error}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_stopped_continued_and_killed() {
    LocalSet::new()
        .run_until(async {
            let life = Life::refused_after(20);
            let began = Instant::now();
            let plan = life.start("toots cluster plan");
            sleep(Duration::from_secs(5)).await;
            life.machine.tasks.hold();
            sleep(Duration::from_secs(3600)).await;
            life.machine.tasks.resume();
            assert_eq!(plan.await.unwrap(), Some(3));
            assert_eq!(began.elapsed(), Duration::from_secs(3605));

            let life = Life::refused_after(20);
            let plan = life.start("toots cluster plan");
            sleep(Duration::from_secs(5)).await;
            let said = life.machine.terminal.error();
            life.machine.tasks.end();
            assert_eq!((plan.await.unwrap(), life.machine.tasks.count()), (None, 0));
            sleep(Duration::from_secs(60)).await;
            assert_eq!(
                life.machine.terminal.error(),
                said,
                "it says nothing any more"
            );
        })
        .await;
}
