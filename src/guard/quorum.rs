//! The synced rest must be a majority of the configured members, for every service with a quorum at once, since one host carries them all.

use std::fmt;

use crate::probe::Verdict;
use crate::spec::HostName;

/// Why a member may not be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The member.
    pub member: HostName,
    /// The service that would lose its majority; empty when no service was read at all.
    pub service: String,
    /// Members known to be down.
    pub down: Vec<HostName>,
    /// Members that would be left in sync.
    pub left: usize,
    /// Configured members.
    pub members: usize,
    /// Majority of the configured members.
    pub needed: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            member,
            service,
            down,
            left,
            members,
            needed,
        } = self;
        if service.is_empty() {
            return write!(
                f,
                "no service was read, so it is not known what stopping {member} would leave in sync"
            );
        }
        match down.as_slice() {
            [] => {}
            [one] => write!(f, "{one} is down; ")?,
            several => {
                let names: Vec<&str> = several.iter().map(HostName::as_str).collect();
                write!(f, "{} are down; ", names.join(", "))?;
            }
        }
        write!(
            f,
            "stopping {member} would leave {left} of {members} members of {service} in sync, {needed} are needed"
        )
    }
}

/// Whether a member may be stopped now. Only members that a verdict names as synced count; unknown counts as down, and so does
/// everything where nothing was read.
///
/// # Errors
/// The first service that would be left without a majority.
pub fn may_stop(member: &HostName, services: &[Verdict]) -> Result<(), Refusal> {
    if services.is_empty() {
        return Err(Refusal {
            member: member.clone(),
            service: String::new(),
            down: Vec::new(),
            left: 0,
            members: 0,
            needed: 1,
        });
    }
    for service in services {
        let left = service.synced.iter().filter(|host| *host != member).count();
        let needed = service.members / 2 + 1;
        if left < needed {
            let is_down =
                |(host, role): &(&HostName, &String)| *host != member && role.as_str() == "down";
            let down = service
                .roles
                .iter()
                .filter(is_down)
                .map(|(host, _)| host.clone())
                .collect();
            let (member, members) = (member.clone(), service.members);
            return Err(Refusal {
                member,
                service: service.service.clone(),
                down,
                left,
                members,
                needed,
            });
        }
    }
    Ok(())
}

/// The members of one service in the order in which they are replaced: those that are not in sync first, since they cost nothing, then
/// followers, the leader last.
#[must_use]
pub fn order(members: &[HostName], service: &Verdict) -> Vec<HostName> {
    let mut out = members.to_vec();
    out.sort_by_key(|host| {
        (
            service.leader.as_ref() == Some(host),
            service.synced.contains(host),
            host.clone(),
        )
    });
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
        assert_eq!(
            refusal.to_string(),
            "stopping m1 would leave 1 of 3 members of s in sync, 2 are needed"
        );
        assert!(may_stop(&m1, &[verdict(3, &[1, 2, 3], None)]).is_ok());
        assert!(
            may_stop(&m1, &[verdict(3, &[2, 3], None)]).is_ok(),
            "a member that is down already may be worked on"
        );
        assert!(may_stop(&m1, &[verdict(5, &[1, 2, 3, 4], None)]).is_ok());
        assert!(
            may_stop(
                &m1,
                &[verdict(3, &[1, 2, 3], None), verdict(3, &[1, 3], None)]
            )
            .is_err()
        );
    }

    #[test]
    fn names_who_is_down_and_refuses_what_nobody_read() {
        let m1 = HostName::new("m1").unwrap();
        let mut view = verdict(3, &[1, 2], None);
        view.roles
            .insert(HostName::new("m3").unwrap(), "down".into());
        assert_eq!(
            may_stop(&m1, &[view]).unwrap_err().to_string(),
            "m3 is down; stopping m1 would leave 1 of 3 members of s in sync, 2 are needed"
        );
        let refusal = may_stop(&m1, &[]).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "no service was read, so it is not known what stopping m1 would leave in sync"
        );
    }

    #[test]
    fn every_state_of_every_size() {
        for n in [3usize, 5, 7] {
            for mask in 0..1u32 << n {
                let synced: Vec<usize> = (1..=n).filter(|i| mask & (1 << (i - 1)) != 0).collect();
                for stop in 1..=n {
                    let rest = synced.iter().filter(|i| **i != stop).count();
                    let allowed = may_stop(
                        &HostName::new(format!("m{stop}")).unwrap(),
                        &[verdict(n, &synced, None)],
                    )
                    .is_ok();
                    // Two disjoint halves must never both be a majority.
                    assert_eq!(allowed, 2 * rest > n, "n={n} synced={synced:?} stop={stop}");
                }
            }
        }
    }

    #[test]
    fn all_services_must_agree() {
        let of = |mask: u32| {
            verdict(
                3,
                &(1..=3)
                    .filter(|i| mask & (1 << (i - 1)) != 0)
                    .collect::<Vec<_>>(),
                None,
            )
        };
        for state in 0..512u32 {
            let views = [of(state & 7), of(state >> 3 & 7), of(state >> 6)];
            for stop in 1..=3 {
                let host = HostName::new(format!("m{stop}")).unwrap();
                let each = views
                    .iter()
                    .all(|view| may_stop(&host, std::slice::from_ref(view)).is_ok());
                assert_eq!(may_stop(&host, &views).is_ok(), each);
            }
        }
    }

    #[test]
    fn leaders_come_last() {
        let hosts: Vec<HostName> = (1..=3)
            .map(|n| HostName::new(format!("m{n}")).unwrap())
            .collect();
        let names = |service: &Verdict| {
            order(&hosts, service)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&verdict(3, &[1, 2, 3], Some(1))), ["m2", "m3", "m1"]);
        assert_eq!(names(&verdict(3, &[1, 3], Some(1))), ["m2", "m3", "m1"]);
        assert_eq!(names(&verdict(3, &[2, 3], Some(2))), ["m1", "m3", "m2"]);
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
