//! The list of services that have a gate of their own.

use super::{
    Member, ProbeContext, Proof, Verdict, chronos, consul, haproxy, marathon, mesos, zookeeper,
};

/// Services that [`ask`] knows.
pub const SERVICES: [&str; 6] = [
    "zookeeper",
    "consul",
    "mesos",
    "marathon",
    "chronos",
    "haproxy",
];

/// The service of a component, when it has a gate of its own. `consul-server` and `consul` are one
/// service.
#[must_use]
pub fn service_of(component: &str) -> Option<&'static str> {
    let name = match component {
        "consul-server" => "consul",
        "mesos-master" => "mesos",
        other => other,
    };
    SERVICES.into_iter().find(|s| *s == name)
}

/// Queries every member of a service and judges the answers. Never fails: an unanswered question is
/// a fault in the verdict.
pub async fn ask(
    service: &str,
    members: &[Member],
    proof: Proof,
    context: &ProbeContext,
) -> Verdict {
    if members.is_empty() {
        return nobody(service, "no members configured");
    }
    match service_of(service) {
        Some("zookeeper") => zookeeper::ask(members, proof, context).await,
        Some("consul") => consul::ask(members, proof, context).await,
        Some("mesos") => mesos::ask(members, context).await,
        Some("marathon") => marathon::ask(members, context).await,
        Some("chronos") => chronos::ask(members, context).await,
        Some("haproxy") => haproxy::ask(members, context).await,
        _ => nobody(service, "component has no gate"),
    }
}

fn nobody(service: &str, why: &str) -> Verdict {
    let service = super::answer::show(service.as_bytes());
    Verdict {
        faults: vec![format!("{service}: {why}")],
        proof: "none".into(),
        service,
        ..Verdict::default()
    }
}
