//! The masters of a cluster and their numbers, recorded on every master.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::HostName;
use super::record::{RecordError, first_format, parse_record};

/// A master and its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberRecord {
    /// ZooKeeper's `myid`, 1 to 255.
    pub number: u8,
    /// The host's name in the inventory.
    pub host: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
}

/// `/etc/toots/members.json`, the same on every master: who the masters are. With it, the number of
/// a master that cannot be read is known from any other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Format of the record.
    #[serde(default = "first_format")]
    pub format: u32,
    /// Random id of the cluster, as in the identity of its hosts.
    pub cluster_id: String,
    /// Grows with every change of the record: of two records, the one with the lower serial is
    /// stale.
    pub serial: u64,
    /// The masters by number.
    pub members: Vec<MemberRecord>,
    /// Former masters by number. Their numbers are never given to another host.
    #[serde(default)]
    pub retired: Vec<MemberRecord>,
}

impl Membership {
    /// Path on a master.
    pub const PATH: &'static str = "/etc/toots/members.json";
    /// The format that this toots writes, and the newest that it reads.
    pub const FORMAT: u32 = 1;

    /// Parses a record.
    ///
    /// # Errors
    /// When the content is not a record, has an unknown format, or gives a number or a host twice.
    pub fn parse(content: &[u8]) -> Result<Self, RecordError> {
        let mut record: Self = parse_record(Self::PATH, Self::FORMAT, content)?;
        let mut numbers = BTreeSet::new();
        let mut hosts = BTreeSet::new();
        let invalid = |why: String| RecordError::Unreadable {
            path: Self::PATH,
            why,
        };
        for member in record.members.iter().chain(&record.retired) {
            let number = member.number;
            if number == 0 {
                return Err(invalid("a member number must be 1 to 255, got 0".into()));
            }
            if !numbers.insert(number) {
                return Err(invalid(format!("number {number} is recorded twice")));
            }
        }
        for member in &record.members {
            if !hosts.insert(&member.host) {
                return Err(invalid(format!("{} is recorded twice", member.host)));
            }
        }
        record.members.sort();
        record.retired.sort();
        Ok(record)
    }

    /// The file's content.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).unwrap_or_default();
        content.push(b'\n');
        content
    }

    /// The number of a master.
    #[must_use]
    pub fn number(&self, host: &HostName) -> Option<u8> {
        self.members
            .iter()
            .find(|member| member.host == *host)
            .map(|member| member.number)
    }
}

impl fmt::Display for MemberRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.number, self.host, self.address)
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |members: &[MemberRecord]| {
            let texts: Vec<String> = members.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        write!(f, "serial {}: {}", self.serial, list(&self.members))?;
        if !self.retired.is_empty() {
            write!(f, "; retired {}", list(&self.retired))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(members: &str, retired: &str) -> Result<Membership, RecordError> {
        let text = format!(
            r#"{{"cluster_id":"01","serial":2,"members":[{members}],"retired":[{retired}]}}"#
        );
        Membership::parse(text.as_bytes())
    }

    const M1: &str = r#"{"number":1,"host":"m1","address":"10.0.0.11"}"#;
    const M2: &str = r#"{"number":2,"host":"m2","address":"10.0.0.12"}"#;

    #[test]
    fn content_is_read_back_and_ordered_by_number() {
        let record = parse(&format!("{M2},{M1}"), "").unwrap();
        assert_eq!(
            record.to_string(),
            "serial 2: 1=m1 (10.0.0.11), 2=m2 (10.0.0.12)"
        );
        assert_eq!(record.number(&record.members[1].host), Some(2));
        assert_eq!(Membership::parse(&record.content()), Ok(record));
    }

    #[test]
    fn members_are_unique() {
        let text = |members: &str, retired: &str| parse(members, retired).unwrap_err().to_string();
        let twice = "/etc/toots/members.json cannot be read: number 1 is recorded twice";
        assert_eq!(text(&format!("{M1},{M1}"), ""), twice);
        assert_eq!(text(M1, M1), twice);
        let again = M1.replace(":1,", ":3,");
        assert!(text(&format!("{M1},{again}"), "").ends_with("m1 is recorded twice"));
        assert!(text(&M1.replace(":1,", ":0,"), "").ends_with("must be 1 to 255, got 0"));
    }

    #[test]
    fn newer_formats_are_refused() {
        let newer = Membership::parse(br#"{"format":2,"who":[]}"#);
        assert_eq!(
            newer,
            Err(RecordError::Newer {
                path: Membership::PATH,
                found: 2,
                known: 1
            })
        );
        assert!(Membership::parse(b"").is_err());
    }
}
