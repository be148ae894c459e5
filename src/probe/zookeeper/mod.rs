//! ZooKeeper: every member is queried for its identity, its member list and whether it votes.
//! Answers that a lone or isolated server also gives are not trusted (`ruok`, the AdminServer's
//! status 200, a leader's count of synced followers, the mode in `srvr` alone).
//!
//! The state comes from `mntr`, which contains everything in `srvr` and the digest mismatches; the
//! membership from `conf`; and the voting state from the AdminServer, the only source, over the
//! host's loopback address. When a member counts mismatches, `digests` compares what they hold.

mod digests;
mod judge;
mod parse;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::answer::{Answer, ProbeError};
use super::http::Http;
use super::{Member, ProbeContext, Proof, Verdict, tcp};
use crate::host::HostSession;

pub use digests::Comparison;
pub use judge::judge;
pub use parse::{
    Conf, Leader, Monitor, View, ZabState, parse_conf, parse_leader, parse_monitor, parse_view,
    parse_zabstate,
};

/// The answers of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// `mntr`.
    pub monitor: Answer<Monitor>,
    pub conf: Answer<Conf>,
    /// AdminServer `zabstate`.
    pub zab: Answer<ZabState>,
    /// AdminServer `voting_view`.
    pub view: Answer<View>,
    /// AdminServer `leader`.
    pub leader: Answer<Leader>,
}

/// Queries every member in parallel; `None` for a member that is down.
pub async fn read(members: &[Member], context: &ProbeContext) -> Vec<Option<Answers>> {
    join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        Some(ask_member(session, member, context).await)
    }))
    .await
}

async fn ask_member(
    session: &Arc<dyn HostSession>,
    member: &Member,
    context: &ProbeContext,
) -> Answers {
    let address = member.address.to_string();
    let port = context.ports.zookeeper;
    let word =
        |word: &'static str| tcp::line(session, &address, port, word, None, context.deadline);
    let admin = async {
        let mut http = Http::new(
            Arc::clone(session),
            "127.0.0.1",
            context.ports.zookeeper_admin,
            context.deadline,
        );
        let zab = command(&mut http, "zabstate")
            .await
            .and_then(|b| parse_zabstate(&b));
        if let Err(error @ (ProbeError::Unreachable { .. } | ProbeError::Silent { .. })) = &zab {
            // Another question to a port that does not answer would only wait for its limit twice
            // more.
            return (zab.clone(), Err(error.clone()), Err(error.clone()));
        }
        let view = command(&mut http, "voting_view")
            .await
            .and_then(|b| parse_view(&b));
        let leader = command(&mut http, "leader")
            .await
            .and_then(|b| parse_leader(&b));
        (zab, view, leader)
    };
    let (monitor, conf, (zab, view, leader)) = tokio::join!(word("mntr"), word("conf"), admin);
    Answers {
        monitor: monitor.and_then(|b| parse_monitor(&b)),
        conf: conf.and_then(|b| parse_conf(&b)),
        zab,
        view,
        leader,
    }
}

/// Asks one member for the masters that it lists: number → address or name. A member outside a
/// quorum does not answer, so that the list is a committed one.
///
/// # Errors
/// When the member is down, serves nobody, or its answer has another form.
pub async fn read_member_list(member: &Member) -> Answer<BTreeMap<u32, String>> {
    let context = ProbeContext::default();
    let Some(session) = member.session.as_ref() else {
        return Err(ProbeError::Unreachable {
            question: "conf".into(),
            why: "the host is down".into(),
        });
    };
    let (address, port) = (member.address.to_string(), context.ports.zookeeper);
    let answer = tcp::line(session, &address, port, "conf", None, context.deadline).await?;
    Ok(parse_conf(&answer)?.servers)
}

async fn command(http: &mut Http, name: &str) -> Answer<Vec<u8>> {
    let path = format!("/commands/{name}");
    Ok(http.get(&path).await?.ok(&path)?.body.to_vec())
}

/// Reads and judges, and proves by writing when requested and reading found no fault.
pub async fn ask(members: &[Member], proof: Proof, context: &ProbeContext) -> Verdict {
    let answers = read(members, context).await;
    let comparison = digests::compare(members, &answers, proof, context).await;
    let verdict = judge(members, &answers, &comparison);
    if proof == Proof::Write && verdict.healthy {
        return write::prove(verdict, members, context).await;
    }
    verdict
}
