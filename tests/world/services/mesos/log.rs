//! The log as its replicas keep it together: how a replica comes to vote, and how the leader reads and
//! writes with a majority.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::master::Shared;
use super::replica::{Answer, Call, Replica, Status};
use crate::services::web::{Client, Request};

/// The path at which masters speak to each other's replica.
pub const PATH: &str = "/log-replica(1)";
/// How long a replica is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(500);
/// How long a replica that votes is busy with its recovery.
const RECOVERY: Duration = Duration::from_millis(300);

/// Asks every replica that is registered; stops at `enough` answers that are done.
async fn ask(shared: &Shared, call: &Call, enough: usize) -> Vec<Answer> {
    let own = (shared.address, shared.port);
    let mut answers = vec![shared.apply(call)];
    let others = shared.replicas().into_iter().filter(|other| *other != own);
    let client = Client {
        network: shared.network.clone(),
        from: shared.address,
        limit: ANSWER_LIMIT,
    };
    let body = serde_json::to_value(call).expect("JSON");
    let mut asked: FuturesUnordered<_> = others
        .map(|(address, port)| client.send(address, port, Request::post(PATH, &body)))
        .collect();
    let is_enough = |answers: &[Answer]| answers.iter().filter(|a| a.is_done).count() >= enough;
    while !is_enough(&answers) {
        match asked.next().await {
            Some(Ok(answer)) if answer.status == 200 => {
                answers.extend(serde_json::from_slice::<Answer>(&answer.body));
            }
            Some(_) => {}
            None => break,
        }
    }
    answers
}

/// Brings the own replica to vote, however long that takes.
pub async fn recover(shared: Arc<Shared>) {
    sleep(RECOVERY).await;
    while shared.replica().status != Status::Voting {
        let answers = ask(&shared, &Call::Status, usize::MAX).await;
        match next_status(&shared, &answers) {
            Some((status, from)) => shared.change_replica(|replica| {
                if let Some(newest) = from {
                    *replica = newest;
                }
                replica.status = status;
            }),
            None => sleep(RETRY).await,
        }
    }
    shared.note("votes");
}

/// A quorum that votes teaches a replica without a log what it has missed. Without one, all of
/// 2·quorum−1 must be found without a log, twice, before any of them votes.
fn next_status(shared: &Shared, answers: &[Answer]) -> Option<(Status, Option<Replica>)> {
    let mut count = BTreeMap::new();
    for answer in answers {
        *count.entry(answer.replica.status as u8).or_insert(0usize) += 1;
    }
    let count_of = |status: Status| count.get(&(status as u8)).copied().unwrap_or(0);
    let needed = 2 * shared.quorum - 1;
    let voting = || {
        let voting = answers.iter().map(|answer| &answer.replica);
        voting.filter(|replica| replica.status == Status::Voting)
    };
    if voting().count() >= shared.quorum {
        let newest = voting().max_by_key(|replica| replica.age()).cloned();
        return Some((Status::Voting, newest));
    }
    match shared.replica().status {
        Status::Empty if count_of(Status::Empty) + count_of(Status::Starting) >= needed => {
            Some((Status::Starting, None))
        }
        Status::Starting if count_of(Status::Starting) + count_of(Status::Voting) >= needed => {
            Some((Status::Voting, None))
        }
        _ => None,
    }
}

/// A majority that has promised to hear nobody else, and the newest value that any of it holds.
pub async fn elect(shared: &Shared, until: Instant) -> Option<(u64, Replica)> {
    let mut ballot = shared.replica().promised + 1;
    while Instant::now() < until {
        let answers = ask(shared, &Call::Promise { ballot }, shared.quorum).await;
        let promised: Vec<&Replica> = answers
            .iter()
            .filter(|answer| answer.is_done)
            .map(|answer| &answer.replica)
            .collect();
        if promised.len() >= shared.quorum {
            let newest = promised.into_iter().max_by_key(|replica| replica.age())?;
            return Some((ballot, newest.clone()));
        }
        let highest = answers.iter().map(|answer| answer.replica.promised).max();
        ballot = highest.unwrap_or(ballot).max(ballot) + 1;
        sleep(RETRY).await;
    }
    None
}

/// Writes a value. `false` when no majority has taken it in time, or somebody else leads.
pub async fn write(
    shared: &Shared,
    ballot: u64,
    position: u64,
    registry: &Value,
    until: Instant,
) -> bool {
    let call = Call::Write {
        ballot,
        position,
        registry: registry.clone(),
    };
    loop {
        let answers = ask(shared, &call, shared.quorum).await;
        let taken = answers.iter().filter(|answer| answer.is_done).count();
        let is_superseded = answers
            .iter()
            .any(|answer| answer.replica.promised > ballot);
        if taken >= shared.quorum || is_superseded || Instant::now() >= until {
            return taken >= shared.quorum;
        }
        sleep(RETRY).await;
    }
}

/// The address and port in `log-replica(1)@IP:PORT`.
pub fn parse_replica(text: &str) -> Option<(Ipv4Addr, u16)> {
    let (_, at) = text.split_once('@')?;
    let (address, port) = at.split_once(':')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}
