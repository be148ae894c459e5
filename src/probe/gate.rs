//! The members and inputs of each gate: the only place that maps components to services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::answer::{Answer, ProbeError};
use super::canary::{self, CanaryImage};
use super::{ContainerState, Member, ProbeContext, Proof, Verdict, ask, ask_ordinary, vip};
use crate::docker::Engine;
use crate::env::{Randomness, WallClock};
use crate::spec::{ClusterName, ComponentName, HostName, ImageDigest, ImageRef, ProbeSpec, Secret};

/// Limit of one ordinary probe.
const ORDINARY_PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The hosts of every component, with their sessions.
#[derive(Clone, Default)]
pub struct Groups {
    /// Every host of the inventory with its address, whether the run contacts it or not.
    pub hosts: BTreeMap<HostName, IpAddr>,
    /// Members by component.
    pub members: BTreeMap<ComponentName, Vec<Member>>,
    /// Values that components pass to their gates, by `component.key`.
    pub settings: BTreeMap<String, String>,
    /// Generated secrets, for interfaces with a login.
    pub secrets: BTreeMap<String, Secret>,
    /// The cluster's name.
    pub cluster: Option<ClusterName>,
    /// Domain of Consul's DNS.
    pub domain: String,
    /// The address that one edge holds.
    pub vip: Option<IpAddr>,
    /// Additional images of components, by component.
    pub images: BTreeMap<ComponentName, Vec<(ImageRef, Option<ImageDigest>)>>,
    /// Names what is written for a proof.
    pub random: Randomness,
}

impl Groups {
    fn members_of(&self, component: &str) -> Vec<Member> {
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

    /// What any gate may need. Consul's node names are the host names without dots and colons,
    /// which its DNS could not answer.
    fn context(&self, after_change: bool) -> ProbeContext {
        let node = |host: &HostName| host.as_str().replace(['.', ':'], "-");
        let hosts = ["consul-server", "consul-client"]
            .into_iter()
            .flat_map(|component| self.members_of(component));
        ProbeContext {
            after_change,
            inventory_nodes: self.hosts.keys().map(node).collect(),
            consul_nodes: hosts
                .map(|member| (member.host.clone(), node(&member.host)))
                .collect(),
            mesos_masters: self.members_of("mesos-master"),
            haproxy_login: self
                .secrets
                .get("haproxy_stats")
                .map(|password| ("admin".to_owned(), password.clone())),
            haproxy_state: self.settings.get("haproxy.state").cloned(),
            random: self.random.clone(),
            ..ProbeContext::default()
        }
    }
}

/// Runs a gate once. A gate of clients queries the servers and expects the clients in their
/// answers.
pub async fn gate(name: &str, groups: &Groups, proof: Proof, after_change: bool) -> Verdict {
    let mut context = groups.context(after_change);
    match name {
        "consul" => {
            ask(
                "consul",
                &groups.members_of("consul-server"),
                proof,
                &context,
            )
            .await
        }
        "consul-client" => {
            context.consul_clients = groups.members_of("consul-client");
            // The servers' own gate has already waited for answers that lag after a change.
            context.after_change = false;
            ask(
                "consul",
                &groups.members_of("consul-server"),
                Proof::Read,
                &context,
            )
            .await
        }
        "mesos" => {
            // With slaves, their own gate reads the list: it is long on a large cluster.
            if groups.members_of("mesos-slave").is_empty() {
                context.known_slaves = groups.hosts.clone();
            }
            ask("mesos", &groups.members_of("mesos-master"), proof, &context).await
        }
        "mesos-slave" => {
            context.slaves = groups.members_of("mesos-slave");
            context.known_slaves = groups.hosts.clone();
            ask("mesos", &groups.members_of("mesos-master"), proof, &context).await
        }
        "vip" => match groups.vip {
            Some(vip) => vip::ask(vip, &groups.members_of("keepalived"), context.deadline).await,
            None => ask(name, &[], proof, &context).await,
        },
        "registrator" => registrators(groups, proof, &context).await,
        "haproxy" if proof == Proof::Write => {
            canary::edges(&groups.members_of("haproxy"), &context, &groups.domain).await
        }
        other => ask(other, &groups.members_of(other), proof, &context).await,
    }
}

/// Registrator has no API: without a canary only its containers can be checked, which the plan has
/// done.
async fn registrators(groups: &Groups, proof: Proof, context: &ProbeContext) -> Verdict {
    let members = groups.members_of("registrator");
    match groups.canary() {
        Some(canary) if proof == Proof::Write => {
            canary::registrator(
                &members,
                &groups.members_of("consul-server"),
                context,
                &canary,
            )
            .await
        }
        _ => Verdict {
            service: "registrator".into(),
            healthy: members.iter().any(|member| member.session.is_some()),
            members: members.len(),
            membership: members.len().to_string(),
            proof: "containers are running".into(),
            ..Verdict::default()
        },
    }
}

/// Runs an ordinary probe once.
///
/// # Errors
/// When the probe does not pass.
pub async fn ordinary(
    member: &Member,
    engine: &Engine,
    container: &str,
    spec: &ProbeSpec,
    secrets: &BTreeMap<String, Secret>,
    clock: &WallClock,
) -> Answer<()> {
    let state = || async {
        let detail = engine
            .inspect(container)
            .await
            .map_err(|error| ProbeError::malformed("container", error.to_string(), b""))?;
        // Preflight keeps the clocks of operator and hosts within seconds of each other.
        let started = detail
            .started_at
            .parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second);
        let since_start_s = u64::try_from(clock.now().as_second() - started).unwrap_or(0);
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
    ask_ordinary(spec, member, ORDINARY_PROBE_LIMIT, secrets, state).await
}
