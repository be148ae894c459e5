//! Compares what the members really hold. A member's count of digest mismatches never goes back: it
//! counts its own log again at each start. What it holds now is told by the AdminServer's `hash`,
//! the digests of all data at past transactions: members with the same digest at one transaction
//! hold the same data.
//!
//! Source: ZooKeeper's `DataTree`, which keeps a digest for each transaction id that is a multiple
//! of 128, the last 1024 of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::parse::{Digest, Digests, parse_hash};
use super::{Answers, command, write};
use crate::probe::http::Http;
use crate::probe::{Member, ProbeContext, Proof};
use crate::spec::HostName;

/// Readings after toots' own writes, until the slowest member has applied them.
const READINGS: usize = 5;
/// Pause between two of them.
const READING_INTERVAL: Duration = Duration::from_millis(200);

/// What the members hold at one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The newest transaction of which most members tell a digest; `None` when fewer than a quorum
    /// told one, or nobody was asked.
    pub at: Option<u64>,
    /// Members that told it.
    pub compared: BTreeSet<HostName>,
    /// Of these, members whose data differ from those of the quorum.
    pub different: BTreeSet<HostName>,
    /// No quorum holds the same data.
    pub split: bool,
}

/// Compares the members when one of them counts mismatches. A proof by writing brings about a
/// transaction that all of them have in common.
pub(super) async fn compare(
    members: &[Member],
    answers: &[Option<Answers>],
    proof: Proof,
    context: &ProbeContext,
) -> Comparison {
    let counts = |answers: &Answers| matches!(&answers.monitor, Ok(m) if m.digest_mismatches > 0);
    if !answers.iter().flatten().any(counts) {
        return Comparison::default();
    }
    let up = members.iter().filter(|m| m.session.is_some()).count();
    let mut comparison = judge_digests(members.len(), &read(members, context).await);
    if proof == Proof::Read || comparison.compared.len() >= up {
        return comparison;
    }
    if let Err(error) = write::cross_digest(members, context).await {
        tracing::warn!(%error, "no common transaction could be written");
        return comparison;
    }
    for _ in 0..READINGS {
        tokio::time::sleep(READING_INTERVAL).await;
        comparison = judge_digests(members.len(), &read(members, context).await);
        if comparison.compared.len() >= up {
            break;
        }
    }
    comparison
}

/// The digests of every member that tells them.
async fn read(members: &[Member], context: &ProbeContext) -> BTreeMap<HostName, Digests> {
    let asked = members.iter().filter_map(|member| {
        let session = Arc::clone(member.session.as_ref()?);
        Some(async move {
            let port = context.ports.zookeeper_admin;
            let mut http = Http::new(session, "127.0.0.1", port, context.deadline);
            let answer = command(&mut http, "hash").await;
            match answer.and_then(|body| parse_hash(&body)) {
                Ok(digests) => Some((member.host.clone(), digests)),
                Err(error) => {
                    tracing::warn!(host = %member.host, %error, "no digests");
                    None
                }
            }
        })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Compares at the transaction that most members tell, the newest of several.
fn judge_digests(members: usize, digests: &BTreeMap<HostName, Digests>) -> Comparison {
    let quorum = members / 2 + 1;
    let mut members_by_zxid: BTreeMap<u64, usize> = BTreeMap::new();
    for zxid in digests.values().flat_map(BTreeMap::keys) {
        *members_by_zxid.entry(*zxid).or_default() += 1;
    }
    let newest = members_by_zxid
        .into_iter()
        .filter(|(_, members)| *members >= quorum)
        .max_by_key(|(zxid, members)| (*members, *zxid));
    let Some((at, _)) = newest else {
        return Comparison::default();
    };
    let held: BTreeMap<&HostName, &Digest> = digests
        .iter()
        .filter_map(|(host, digests)| Some((host, digests.get(&at)?)))
        .collect();
    let holders = |digest: &Digest| held.values().filter(|other| **other == digest).count();
    let agreed = held.values().find(|digest| holders(digest) >= quorum);
    let different = held
        .iter()
        .filter(|(_, digest)| agreed.is_some_and(|agreed| agreed != *digest))
        .map(|(host, _)| (*host).clone())
        .collect();
    Comparison {
        at: Some(at),
        compared: held.keys().map(|host| (*host).clone()).collect(),
        different,
        split: agreed.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members m1, m2, … with pairs of transaction and digest.
    fn digests_of(members: &[&[(u64, i64)]]) -> BTreeMap<HostName, Digests> {
        let digests = |pairs: &[(u64, i64)]| -> Digests {
            let digest = |digest: i64| Digest {
                digest_version: 2,
                digest,
            };
            pairs.iter().map(|(zxid, d)| (*zxid, digest(*d))).collect()
        };
        let named = members.iter().zip(1..);
        named
            .map(|(pairs, n)| (HostName::new(format!("m{n}")).unwrap(), digests(pairs)))
            .collect()
    }

    fn names(hosts: &BTreeSet<HostName>) -> Vec<&str> {
        hosts.iter().map(HostName::as_str).collect()
    }

    #[test]
    fn members_are_compared_at_the_newest_common_transaction() {
        // They differed at 128 and agree again at 256.
        let healed = digests_of(&[
            &[(128, 1), (256, 3)],
            &[(128, 1), (256, 3), (384, 4)],
            &[(128, 2), (256, 3)],
        ]);
        let comparison = judge_digests(3, &healed);
        assert_eq!(comparison.at, Some(256));
        assert_eq!(names(&comparison.compared), ["m1", "m2", "m3"]);
        assert!(comparison.different.is_empty() && !comparison.split);
    }

    #[test]
    fn the_member_that_differs_from_the_quorum_is_named() {
        let comparison = judge_digests(3, &digests_of(&[&[(128, 1)], &[(128, 2)], &[(128, 1)]]));
        assert_eq!(names(&comparison.different), ["m2"]);
        assert!(!comparison.split);
    }

    #[test]
    fn a_split_names_no_member() {
        let two = judge_digests(3, &digests_of(&[&[(128, 1)], &[(128, 2)]]));
        let three = judge_digests(3, &digests_of(&[&[(128, 1)], &[(128, 2)], &[(128, 3)]]));
        for comparison in [two, three] {
            assert!(comparison.split && comparison.different.is_empty());
        }
    }

    #[test]
    fn members_without_a_common_transaction_are_not_compared() {
        let none = judge_digests(3, &digests_of(&[&[(128, 1)], &[(256, 2)], &[]]));
        assert_eq!(none, Comparison::default());
        // Two that tell the same one are a quorum; the third one is not judged.
        let two = judge_digests(3, &digests_of(&[&[(128, 1)], &[(128, 1)], &[(256, 2)]]));
        assert_eq!(
            (two.at, names(&two.compared)),
            (Some(128), vec!["m1", "m2"])
        );
        assert!(two.different.is_empty() && !two.split);
    }
}
