//! The virtual IP address: exactly one edge holds it. keepalived has no API for that, and a split
//! shows only when the interfaces of all edges are compared.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;

use super::answer::{Answer, ProbeError};
use super::tally::Tally;
use super::{Member, Verdict};
use crate::host::HostAddresses;

/// Judges who holds the address: one answer per edge in the same order, `None` for one that is
/// down.
#[must_use]
pub fn judge(vip: IpAddr, edges: &[Member], answers: &[Option<Answer<bool>>]) -> Verdict {
    let mut tally = Tally::leaderless("vip", edges);
    let mut holders = Vec::new();
    for (edge, answer) in edges.iter().zip(answers) {
        match answer {
            Some(Ok(true)) => {
                holders.push(edge.host.clone());
                tally.role(&edge.host, "holder");
            }
            Some(Ok(false)) => tally.role(&edge.host, "backup"),
            Some(Err(error)) => tally.fault(&edge.host, error.to_string()),
            None => {}
        }
    }
    match holders.as_slice() {
        [single] => tally.leader(Some(single.clone())),
        [] => tally.cluster_fault(format!("no edge holds {vip}")),
        many => {
            let names: Vec<&str> = many.iter().map(|host| host.as_str()).collect();
            tally.cluster_fault(format!(
                "{vip} is held by several edges ({}): they do not receive each other's VRRP (protocol 112)",
                names.join(" and ")
            ));
        }
    }
    tally.finish(|_| String::new(), &format!("{vip} is held by one edge"))
}

/// Queries every edge in parallel.
pub async fn ask(vip: IpAddr, edges: &[Member], limit: Duration) -> Verdict {
    let answers = join_all(edges.iter().map(|edge| async move {
        let session = edge.session.as_ref()?;
        let addresses = session.perform(HostAddresses { deadline: limit }).await;
        let held = addresses.map(|addresses| addresses.contains(&vip));
        Some(held.map_err(|error| ProbeError::operation("ip addr", error)))
    }))
    .await;
    judge(vip, edges, &answers)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::HostSession;
    use crate::host::fake::FakeHost;

    fn edges(answers: &[Option<Answer<bool>>]) -> Vec<Member> {
        let edge = |(i, answer): (usize, &Option<Answer<bool>>)| {
            let host: crate::spec::HostName = format!("e{}", i + 1).parse().unwrap();
            let session: Arc<dyn HostSession> = Arc::new(FakeHost::new(host.clone()));
            Member {
                host,
                address: "10.0.0.1".parse().unwrap(),
                member: None,
                session: answer.as_ref().map(|_| session),
            }
        };
        answers.iter().enumerate().map(edge).collect()
    }

    #[test]
    fn exactly_a_single_edge_must_hold_the_address() {
        let vip: IpAddr = "10.0.0.100".parse().unwrap();
        let judged = |answers: &[Option<Answer<bool>>]| judge(vip, &edges(answers), answers);
        let single = judged(&[Some(Ok(false)), Some(Ok(true))]);
        assert_eq!(
            (
                single.healthy,
                single.leader.unwrap().as_str(),
                single.proof.as_str()
            ),
            (true, "e2", "10.0.0.100 is held by one edge")
        );
        assert!(!judged(&[Some(Ok(false)), Some(Ok(false))]).healthy);
        let two = judged(&[Some(Ok(true)), Some(Ok(true))]);
        assert!(
            !two.healthy
                && two
                    .faults
                    .iter()
                    .any(|fault| fault.contains("several edges (e1 and e2)")),
            "{:?}",
            two.faults
        );
        assert!(judged(&[Some(Ok(true)), None]).healthy);
    }
}
