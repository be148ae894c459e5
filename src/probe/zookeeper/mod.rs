//! ZooKeeper: every member is asked for what it is, what it lists and whether it votes; nothing is believed that a lone or
//! cut-off server also says (`ruok`, the AdminServer's status 200, a leader's count of synced followers, `srvr`'s mode alone).
//!
//! The state comes from `mntr`, which holds all that `srvr` says and the digest mismatches besides, the membership from `conf`, and
//! the voting state from the AdminServer, which alone has it and is asked over the host's loopback address.

mod judge;
mod parse;
mod wire;
mod write;

use std::sync::Arc;

use futures::future::join_all;

use super::answer::{Answer, ProbeError};
use super::http::Http;
use super::{Context, Member, Proof, Verdict, tcp};
use crate::transport::Session;

pub use judge::judge;
pub use parse::{
    Conf, Leader, Monitor, View, ZabState, parse_conf, parse_leader, parse_monitor, parse_view,
    parse_zabstate,
};

/// What one member answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// `mntr`.
    pub monitor: Answer<Monitor>,
    /// `conf`.
    pub conf: Answer<Conf>,
    /// AdminServer `zabstate`.
    pub zab: Answer<ZabState>,
    /// AdminServer `voting_view`.
    pub view: Answer<View>,
    /// AdminServer `leader`.
    pub leader: Answer<Leader>,
}

/// Asks every member at once; `None` for a member that is down.
pub async fn read(members: &[Member], context: &Context) -> Vec<Option<Answers>> {
    join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        Some(ask_member(session, member, context).await)
    }))
    .await
}

async fn ask_member(session: &Arc<dyn Session>, member: &Member, context: &Context) -> Answers {
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
            // The same question of a port that does not answer would only add its limit twice more.
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

async fn command(http: &mut Http, name: &str) -> Answer<Vec<u8>> {
    let path = format!("/commands/{name}");
    Ok(http.get(&path).await?.ok(&path)?.body.to_vec())
}

/// Reads, judges, and writes when that is asked for and reading found nothing wrong.
pub async fn ask(members: &[Member], proof: Proof, context: &Context) -> Verdict {
    let verdict = judge(members, &read(members, context).await);
    if proof == Proof::Write && verdict.healthy {
        return write::prove(verdict, members, context).await;
    }
    verdict
}
