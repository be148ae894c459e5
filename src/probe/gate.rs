//! Which members a gate asks, and what it must know besides: the one place that joins components to services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{ContainerState, Context, Member, Proof, Verdict, ask, ask_ordinary};
use crate::docker::Engine;
use crate::spec::{ComponentName, HostName, ProbeSpec};
use crate::transport::Session;

/// Limit of one ordinary probe.
const ORDINARY: Duration = Duration::from_secs(5);

/// The hosts of every component, with the way to each.
#[derive(Clone, Default)]
pub struct Groups {
    /// By component.
    pub members: BTreeMap<ComponentName, Vec<Member>>,
    /// Values that components give to their gates, by `component.key`.
    pub settings: BTreeMap<String, String>,
}

impl Groups {
    fn of(&self, component: &str) -> Vec<Member> {
        self.members.get(component).cloned().unwrap_or_default()
    }

    /// What every gate may need. Consul's node names are the hosts' names without dots and colons, which its DNS could not answer.
    fn context(&self, after_change: bool) -> Context {
        let node = |host: &HostName| host.as_str().replace(['.', ':'], "-");
        let hosts = ["consul-server", "consul-client"].into_iter().flat_map(|component| self.of(component));
        Context {
            after_change,
            consul_nodes: hosts.map(|member| (member.host.clone(), node(&member.host))).collect(),
            mesos_masters: self.of("mesos-master"),
            ..Context::default()
        }
    }
}

/// Asks a gate once. A gate of clients asks the servers, and wants the clients in their answers.
pub async fn gate(name: &str, groups: &Groups, proof: Proof, after_change: bool) -> Verdict {
    let mut context = groups.context(after_change);
    let (service, members) = match name {
        "consul" => ("consul", groups.of("consul-server")),
        "consul-client" => {
            context.consul_clients = groups.of("consul-client");
            ("consul", groups.of("consul-server"))
        }
        "mesos" => ("mesos", groups.of("mesos-master")),
        "mesos-slave" => {
            context.slaves = groups.of("mesos-slave");
            ("mesos", groups.of("mesos-master"))
        }
        other => (other, groups.of(other)),
    };
    let mut verdict = ask(service, &members, proof, &context).await;
    name.clone_into(&mut verdict.service);
    verdict
}

/// Asks an ordinary probe once.
///
/// # Errors
/// What is missing, in words.
pub async fn ordinary(
    host: &HostName,
    session: &Arc<dyn Session>,
    engine: &Engine,
    container: &str,
    address: IpAddr,
    spec: &ProbeSpec,
) -> Result<(), String> {
    let member = Member { host: host.clone(), address, member: None, session: Some(Arc::clone(session)) };
    let state = || async {
        let detail = engine.inspect(container).await.map_err(|error| error.to_string())?;
        // Preflight keeps the clocks of operator and hosts within seconds of each other.
        let started = detail.started_at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
        let since_start_s = u64::try_from(jiff::Timestamp::now().as_second() - started).unwrap_or(0);
        let words = format!("exit code {}, {} restarts", detail.exit_code, detail.restart_count);
        Ok(ContainerState { running: detail.running, since_start_s, words })
    };
    ask_ordinary(spec, &member, ORDINARY, state).await.map_err(|error| error.to_string())
}
