//! The proof by writing: a node is created through each member, read back through all others after
//! a `sync`, and deleted.
//!
//! The nodes are ephemeral, so they disappear even when toots is killed in between.

use std::future::Future;
use std::time::Duration;

use futures::future::join_all;

use super::wire::{Client, NODE_EXISTS, Op};
use crate::host::StreamTarget;
use crate::probe::answer::{Answer, ProbeError};
use crate::probe::tally::list;
use crate::probe::{Member, ProbeContext, Verdict};
use crate::spec::HostName;

/// Parent of the proof nodes. It stays, because another run may be using it.
const PARENT: &str = "/toots";

/// Writes through and reads back from every member that is in sync, and adds the result to the
/// verdict.
pub(super) async fn prove(
    mut verdict: Verdict,
    members: &[Member],
    context: &ProbeContext,
) -> Verdict {
    let members: Vec<&Member> = members.iter().filter(|m| m.session.is_some()).collect();
    let hosts: Vec<HostName> = members.iter().map(|m| m.host.clone()).collect();
    let token = context.random.hex128();
    let nodes: Vec<String> = (0..members.len())
        .map(|i| format!("{PARENT}/proof-{token}-{i}"))
        .collect();
    // A write waits for the quorum, so it may take longer than a read that one member answers
    // alone.
    let limit = context.deadline * 2;

    let written = join_all(
        members
            .iter()
            .zip(&nodes)
            .map(|(member, node)| within(limit, "write", create(member, node, &token, context))),
    )
    .await;
    let mut clients = Vec::new();
    let mut failed = Vec::new();
    for (host, result) in hosts.iter().zip(written) {
        match result {
            Ok(client) => clients.push(client),
            Err(error) => failed.push(format!("{host}: write a node: {error}")),
        }
    }
    if failed.is_empty() {
        let read =
            join_all(clients.iter_mut().enumerate().map(|(me, client)| {
                within(limit, "read", read_others(client, &nodes, me, &token))
            }))
            .await;
        for (host, result) in hosts.iter().zip(read) {
            if let Err(error) = result {
                failed.push(format!("{host}: read back the nodes of others: {error}"));
            }
        }
    }
    // A node that cannot be deleted disappears with its session.
    join_all(clients.iter_mut().zip(&nodes).map(|(client, node)| {
        within(limit, "delete", async move {
            client.call(&[Op::Delete { path: node }, Op::Close]).await
        })
    }))
    .await;

    if failed.is_empty() {
        verdict.proof = format!(
            "written through {}, read back from each other",
            list(&hosts)
        );
    } else {
        verdict.healthy = false;
        verdict.proof = "none".into();
        verdict.faults.extend(failed);
    }
    verdict
}

/// Transactions between two digests that a member keeps. Source: `DIGEST_LOG_INTERVAL` of
/// ZooKeeper's `DataTree`.
const DIGEST_INTERVAL: usize = 128;

/// Writes to a proof node until every member has passed a transaction whose digest it keeps.
///
/// # Errors
/// When no member takes the writes.
pub(super) async fn cross_digest(members: &[Member], context: &ProbeContext) -> Answer<()> {
    let token = context.random.hex128();
    let node = format!("{PARENT}/proof-{token}");
    let mut last = Err(ProbeError::Down);
    for member in members.iter().filter(|m| m.session.is_some()) {
        let written = async {
            let mut client = create(member, &node, &token, context).await?;
            let set = || Op::Set {
                path: &node,
                data: token.as_bytes(),
            };
            let mut ops: Vec<Op<'_>> = (0..DIGEST_INTERVAL).map(|_| set()).collect();
            ops.push(Op::Delete { path: &node });
            ops.push(Op::Close);
            let replies = client.call(&ops).await?;
            match replies.iter().find(|reply| reply.error != 0) {
                None => Ok(()),
                Some(reply) => {
                    let why = format!("error {}", reply.error);
                    Err(ProbeError::malformed("setData", why, b""))
                }
            }
        };
        last = within(context.deadline * 2, "write", written).await;
        if last.is_ok() {
            break;
        }
    }
    last
}

async fn within<T>(
    limit: Duration,
    question: &str,
    work: impl Future<Output = Answer<T>>,
) -> Answer<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer,
        Err(_) => Err(ProbeError::Silent {
            question: question.into(),
            limit,
        }),
    }
}

async fn create(
    member: &Member,
    node: &str,
    token: &str,
    context: &ProbeContext,
) -> Answer<Client> {
    let session = member.session.as_ref().ok_or(ProbeError::Down)?;
    let target = StreamTarget::Tcp {
        address: member.address.to_string(),
        port: context.ports.zookeeper,
    };
    let stream = session
        .open(target)
        .await
        .map_err(|e| ProbeError::transport("connect", &e))?;
    let mut client = Client::connect(stream, Duration::from_secs(10)).await?;
    let replies = client
        .call(&[
            Op::Create {
                path: PARENT,
                data: b"",
                ephemeral: false,
            },
            Op::Create {
                path: node,
                data: token.as_bytes(),
                ephemeral: true,
            },
        ])
        .await?;
    for (index, reply) in replies.iter().enumerate() {
        if reply.error != 0 && !(index == 0 && reply.error == NODE_EXISTS) {
            return Err(ProbeError::malformed(
                "create",
                format!("error {}", reply.error),
                b"",
            ));
        }
    }
    Ok(client)
}

async fn read_others(client: &mut Client, nodes: &[String], me: usize, token: &str) -> Answer<()> {
    let ops: Vec<Op<'_>> = nodes
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != me)
        .flat_map(|(_, node)| [Op::Sync { path: node }, Op::Get { path: node }])
        .collect();
    for pair in client.call(&ops).await?.chunks(2) {
        let [sync, get] = pair else { continue };
        if sync.error != 0 || get.error != 0 {
            return Err(ProbeError::malformed(
                "getData",
                format!(
                    "error {}",
                    if sync.error != 0 {
                        sync.error
                    } else {
                        get.error
                    }
                ),
                b"",
            ));
        }
        if get.data() != Some(token.as_bytes()) {
            return Err(ProbeError::malformed(
                "getData",
                "data differ from what was written",
                get.data().unwrap_or_default(),
            ));
        }
    }
    Ok(())
}
