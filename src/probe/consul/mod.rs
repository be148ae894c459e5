//! Consul: voters, failure tolerance and leader as each server reports them, and a read that only a
//! real leader can answer.
//!
//! Autopilot and `status/leader` lag by seconds: a dead leader is reported for 5 to 12 s, and a
//! cluster that a server left is reported as 200 healthy with two voters. Every server must
//! therefore answer a consistent read, and after a change everything is read twice, 10 s apart.

mod judge;
mod parse;
mod write;

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::answer::Answer;
use super::http::Http;
use super::{Member, ProbeContext, Proof, Verdict};
use crate::host::HostSession;

pub use judge::judge;
pub use parse::{
    ConsulAgent, Health, HealthServer, Instance, RaftServer, SerfMember, parse_agent, parse_health,
    parse_instances, parse_members, parse_raft,
};

/// The answers of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// `/v1/agent/self`.
    pub agent: Answer<ConsulAgent>,
    /// `/v1/status/leader`.
    pub leader: Answer<String>,
    /// `/v1/operator/raft/configuration?stale`: its own view.
    pub raft: Answer<Vec<RaftServer>>,
    /// `/v1/operator/autopilot/health`.
    pub health: Answer<Health>,
    /// `/v1/kv/toots/proof?consistent`.
    pub consistent: Answer<()>,
    /// `/v1/agent/members`.
    pub members: Answer<Vec<SerfMember>>,
}

/// The answers of all servers and clients.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// One per server, in the order of the members; `None` for one that is down.
    pub servers: Vec<Option<Answers>>,
    /// `/v1/agent/self` of each client, in the order of the context; `None` for one that is down.
    pub clients: Vec<Option<Answer<ConsulAgent>>>,
}

/// Queries every server and every client in parallel.
pub async fn read(members: &[Member], context: &ProbeContext) -> Reading {
    let servers = join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        Some(ask_server(session, member, context).await)
    }));
    let clients = join_all(context.consul_clients.iter().map(|client| async move {
        let session = client.session.as_ref()?;
        Some(agent(&mut http(session, client, context)).await)
    }));
    let (servers, clients) = tokio::join!(servers, clients);
    Reading { servers, clients }
}

fn http(session: &Arc<dyn HostSession>, member: &Member, context: &ProbeContext) -> Http {
    Http::new(
        Arc::clone(session),
        member.address.to_string(),
        context.ports.consul,
        context.deadline,
    )
}

async fn agent(http: &mut Http) -> Answer<ConsulAgent> {
    const PATH: &str = "/v1/agent/self";
    parse_agent(&http.get(PATH).await?.ok(PATH)?.body)
}

/// Six questions over three connections: one connection would wait six times, six would cost six
/// channels.
async fn ask_server(
    session: &Arc<dyn HostSession>,
    member: &Member,
    context: &ProbeContext,
) -> Answers {
    let about_itself = async {
        let mut http = http(session, member, context);
        (
            agent(&mut http).await,
            http.get_json("/v1/status/leader").await,
        )
    };
    let about_the_servers = async {
        let mut http = http(session, member, context);
        let raft = async {
            const PATH: &str = "/v1/operator/raft/configuration?stale";
            parse_raft(&http.get(PATH).await?.ok(PATH)?.body)
        }
        .await;
        let health = async {
            const PATH: &str = "/v1/operator/autopilot/health";
            let reply = http.get(PATH).await?;
            // An unhealthy cluster answers 429, with the same body.
            if reply.status == 200 || reply.status == 429 {
                parse_health(reply.status, &reply.body)
            } else {
                Err(reply.unwanted(PATH))
            }
        }
        .await;
        (raft, health)
    };
    let about_the_cluster = async {
        let mut http = http(session, member, context);
        let consistent = async {
            const PATH: &str = "/v1/kv/toots/proof?consistent";
            let reply = http.get(PATH).await?;
            // 404 without a body is the answer of a leader that has confirmed its followers and
            // holds no such key.
            if reply.status == 200 || (reply.status == 404 && reply.body.is_empty()) {
                Ok(())
            } else {
                Err(reply.unwanted(PATH))
            }
        }
        .await;
        let members = async {
            const PATH: &str = "/v1/agent/members";
            parse_members(&http.get(PATH).await?.ok(PATH)?.body)
        }
        .await;
        (consistent, members)
    };
    let ((agent, leader), (raft, health), (consistent, members)) =
        tokio::join!(about_itself, about_the_servers, about_the_cluster);
    Answers {
        agent,
        leader,
        raft,
        health,
        consistent,
        members,
    }
}

/// Reads and judges; after a change once more, `settle` later; and proves by writing when
/// requested.
pub async fn ask(members: &[Member], proof: Proof, context: &ProbeContext) -> Verdict {
    let started = Instant::now();
    let mut verdict = judge(members, &read(members, context).await, context);
    if context.after_change && verdict.healthy {
        let since = context.healthy_since.unwrap_or(started);
        sleep(context.settle.saturating_sub(since.elapsed())).await;
        verdict = judge(members, &read(members, context).await, context);
        if verdict.healthy {
            verdict.proof = format!("{}, twice", verdict.proof);
        }
    }
    if proof == Proof::Write && verdict.healthy {
        return write::prove(verdict, members, context).await;
    }
    verdict
}
