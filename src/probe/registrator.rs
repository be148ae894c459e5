//! Registrator has no API; its work shows in Consul. The engine starts and removes the canary
//! container; this file checks in Consul whether the service is registered.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::consul::{Instance, parse_instances};
use super::http::Http;
use super::{Member, Verdict};
use crate::host::HostSession;

/// The instances of a service in Consul's catalogue, read through one agent; empty when there is
/// none.
///
/// # Errors
/// When the agent does not answer correctly.
pub async fn consul_service_instances(
    session: &Arc<dyn HostSession>,
    address: &str,
    port: u16,
    name: &str,
) -> Answer<Vec<Instance>> {
    let mut http = Http::new(Arc::clone(session), address, port, Duration::from_secs(5));
    // A service name is a DNS label; anything else would lead to another path.
    let safe: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    let path = format!("/v1/health/service/{safe}");
    parse_instances(&http.get(&path).await?.ok(&path)?.body)
}

/// The addresses of a service's instances that pass their checks, read through one server.
///
/// # Errors
/// When the server does not answer correctly.
pub async fn passing_instances(
    session: &Arc<dyn HostSession>,
    server: &str,
    name: &str,
    tag: Option<&str>,
    datacenter: Option<&str>,
) -> Answer<Vec<String>> {
    let mut http = Http::new(Arc::clone(session), server, 8500, Duration::from_secs(5));
    let label = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
            .collect()
    };
    let mut path = format!("/v1/health/service/{}?passing=1", label(name));
    for (key, value) in [("tag", tag), ("dc", datacenter)] {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", label(value)));
        }
    }
    Ok(parse_instances(&http.get(&path).await?.ok(&path)?.body)?
        .into_iter()
        .map(|instance| instance.address)
        .collect())
}

/// Judges whether the canary is registered from every host where it runs (`there`), or deregistered
/// from all of them.
#[must_use]
pub fn judge(slaves: &[Member], found: &Answer<Vec<Instance>>, there: bool) -> Verdict {
    let mut tally = super::tally::Tally::leaderless("registrator", slaves);
    match found {
        Ok(instances) => {
            for slave in slaves.iter().filter(|s| s.session.is_some()) {
                let own = instances
                    .iter()
                    .filter(|i| {
                        super::answer::is_member(slave, &i.address)
                            || super::answer::is_member(slave, &i.node)
                    })
                    .count();
                match (there, own) {
                    (true, 0) => tally.fault(&slave.host, "canary is not registered in Consul"),
                    (false, 1..) => {
                        tally.fault(&slave.host, "canary is still registered in Consul")
                    }
                    _ => tally.role(&slave.host, "registrar"),
                }
            }
        }
        Err(error) => tally.cluster_fault(error.to_string()),
    }
    tally.finish(
        |_| String::new(),
        if there {
            "canary registered in Consul"
        } else {
            "canary deregistered from Consul"
        },
    )
}
