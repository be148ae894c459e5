//! How a write comes to the leader, and when it is acknowledged.

use super::ensemble::State;
use super::member::{Key, Phase};
use super::tree::{Change, Txn, code, parent_of};

/// Why a write has no answer: the member left its quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// A request that changes data.
#[derive(Debug, Clone)]
pub enum Write {
    Create {
        path: String,
        data: String,
        owner: i64,
        is_sequential: bool,
    },
    Set {
        path: String,
        data: String,
        version: i32,
    },
    Delete {
        path: String,
        version: i32,
    },
    Open {
        session: i64,
        timeout: i32,
    },
    Close {
        session: i64,
    },
    /// Changes nothing: waits until the member has what the leader committed before.
    Sync,
}

type Answer = Result<(u64, String), i32>;

impl State {
    /// The member that leads `key`, when they reach each other.
    pub fn reached_leader(&self, key: Key) -> Option<Key> {
        let member = self.members.get(&key)?;
        if member.is_leading() {
            return Some(key);
        }
        let (leader, _) = member.leader()?;
        let other = self.members.get(&leader)?;
        (other.is_leading() && member.reaches(other)).then_some(leader)
    }

    /// `None`: not yet.
    pub fn try_write(
        &mut self,
        key: Key,
        write: &Write,
        proposed: &mut Option<(u64, String)>,
    ) -> Option<Answer> {
        let leader = self.reached_leader(key)?;
        self.commit_reached(leader);
        let has_tail = !self.members[&leader].store.is_applied();
        if proposed.is_none() {
            if has_tail {
                // Judged against committed data only, so it waits for what was proposed before.
                return None;
            }
            let change = match self.judge(leader, write) {
                Ok(Some((change, path))) => (change, path),
                Ok(None) => {
                    self.replicate(leader, key);
                    self.commit(leader);
                    let zxid = self.members[&key].store.tree.zxid;
                    return self.has_all(leader, key).then(|| Ok((zxid, String::new())));
                }
                Err(code) => return Some(Err(code)),
            };
            let zxid = self.propose(leader, change.0);
            *proposed = Some((zxid, change.1));
            self.commit_reached(leader);
        }
        let (zxid, path) = proposed.clone()?;
        let member = &self.members[&key];
        let is_shown = member.store.tree.zxid >= zxid;
        is_shown.then(|| {
            member.note(format!("acknowledged {zxid:x} {path}"));
            Ok((zxid, path))
        })
    }

    pub fn has_all(&self, leader: Key, key: Key) -> bool {
        self.members[&key].store.tree.zxid >= self.members[&leader].store.tree.zxid
    }

    pub fn commit_reached(&mut self, leader: Key) {
        let own = &self.members[&leader];
        if own.config.is_standalone() {
            if let Some(own) = self.members.get_mut(&leader) {
                own.store.commit_all();
            }
            return;
        }
        let learners: Vec<Key> = self
            .members
            .iter()
            .filter(|(_, other)| other.leader().is_some_and(|(led_by, _)| led_by == leader))
            .filter(|(_, other)| own.reaches(other))
            .map(|(key, _)| *key)
            .collect();
        for learner in learners {
            self.replicate(leader, learner);
        }
        self.commit(leader);
    }

    pub fn propose(&mut self, leader: Key, change: Change) -> u64 {
        let Some(own) = self.members.get_mut(&leader) else {
            return 0;
        };
        let zxid = match &mut own.phase {
            Phase::Leading(leading) => {
                let epoch = u64::try_from(leading.epoch.unwrap_or(0)).unwrap_or(0);
                let zxid = (epoch << 32) + leading.next;
                leading.next += 1;
                zxid
            }
            _ => own.store.last() + 1,
        };
        let digest = own.store.tree.digest_after(zxid, &change);
        own.store.append(Txn {
            zxid,
            change,
            digest,
        });
        zxid
    }

    /// What a request changes, and the path that it answers; `None`: nothing.
    fn judge(&self, leader: Key, write: &Write) -> Result<Option<(Change, String)>, i32> {
        let tree = &self.members[&leader].store.tree;
        let node = |path: &str| tree.nodes.get(path).ok_or(code::NO_NODE);
        let is_wanted = |node: &super::tree::Node, version: i32| {
            let is_wanted = version == -1 || version == node.version;
            is_wanted.then_some(()).ok_or(code::BAD_VERSION)
        };
        Ok(match write.clone() {
            Write::Sync => None,
            Write::Create {
                path,
                data,
                owner,
                is_sequential,
            } => {
                let parent = node(parent_of(&path))?;
                if parent.owner != 0 {
                    return Err(code::NO_CHILDREN_FOR_EPHEMERALS);
                }
                let path = if is_sequential {
                    format!("{path}{:010}", parent.children_version)
                } else {
                    path
                };
                if tree.nodes.contains_key(&path) {
                    return Err(code::NODE_EXISTS);
                }
                let change = Change::Create {
                    path: path.clone(),
                    data,
                    owner,
                };
                Some((change, path))
            }
            Write::Set {
                path,
                data,
                version,
            } => {
                is_wanted(node(&path)?, version)?;
                let change = Change::Set {
                    path: path.clone(),
                    data,
                };
                Some((change, path))
            }
            Write::Delete { path, version } => {
                is_wanted(node(&path)?, version)?;
                if !tree.children(&path).is_empty() {
                    return Err(code::NOT_EMPTY);
                }
                Some((Change::Delete { path: path.clone() }, path))
            }
            Write::Open { session, timeout } => {
                Some((Change::Open { session, timeout }, String::new()))
            }
            Write::Close { session } => Some((Change::Close { session }, String::new())),
        })
    }
}
