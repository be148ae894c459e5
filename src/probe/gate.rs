//! Which members a gate asks, and what it must know besides: the one place that joins components to services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::canary::{self, CanaryImage};
use super::{ContainerState, Context, Member, Proof, Verdict, ask, ask_ordinary, vip};
use crate::docker::Engine;
use crate::spec::{ClusterName, ComponentName, HostName, ImageRef, ProbeSpec, Secret};
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
    /// Generated secrets, for interfaces behind a login.
    pub secrets: BTreeMap<String, Secret>,
    /// The cluster's name.
    pub cluster: Option<ClusterName>,
    /// Domain of Consul's DNS.
    pub domain: String,
    /// The address that one edge holds.
    pub vip: Option<IpAddr>,
    /// Further images of components, by component.
    pub images: BTreeMap<ComponentName, Vec<(ImageRef, Option<String>)>>,
}

impl Groups {
    fn of(&self, component: &str) -> Vec<Member> {
        self.members.get(component).cloned().unwrap_or_default()
    }

    fn canary(&self) -> Option<CanaryImage> {
        let (image, digest) = self.images.get("registrator")?.first()?.clone();
        let port = self.settings.get("registrator.canary_port")?.parse().ok()?;
        Some(CanaryImage {
            cluster: self.cluster.clone()?,
            image,
            digest,
            port,
        })
    }

    /// What every gate may need. Consul's node names are the hosts' names without dots and colons, which its DNS could not answer.
    fn context(&self, after_change: bool) -> Context {
        let node = |host: &HostName| host.as_str().replace(['.', ':'], "-");
        let hosts = ["consul-server", "consul-client"]
            .into_iter()
            .flat_map(|component| self.of(component));
        Context {
            after_change,
            consul_nodes: hosts
                .map(|member| (member.host.clone(), node(&member.host)))
                .collect(),
            mesos_masters: self.of("mesos-master"),
            haproxy_login: self
                .secrets
                .get("haproxy_stats")
                .map(|password| ("admin".to_owned(), password.clone())),
            haproxy_state: self.settings.get("haproxy.state").cloned(),
            ..Context::default()
        }
    }
}

/// Asks a gate once. A gate of clients asks the servers, and wants the clients in their answers.
pub async fn gate(name: &str, groups: &Groups, proof: Proof, after_change: bool) -> Verdict {
    let mut context = groups.context(after_change);
    match name {
        "consul" => ask("consul", &groups.of("consul-server"), proof, &context).await,
        "consul-client" => {
            context.consul_clients = groups.of("consul-client");
            // The servers' own gate has waited for what lags after a change.
            context.after_change = false;
            ask("consul", &groups.of("consul-server"), Proof::Read, &context).await
        }
        "mesos" => ask("mesos", &groups.of("mesos-master"), proof, &context).await,
        "mesos-slave" => {
            context.slaves = groups.of("mesos-slave");
            ask("mesos", &groups.of("mesos-master"), proof, &context).await
        }
        "vip" => match groups.vip {
            Some(vip) => vip::ask(vip, &groups.of("keepalived"), context.deadline).await,
            None => ask(name, &[], proof, &context).await,
        },
        "registrator" => registrators(groups, proof, &context).await,
        "haproxy" if proof == Proof::Write => {
            canary::edges(&groups.of("haproxy"), &context, &groups.domain).await
        }
        other => ask(other, &groups.of(other), proof, &context).await,
    }
}

/// Registrator has no interface: without a canary only its containers can be looked at, which the plan has done.
async fn registrators(groups: &Groups, proof: Proof, context: &Context) -> Verdict {
    let members = groups.of("registrator");
    match groups.canary() {
        Some(canary) if proof == Proof::Write => {
            canary::registrator(&members, &groups.of("consul-server"), context, &canary).await
        }
        _ => Verdict {
            service: "registrator".into(),
            healthy: members.iter().any(|member| member.session.is_some()),
            members: members.len(),
            membership: members.len().to_string(),
            proof: "its containers run".into(),
            ..Verdict::default()
        },
    }
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
    let member = Member {
        host: host.clone(),
        address,
        member: None,
        session: Some(Arc::clone(session)),
    };
    let state = || async {
        let detail = engine
            .inspect(container)
            .await
            .map_err(|error| error.to_string())?;
        // Preflight keeps the clocks of operator and hosts within seconds of each other.
        let started = detail
            .started_at
            .parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second);
        let since_start_s =
            u64::try_from(jiff::Timestamp::now().as_second() - started).unwrap_or(0);
        let words = format!(
            "exit code {}, {} restarts",
            detail.exit_code, detail.restart_count
        );
        Ok(ContainerState {
            running: detail.running,
            since_start_s,
            words,
        })
    };
    ask_ordinary(spec, &member, ORDINARY, state)
        .await
        .map_err(|error| error.to_string())
}
