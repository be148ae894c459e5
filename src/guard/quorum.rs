//! The synced members that remain must be a majority of the configured ones, for every service with
//! a quorum at once, because one host runs them all.

use std::fmt;

use crate::probe::Verdict;
use crate::spec::HostName;

/// Why a member may not be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub member: HostName,
    /// The service that would lose its majority; empty when no service was read at all.
    pub service: String,
    /// Members known to be down.
    pub down: Vec<HostName>,
    /// Members that would remain in sync.
    pub left: usize,
    /// Configured members.
    pub members: usize,
    /// Majority of the configured members.
    pub needed: usize,
}

impl std::error::Error for Refusal {}

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
                "no service answered, so the effect of stopping {member} is unknown"
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
            "stopping {member} would leave {left} of {members} members of {service} synced, {needed} are required"
        )
    }
}

/// What is known of the member whose container would be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its service counts it as synced.
    Synced,
    /// Its own Engine says that it does not run or restarts it in a loop, and its service does not
    /// count it as synced: stopping it takes no vote from anyone.
    NotServing,
    /// Its Engine or its service did not answer: it may be serving.
    Unknown,
}

impl Standing {
    /// `view`: the verdict of its service. `serves`: whether its own Engine says that its program
    /// can take part; `None` when the Engine did not answer.
    #[must_use]
    pub fn judge(member: &HostName, view: Option<&Verdict>, serves: Option<bool>) -> Self {
        match (view, serves) {
            (Some(view), _) if view.synced.contains(member) => Self::Synced,
            (Some(_), Some(false)) => Self::NotServing,
            _ => Self::Unknown,
        }
    }
}

/// Whether a member may be stopped now. Of the others only those count that a verdict lists as
/// synced: one of unknown state counts as down for everybody else, and as serving for its own stop.
/// Without this asymmetry, a member that toots itself left stopped could never be replaced, or a
/// silent one would be stopped for nothing.
///
/// # Errors
/// The first service that would lose its majority.
pub fn may_stop(member: &HostName, own: Standing, services: &[Verdict]) -> Result<(), Refusal> {
    if own == Standing::NotServing {
        return Ok(());
    }
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
            let others = service.roles.keys().filter(|host| *host != member);
            let down = others
                .filter(|host| service.is_down(host))
                .cloned()
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

/// The order in which the members of a service are replaced: those out of sync first, because they
/// cost nothing, then followers, the leader last.
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
        let refusal = may_stop(&m1, Standing::Synced, &[verdict(3, &[1, 2], None)]).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "stopping m1 would leave 1 of 3 members of s synced, 2 are required"
        );
        assert!(may_stop(&m1, Standing::Synced, &[verdict(3, &[1, 2, 3], None)]).is_ok());
        assert!(
            may_stop(&m1, Standing::Synced, &[verdict(3, &[2, 3], None)]).is_ok(),
            "a member that is down already may be worked on"
        );
        assert!(may_stop(&m1, Standing::Synced, &[verdict(5, &[1, 2, 3, 4], None)]).is_ok());
        assert!(
            may_stop(
                &m1,
                Standing::Synced,
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
            may_stop(&m1, Standing::Synced, &[view])
                .unwrap_err()
                .to_string(),
            "m3 is down; stopping m1 would leave 1 of 3 members of s synced, 2 are required"
        );
        let refusal = may_stop(&m1, Standing::Synced, &[])
            .unwrap_err()
            .to_string();
        assert_eq!(
            refusal,
            "no service answered, so the effect of stopping m1 is unknown"
        );
    }

    /// Every member synced, known not to serve, or unknown; every member as the one to stop.
    #[test]
    fn every_state_for_every_size() {
        const STATES: [Standing; 3] = [Standing::Synced, Standing::NotServing, Standing::Unknown];
        for n in [3usize, 5, 7] {
            for state in 0..3usize.pow(u32::try_from(n).unwrap()) {
                let standing =
                    |i: usize| STATES[state / 3usize.pow(u32::try_from(i - 1).unwrap()) % 3];
                let synced: Vec<usize> = (1..=n)
                    .filter(|i| standing(*i) == Standing::Synced)
                    .collect();
                let view = [verdict(n, &synced, None)];
                for stop in 1..=n {
                    let host = HostName::new(format!("m{stop}")).unwrap();
                    let serves = match standing(stop) {
                        Standing::Synced => Some(true),
                        Standing::NotServing => Some(false),
                        Standing::Unknown => None,
                    };
                    let own = Standing::judge(&host, view.first(), serves);
                    assert_eq!(own, standing(stop));
                    let rest = synced.iter().filter(|i| **i != stop).count();
                    // Two disjoint halves must never both be a majority; a vote that is not given
                    // cannot be taken.
                    let right = own == Standing::NotServing || 2 * rest > n;
                    let allowed = may_stop(&host, own, &view).is_ok();
                    assert_eq!(
                        allowed, right,
                        "n={n} synced={synced:?} stop={stop} {own:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_both_sides_together_say_that_a_member_does_not_serve() {
        let m1 = HostName::new("m1").unwrap();
        let (counted, not_counted) = (verdict(3, &[1, 2], None), verdict(3, &[2, 3], None));
        for (view, serves, standing) in [
            (Some(&counted), Some(false), Standing::Synced),
            (Some(&not_counted), Some(false), Standing::NotServing),
            (Some(&not_counted), Some(true), Standing::Unknown),
            (Some(&not_counted), None, Standing::Unknown),
            (None, Some(false), Standing::Unknown),
        ] {
            assert_eq!(Standing::judge(&m1, view, serves), standing, "{serves:?}");
        }
    }

    #[test]
    fn every_service_must_agree() {
        let verdict_of = |mask: u32| {
            verdict(
                3,
                &(1..=3)
                    .filter(|i| mask & (1 << (i - 1)) != 0)
                    .collect::<Vec<_>>(),
                None,
            )
        };
        for state in 0..512u32 {
            let views = [
                verdict_of(state & 7),
                verdict_of(state >> 3 & 7),
                verdict_of(state >> 6),
            ];
            for stop in 1..=3 {
                let host = HostName::new(format!("m{stop}")).unwrap();
                let each = views.iter().all(|view| {
                    may_stop(&host, Standing::Synced, std::slice::from_ref(view)).is_ok()
                });
                assert_eq!(may_stop(&host, Standing::Synced, &views).is_ok(), each);
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
            prop_assert_eq!(may_stop(&host, Standing::Synced, &[verdict(n, &synced, None)]).is_ok(), left > n / 2);
        }
    }
}
