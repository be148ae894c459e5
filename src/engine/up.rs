//! `cluster up` from the first connection to the last proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::components::{self, Ended};
use super::connect::{self, Hosts};
use super::context::Context;
use super::failure;
use super::gates::Gates;
use super::ledger::{Ledger, code};
use super::planned::Planned;
use super::prepare::{self, NotLocked};
use super::work::{RECORD, Work};
use super::{images, summary};
use crate::desired::Recorded;
use crate::event::{Event, Failure, Outcome, RunResult};
use crate::observe::DockerStatus;
use crate::plan::{self, FileChange, Observed, Package, Plan, SavedPlan, Step};
use crate::spec::{ComponentName, FileSpec, HostName, Place, Role};

/// A run that ended before its plan: with which exit code.
struct Stop(u8);

/// Connects, observes, checks and plans, and changes nothing.
///
/// # Errors
/// The result of a run that could not come to a plan; everything was already said as events.
pub async fn observe_and_plan(cx: &Context) -> Result<Planned, RunResult> {
    let ledger = ledger(cx);
    let hosts = connect::connect(cx, &ledger).await;
    let outcome = look(cx, &ledger, &hosts).await;
    close(&hosts).await;
    outcome.map_err(|Stop(code)| finish(cx, &ledger, code))
}

/// Brings the cluster up. Everything is said as events; the last one is the returned result.
pub async fn up(cx: &Context) -> RunResult {
    let started = Instant::now();
    let ledger = ledger(cx);
    let hosts = connect::connect(cx, &ledger).await;
    let run = work(cx, &ledger, &hosts, started);
    let outcome = match cx.timeouts.run {
        Some(limit) => tokio::time::timeout(limit.saturating_sub(started.elapsed()), run)
            .await
            .unwrap_or(code::DEADLINE),
        None => run.await,
    };
    close(&hosts).await;
    finish(cx, &ledger, outcome)
}

fn ledger(cx: &Context) -> Ledger {
    let hosts = cx
        .hosts
        .iter()
        .map(|host| (host.name.clone(), host.roles.iter().copied().collect()))
        .collect();
    cx.events.send(Event::RunStarted {
        command: cx.command.clone(),
        cluster: cx.cluster.clone(),
        hosts,
    });
    Ledger::new(
        cx.hosts.iter().map(|host| host.name.clone()),
        Arc::clone(&cx.events),
    )
}

async fn close(hosts: &Hosts) {
    for host in hosts.values() {
        let cost = host.session.cost();
        tracing::info!(host = %host.info.name, ?cost, "connection closed");
    }
    futures::future::join_all(hosts.values().map(|host| host.session.close())).await;
}

fn finish(cx: &Context, ledger: &Ledger, code: u8) -> RunResult {
    let result = ledger.result(code);
    cx.events.send(Event::Result(result.clone()));
    result
}

/// Observes the connected hosts and plans.
async fn look(cx: &Context, ledger: &Ledger, hosts: &Hosts) -> Result<Planned, Stop> {
    majority(cx, ledger, hosts, code::UNREACHED)?;
    let observed = connect::observe(cx, ledger, hosts).await;
    majority(cx, ledger, hosts, code::UNREACHED)?;
    cx.events.send(Event::PhaseStarted {
        phase: "preflight".into(),
    });
    let recorded = plan::recorded(&cx.cluster, &observed, &cx.offline).map_err(|errors| {
        for error in errors {
            let failure = failure::words(
                "preflight",
                "check its identity",
                error.why,
                vec![error.hint],
            );
            ledger.fail(&error.host, Outcome::Failed, failure);
        }
        Stop(code::REFUSED)
    })?;
    let planned = planned(cx, observed, recorded)?;
    check(cx, ledger, &planned)?;
    Ok(planned)
}

fn planned(cx: &Context, observed: Observed, recorded: Recorded) -> Result<Planned, Stop> {
    let mut desired = (cx.build)(&recorded).map_err(|why| {
        cx.events.send(Event::Warning {
            host: None,
            text: format!("the desired state cannot be built: {why}"),
        });
        Stop(code::INTERNAL)
    })?;
    prepare::record_digests(&mut desired, &recorded);
    let plan = plan::diff(&desired, &observed);
    Ok(Planned {
        desired,
        observed,
        plan,
        recorded,
    })
}

/// Below a majority of the masters nothing may be changed, and nothing could be proven.
fn majority(cx: &Context, ledger: &Ledger, hosts: &Hosts, stop: u8) -> Result<(), Stop> {
    let alive = hosts
        .values()
        .filter(|host| host.info.roles.contains(&Role::Master) && ledger.alive(&host.info.name))
        .count();
    let needed = cx.masters / 2 + 1;
    if alive >= needed {
        return Ok(());
    }
    let text = format!(
        "{alive} of {} masters can be used, {needed} are needed: nothing was changed on any host",
        cx.masters
    );
    cx.events.send(Event::Warning { host: None, text });
    Err(Stop(stop))
}

/// Preflight of all hosts together; also that an ensemble is created by all its masters at once.
fn check(cx: &Context, ledger: &Ledger, planned: &Planned) -> Result<(), Stop> {
    let findings = plan::preflight(&planned.desired, &planned.observed, &cx.limits);
    // A host has one failure, with everything that was found.
    let mut fatal: BTreeMap<HostName, Failure> = BTreeMap::new();
    for finding in findings {
        if finding.fatal && cx.scope.contains(&finding.host) {
            let empty = || Failure {
                cause: Vec::new(),
                ..failure::words("preflight", "check the host", "", Vec::new())
            };
            let failure = fatal.entry(finding.host).or_insert_with(empty);
            failure.cause.push(finding.why);
            if !failure.hints.contains(&finding.hint) {
                failure.hints.push(finding.hint);
            }
        } else {
            let text = format!("{} ({})", finding.why, finding.hint);
            cx.events.send(Event::Warning {
                host: Some(finding.host),
                text,
            });
        }
    }
    for (host, failure) in &fatal {
        ledger.fail(host, Outcome::Failed, failure.clone());
    }
    if !fatal.is_empty() {
        return Err(Stop(code::REFUSED));
    }
    let quorum = planned
        .desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .filter(|c| c.quorum);
    let unproven: BTreeSet<&ComponentName> = quorum
        .map(|c| &c.name)
        .filter(|name| !planned.recorded.proven.contains(*name))
        .collect();
    let is_master = |name: &&HostName| {
        cx.host(name)
            .is_some_and(|host| host.roles.contains(&Role::Master))
    };
    if !unproven.is_empty() && !cx.scope.iter().any(|name| is_master(&name)) {
        let names: Vec<&str> = unproven.iter().map(|name| name.as_str()).collect();
        let text = format!(
            "{} never came up on the masters: bring them up first, with toots cluster up; nothing was changed",
            names.join(", ")
        );
        cx.events.send(Event::Warning { host: None, text });
        return Err(Stop(code::REFUSED));
    }
    let masters = planned.observed.keys().filter(is_master).count();
    if !unproven.is_empty() && masters < cx.masters {
        let text = format!(
            "a cluster is created by all its masters together, and {masters} of {} can be used: nothing was changed on any host",
            cx.masters
        );
        cx.events.send(Event::Warning { host: None, text });
        return Err(Stop(code::UNREACHED));
    }
    Ok(())
}

async fn work(cx: &Context, ledger: &Ledger, hosts: &Hosts, started: Instant) -> u8 {
    match attempt(cx, ledger, hosts, started).await {
        Ok(code) | Err(Stop(code)) => code,
    }
}

async fn attempt(
    cx: &Context,
    ledger: &Ledger,
    hosts: &Hosts,
    started: Instant,
) -> Result<u8, Stop> {
    let mut planned = look(cx, ledger, hosts).await?;
    agrees(cx, &planned)?;
    let work = Work {
        cx,
        ledger,
        planned: &planned,
    };
    if work.idle() {
        let gates = Gates {
            cx,
            ledger,
            hosts,
            desired: &planned.desired,
        };
        let ended = components::run(&gates, &work, cx.mode.prove).await;
        let marked = if unrecorded(&planned, &ended).is_empty() {
            Ok(())
        } else {
            record_late(&work, hosts, &ended).await
        };
        summary::say(&gates, &ended, started);
        marked?;
        return Ok(verdict(cx, ledger, &ended));
    }
    if !prepare::prove_pulls(&work, hosts).await {
        return Err(Stop(code::REFUSED));
    }
    prepare::lock(cx, ledger, hosts)
        .await
        .map_err(|why| match why {
            NotLocked::Held => Stop(code::LOCKED),
            NotLocked::Failed => Stop(code::REFUSED),
        })?;
    // What was seen before the lock may be another run's work in progress.
    let observed = connect::observe(cx, ledger, hosts).await;
    majority(cx, ledger, hosts, code::UNREACHED)?;
    planned = self::planned(cx, observed, planned.recorded)?;
    agrees(cx, &planned)?;
    confirmed(cx, &planned.plan)?;
    for host in planned
        .plan
        .hosts
        .iter()
        .filter(|host| cx.scope.contains(&host.host))
    {
        cx.events.send(Event::HostPlanned {
            host: host.host.clone(),
            steps: host.steps().count(),
        });
    }
    prepare::prepare(
        &Work {
            cx,
            ledger,
            planned: &planned,
        },
        hosts,
    )
    .await;
    stopped(cx)?;
    majority(cx, ledger, hosts, code::PARTLY)?;
    planned = pin(cx, ledger, hosts, planned).await?;
    let work = Work {
        cx,
        ledger,
        planned: &planned,
    };
    images::pull(&work, hosts).await;
    stopped(cx)?;
    majority(cx, ledger, hosts, code::PARTLY)?;
    let gates = Gates {
        cx,
        ledger,
        hosts,
        desired: &planned.desired,
    };
    let ended = components::run(&gates, &work, true).await;
    record(&work, hosts, &ended).await;
    for (host, plan) in work.in_scope(hosts) {
        work.all(host, "cleanup", &plan.cleanup).await;
    }
    stopped(cx)?;
    summary::say(&gates, &ended, started);
    Ok(verdict(cx, ledger, &ended))
}

/// Running containers are interrupted only with the operator's consent.
fn confirmed(cx: &Context, plan: &Plan) -> Result<(), Stop> {
    let Some(confirm) = &cx.mode.confirm else {
        return Ok(());
    };
    let hosts = plan
        .hosts
        .iter()
        .filter(|host| cx.scope.contains(&host.host));
    let interrupting = hosts.flat_map(|host| {
        let steps = host
            .steps()
            .filter(|step| matches!(step, Step::Replace { .. } | Step::Remove { .. }));
        steps.map(move |step| format!("{}: {}", host.host, step.title()))
    });
    let interrupting: Vec<String> = interrupting.collect();
    if interrupting.is_empty() || confirm(&interrupting) {
        return Ok(());
    }
    cx.events.send(Event::Warning {
        host: None,
        text: "not confirmed: nothing was changed on any host".into(),
    });
    Err(Stop(code::REFUSED))
}

fn stopped(cx: &Context) -> Result<(), Stop> {
    if cx.cancel.is_cancelled() {
        Err(Stop(code::INTERRUPTED))
    } else {
        Ok(())
    }
}

/// With a kept plan: that it is still what would be done.
fn agrees(cx: &Context, planned: &Planned) -> Result<(), Stop> {
    let Some(saved) = &cx.mode.saved else {
        return Ok(());
    };
    let now = SavedPlan::of(cx.cluster.as_str(), &cx.mode.inventory_text, &planned.plan);
    saved.check(&now).map_err(|error| {
        cx.events.send(Event::Warning {
            host: None,
            text: format!("failed to {error}: nothing was changed"),
        });
        if let plan::SavedPlanError::Hosts { differences } = &error {
            for text in differences {
                cx.events.send(Event::Warning {
                    host: None,
                    text: text.clone(),
                });
            }
        }
        Stop(code::REFUSED)
    })
}

/// Pins what is not pinned yet, now that the hosts know the registry, and plans the rest anew.
async fn pin(
    cx: &Context,
    ledger: &Ledger,
    hosts: &Hosts,
    mut planned: Planned,
) -> Result<Planned, Stop> {
    let wanted = prepare::unpinned(&planned.desired);
    let installed = planned.plan.hosts.iter().any(|host| {
        host.prepare.iter().any(|step| {
            matches!(
                step,
                Step::Install {
                    package: Package::Docker,
                    ..
                }
            )
        })
    });
    if wanted.is_empty() && !installed {
        return Ok(planned);
    }
    let observed = connect::observe(cx, ledger, hosts).await;
    if !wanted.is_empty() && prepare::any_engine(&observed) {
        let (found, missing) = prepare::resolve(cx, ledger, hosts, wanted).await;
        for (image, why) in missing {
            let text = format!(
                "{image} could not be pinned to a digest and is used as it is tagged: {why}"
            );
            cx.events.send(Event::Warning { host: None, text });
        }
        planned.recorded.digests.extend(found);
    }
    let silent: Vec<_> = observed
        .iter()
        .filter(|(_, status)| !matches!(status.docker, DockerStatus::Up { .. }))
        .map(|(host, _)| host.clone())
        .collect();
    for host in silent
        .into_iter()
        .filter(|host| cx.scope.contains(host) && ledger.alive(host))
    {
        let failure = failure::words(
            "prepare",
            "ask the docker engine",
            "it does not answer after its installation",
            Vec::new(),
        );
        ledger.fail(&host, Outcome::Failed, failure);
    }
    let planned = self::planned(cx, observed, planned.recorded)?;
    // The record of digests belongs to the preparation; everything else of it is already done.
    prepare::prepare(
        &Work {
            cx,
            ledger,
            planned: &planned,
        },
        hosts,
    )
    .await;
    Ok(planned)
}

/// Components proven now that no master has recorded.
fn unrecorded(planned: &Planned, ended: &Ended) -> Vec<ComponentName> {
    ended
        .verdicts
        .keys()
        .filter(|name| !planned.recorded.proven.contains(*name))
        .cloned()
        .collect()
}

/// Writes down which services were proven: from then on no member creates an ensemble again.
async fn record(work: &Work<'_>, hosts: &Hosts, ended: &Ended) {
    let files: Vec<FileChange> = unrecorded(work.planned, ended)
        .into_iter()
        .map(|name| FileChange {
            file: FileSpec {
                path: format!("/etc/toots/proven/{name}"),
                mode: 0o644,
                uid: 0,
                gid: 0,
                content: format!("{}\n", jiff::Timestamp::now()).into_bytes(),
                secret: false,
                place: Place::Always,
            },
            reason: "new".into(),
            diff: None,
        })
        .collect();
    if files.is_empty() {
        return;
    }
    let step = Step::Place {
        dirs: Vec::new(),
        files,
        hosts_entries: None,
    };
    let masters = hosts.values().filter(|host| {
        host.info.roles.contains(&Role::Master) && work.ledger.alive(&host.info.name)
    });
    futures::future::join_all(
        masters.map(|host| work.all(host, RECORD, std::slice::from_ref(&step))),
    )
    .await;
}

/// A run that was cut off after its last change left everything in place but this record.
async fn record_late(work: &Work<'_>, hosts: &Hosts, ended: &Ended) -> Result<(), Stop> {
    prepare::lock(work.cx, work.ledger, hosts)
        .await
        .map_err(|_| Stop(code::LOCKED))?;
    record(work, hosts, ended).await;
    Ok(())
}

fn verdict(cx: &Context, ledger: &Ledger, ended: &Ended) -> u8 {
    if cx.cancel.is_cancelled() {
        return code::INTERRUPTED;
    }
    if ended.refused && !ledger.any_changed() {
        return code::REFUSED;
    }
    if !ended.failed.is_empty() {
        return code::GATE;
    }
    if ledger.any_failed() || !ended.skipped.is_empty() {
        return code::PARTLY;
    }
    code::DONE
}
