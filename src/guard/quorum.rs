//! The synced rest must be a majority of the configured members, for every service with a quorum at once, since one host carries them all.

use std::fmt;

use crate::probe::Verdict;
use crate::spec::HostName;

/// Why a member may not be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The member.
    pub member: HostName,
    /// The service that would lose its majority.
    pub service: String,
    /// Members that would be left in sync.
    pub left: usize,
    /// Configured members.
    pub members: usize,
    /// Majority of the configured members.
    pub needed: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, service, left, members, needed } = self;
        write!(f, "stopping {member} would leave {left} of {members} members of {service} in sync, {needed} are needed")
    }
}

/// Whether a member may be stopped now. Only members that a verdict names as synced count; unknown counts as down.
///
/// # Errors
/// The first service that would be left without a majority.
pub fn may_stop(member: &HostName, services: &[Verdict]) -> Result<(), Refusal> {
    for service in services {
        let left = service.synced.iter().filter(|host| *host != member).count();
        let needed = service.members / 2 + 1;
        if left < needed {
            return Err(Refusal { member: member.clone(), service: service.service.clone(), left, members: service.members, needed });
        }
    }
    Ok(())
}

/// Followers first, leaders of any service last; members that are not in sync before all, since they cost nothing.
#[must_use]
pub fn order(members: &[HostName], services: &[Verdict]) -> Vec<HostName> {
    let mut out = members.to_vec();
    let weight = |host: &HostName| {
        let leads = services.iter().filter(|service| service.leader.as_ref() == Some(host)).count();
        let synced = services.iter().filter(|service| service.synced.contains(host)).count();
        (leads, synced, host.clone())
    };
    out.sort_by_key(weight);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(members: usize, synced: &[usize], leader: Option<usize>) -> Verdict {
        let host = |n: usize| HostName::new(format!("m{n}")).unwrap();
        Verdict {
            service: "s".into(),
            members,
            synced: synced.iter().map(|n| host(*n)).collect(),
            leader: leader.map(host),
            ..Verdict::default()
        }
    }

    #[test]
    fn says_the_arithmetic() {
        let m1 = HostName::new("m1").unwrap();
        let refusal = may_stop(&m1, &[verdict(3, &[1, 2], None)]).unwrap_err();
        assert_eq!(refusal.to_string(), "stopping m1 would leave 1 of 3 members of s in sync, 2 are needed");
        assert!(may_stop(&m1, &[verdict(3, &[1, 2, 3], None)]).is_ok());
        assert!(may_stop(&m1, &[verdict(3, &[2, 3], None)]).is_ok(), "a member that is down already may be worked on");
        assert!(may_stop(&m1, &[verdict(5, &[1, 2, 3, 4], None)]).is_ok());
        assert!(may_stop(&m1, &[verdict(3, &[1, 2, 3], None), verdict(3, &[1, 3], None)]).is_err());
    }

    #[test]
    fn leaders_come_last() {
        let hosts: Vec<HostName> = (1..=3).map(|n| HostName::new(format!("m{n}")).unwrap()).collect();
        let order = order(&hosts, &[verdict(3, &[1, 2, 3], Some(1)), verdict(3, &[1, 3], Some(3))]);
        assert_eq!(order.iter().map(HostName::as_str).collect::<Vec<_>>(), ["m2", "m3", "m1"]);
    }

    proptest! {
        #[test]
        fn never_below_a_majority(n in prop::sample::select(vec![3usize, 5, 7]), mask in 0u8..128, member in 1usize..8) {
            let synced: Vec<usize> = (1..=n).filter(|i| mask & (1 << (i - 1)) != 0).collect();
            let host = HostName::new(format!("m{member}")).unwrap();
            let left = synced.iter().filter(|i| **i != member).count();
            prop_assert_eq!(may_stop(&host, &[verdict(n, &synced, None)]).is_ok(), left > n / 2);
        }
    }
}
