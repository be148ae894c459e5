//! Tests of the services with a quorum: held to the recordings of the real ones, and to what must
//! never happen.
//!
//! Owns the [`lab::Lab`], machines that run only those services. It may import `services`, and nothing
//! of `docker` or `host`. To add a recording: a row in `zookeeper_recorded.rs` or `consul_recorded.rs`.

mod ask;
mod bound;
mod consul_data;
mod consul_lab;
mod consul_members;
mod consul_recorded;
mod consul_states;
mod cost;
mod lab;
mod sequences;
mod zookeeper_data;
mod zookeeper_lists;
mod zookeeper_recorded;
mod zookeeper_states;

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// How a recording of the real program is held against the world.
pub enum Held {
    /// The state is driven and compared.
    Replayed,
    /// Why it is not.
    Listed(&'static str),
}

/// Replays every recording that is not listed, all of them before it fails.
async fn replay_recordings<F: Future<Output = ()>>(
    service: &str,
    recordings: &[(&'static str, Held)],
    replay: impl Fn(&'static str) -> F,
) {
    let (mut replayed, mut failed) = (0, Vec::new());
    let mut listed = std::collections::BTreeMap::<&str, usize>::new();
    for (name, held) in recordings {
        match held {
            Held::Replayed => {
                replayed += 1;
                if AssertUnwindSafe(replay(name)).catch_unwind().await.is_err() {
                    failed.push(*name);
                }
            }
            Held::Listed(reason) => *listed.entry(reason).or_default() += 1,
        }
    }
    println!("{service}: {replayed} recordings replayed, not replayed: {listed:?}");
    assert!(failed.is_empty(), "{failed:?}");
}
