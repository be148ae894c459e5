//! A run on Engines that tests of this room play. Compiled for tests only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use async_trait::async_trait;

use super::connect::connect_hosts;
use super::fake_engine::FakeEngine;
use super::host_run::Hosts;
use super::images;
use super::ledger::Ledger;
use super::planned::Planned;
use super::planning::build_plan;
use super::run::Run;
use super::run_context::{HostInfo, RunContext, RunOptions, RunTimeouts};
use super::work::Work;
use crate::bundle::Bundle;
use crate::desired::{ComponentCommon, ComponentDesired, Desired, HostDesired, Recorded};
use crate::docker::{EngineInfo, EngineStatus};
use crate::env::{MachineFiles, Randomness, WallClock};
use crate::event::{Event, EventSink};
use crate::host::{Dial, HostSession, TransportError};
use crate::observe::{DockerStatus, HostStatus};
use crate::plan::{HostPlan, Observed, Step};
use crate::spec::{
    ClusterName, ComponentName, ComponentOrder, ContainerSpec, HostName, ImageRef, NodeRecord,
    Recipe, Versions,
};

pub(super) const IMAGE: &str = "registry.example/consul:1.22";

#[derive(Default)]
pub(super) struct RecordedEvents {
    events: Mutex<Vec<Event>>,
    /// Events at which the receiver panics.
    pub panics_at: OnceLock<fn(&Event) -> bool>,
}

impl RecordedEvents {
    pub fn list(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap()
    }
}

impl EventSink for RecordedEvents {
    fn send(&self, event: Event) {
        let panics = self.panics_at.get().is_some_and(|is_at| is_at(&event));
        self.list().push(event);
        assert!(!panics, "a bug");
    }
}

/// Opens a new session to the same Engine each time.
struct Dialed(Vec<FakeEngine>);

#[async_trait]
impl Dial for Dialed {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        let n: usize = host.as_str()[1..].parse().unwrap();
        Ok(Arc::new(self.0[n - 1].session(host.clone())))
    }
}

pub(super) fn host(n: usize) -> HostName {
    HostName::new(format!("h{n}")).unwrap()
}

pub(super) fn recipe() -> Recipe {
    Recipe {
        name: "mesos".into(),
        base: ImageRef("debian:13-slim".into()),
        arguments: BTreeMap::new(),
        files: BTreeMap::new(),
        local_files: BTreeMap::new(),
    }
}

/// A run on these Engines: the hosts h1, h2, …
pub(super) struct TestRun {
    pub cx: RunContext,
    pub ledger: Arc<Ledger>,
    pub hosts: Hosts,
    pub planned: Planned,
    pub events: Arc<RecordedEvents>,
}

impl TestRun {
    pub async fn on(engines: &[FakeEngine], bundle: Option<Bundle>) -> Self {
        Self::dialed(Arc::new(Dialed(engines.to_vec())), engines.len(), bundle).await
    }

    /// A run on so many hosts.
    pub async fn dialed(dial: Arc<dyn Dial>, hosts: usize, bundle: Option<Bundle>) -> Self {
        let names: Vec<HostName> = (1..=hosts).map(host).collect();
        let events = Arc::new(RecordedEvents::default());
        let cx = RunContext {
            command: "cluster up".into(),
            cluster: ClusterName::new("dc1").unwrap(),
            hosts: names
                .iter()
                .map(|name| HostInfo {
                    name: name.clone(),
                    address: [127, 0, 0, 1].into(),
                    roles: BTreeSet::new(),
                })
                .collect(),
            scope: names.iter().cloned().collect(),
            masters: 0,
            offline: desired(&Recorded::default()),
            build: Box::new(|recorded| Ok(desired(recorded))),
            dial,
            clock: WallClock::system(),
            random: Randomness::system(),
            files: Arc::new(MachineFiles),
            events: Arc::clone(&events) as Arc<dyn EventSink>,
            limits: crate::plan::Limits::default(),
            timeouts: RunTimeouts::default(),
            mode: RunOptions {
                bundle: bundle.map(Arc::new),
                ..RunOptions::default()
            },
            registry: None,
            owner: "me@here".into(),
            run_id: "1".into(),
            cancel: crate::engine::Cancel::default(),
            domain: "consul".into(),
            vip: None,
            settings: BTreeMap::new(),
        };
        let ledger = Ledger::new(names.iter().cloned(), Arc::clone(&cx.events));
        let ledger = Arc::new(ledger);
        let hosts = connect_hosts(&cx, &ledger).await;
        let observed = names.iter().map(|name| {
            let mut status = HostStatus {
                docker: DockerStatus::Up {
                    engine: EngineStatus {
                        info: Some(EngineInfo::default()),
                        ..EngineStatus::default()
                    },
                    containers: Vec::new(),
                    images: Vec::new(),
                },
                ..HostStatus::default()
            };
            status.facts.arch = "x86_64".into();
            (name.clone(), status)
        });
        let mut run = Self {
            planned: Planned::nothing(cx.cluster.clone()),
            cx,
            ledger,
            hosts,
            events,
        };
        run.plan(observed.collect(), Recorded::default());
        run
    }

    /// Plans from what was observed and recorded.
    pub fn plan(&mut self, observed: Observed, recorded: Recorded) {
        let mut run = self.begin();
        run.planned.observed = observed;
        run.planned.recorded = recorded;
        build_plan(&mut run).ok().unwrap();
        self.planned = run.planned;
    }

    /// A run of its own on the same hosts, before its first connection.
    pub fn begin(&self) -> Run<'_> {
        let mut run = Run::with(&self.cx, Arc::clone(&self.ledger));
        run.planned = self.planned.clone();
        run
    }

    /// Runs steps of the phase `images`, each with its host; returns what failed.
    pub async fn bring(&mut self, steps: Vec<(usize, Step)>) -> Vec<(HostName, String)> {
        self.planned.plan.hosts = Vec::new();
        for n in 1..=self.cx.hosts.len() {
            let own = steps.iter().filter(|(host, _)| *host == n);
            self.planned.plan.hosts.push(HostPlan {
                host: host(n),
                roles: Vec::new(),
                prepare: Vec::new(),
                images: own.map(|(_, step)| step.clone()).collect(),
                components: BTreeMap::new(),
                cleanup: Vec::new(),
                records: Vec::new(),
            });
        }
        images::bring_all(&self.work()).await;
        self.failures()
    }

    /// The hosts that failed, and why.
    pub fn failures(&self) -> Vec<(HostName, String)> {
        let events = self.events.list();
        let failures = events.iter().filter_map(|event| match event {
            Event::HostFailed { host, failure, .. } => {
                Some((host.clone(), failure.cause.join(": ")))
            }
            _ => None,
        });
        failures.collect()
    }

    pub fn work(&self) -> Work<'_> {
        Work {
            cx: &self.cx,
            ledger: &self.ledger,
            hosts: &self.hosts,
            planned: &self.planned,
        }
    }

    pub fn warnings(&self) -> Vec<String> {
        let events = self.events.list();
        let warnings = events.iter().filter_map(|event| match event {
            Event::Warning { text, .. } => Some(text.clone()),
            _ => None,
        });
        warnings.collect()
    }
}

/// The desired state: a container of the image on h1.
pub(super) fn desired(recorded: &Recorded) -> Desired {
    let image = ImageRef(IMAGE.into());
    let name = ComponentName::new("consul").unwrap();
    let digest = recorded.digests.get(&image).cloned();
    let container = ContainerSpec::bare(name.clone(), image, digest);
    let common = ComponentCommon {
        name,
        quorum: false,
        gate: None,
        extra_images: Vec::new(),
        dirs: Vec::new(),
        units: Vec::new(),
        reload: BTreeMap::new(),
        ports: Vec::new(),
        probes: Vec::new(),
        requires: Vec::new(),
        versions: Versions::default(),
        web: None,
        data_dir: None,
        rejoin_dirs: Vec::new(),
        empty_vote_command: None,
    };
    let host = HostDesired {
        name: host(1),
        address: [127, 0, 0, 1].into(),
        roles: BTreeSet::new(),
        node: NodeRecord {
            format: NodeRecord::FORMAT,
            cluster: ClusterName::new("dc1").unwrap(),
            cluster_id: "0123".into(),
            node: host(1),
            member: None,
        },
        dirs: Vec::new(),
        files: Vec::new(),
        hosts_entries: Vec::new(),
        units: Vec::new(),
        nfs: None,
        listen_all: false,
        components: vec![ComponentDesired {
            common: Arc::new(common),
            container,
            files: Vec::new(),
        }],
    };
    Desired {
        cluster: ClusterName::new("dc1").unwrap(),
        cluster_id: "0123".into(),
        hosts: vec![host],
        order: ComponentOrder::default(),
        secrets: BTreeMap::new(),
        recipes: BTreeMap::new(),
        newer_defaults: Vec::new(),
        spread_images: false,
        bundle: None,
    }
}
