//! Asks the running members who the masters are, when the hosts' records do not tell.

use std::sync::Arc;

use futures::future::join_all;

use super::host_run::Hosts;
use super::ledger::{EarlyExit, Ledger};
use super::planned::Planned;
use super::run_context::RunContext;
use crate::desired::Recorded;
use crate::plan::{self, MastersError, MemberLists, Observed};
use crate::probe::{self, Member};
use crate::spec::ExitCode;

/// Completes the records with the numbers that only running members know, and checks that the
/// inventory lists the masters of the cluster. Asks nobody when the records tell everything.
///
/// # Errors
/// When the inventory lists other masters, or when a number stays unknown.
pub(super) async fn complete_records(
    cx: &RunContext,
    hosts: &Hosts,
    observed: &Observed,
    recorded: &mut Recorded,
) -> Result<(), MastersError> {
    let members = if plan::needs_member_lists(&cx.offline, observed, recorded) {
        ask_members(hosts).await
    } else {
        MemberLists::default()
    };
    recorded.committed = plan::check_masters(&cx.offline, recorded, &members)?;
    Ok(())
}

/// Checks a plan that changes masters of a cluster made before there was a record of them, because
/// that run also writes the first record.
///
/// # Errors
/// When the running members list other masters than the inventory.
pub(super) async fn confirm_masters(
    cx: &RunContext,
    hosts: &Hosts,
    planned: &Planned,
) -> Result<(), MastersError> {
    let Planned { recorded, plan, .. } = planned;
    let was_asked = !recorded.committed.is_empty();
    if was_asked || !plan::changes_unrecorded_masters(&cx.offline, recorded, plan) {
        return Ok(());
    }
    plan::check_masters(&cx.offline, recorded, &ask_members(hosts).await).map(drop)
}

/// Ends the run because the inventory lists other masters than the cluster has.
pub(super) fn refuse(ledger: &Ledger, error: &MastersError) -> EarlyExit {
    let text = format!("{error}; nothing was changed");
    ledger.stop_with(ExitCode::REFUSED, text, vec![error.hint()])
}

async fn ask_members(hosts: &Hosts) -> MemberLists {
    let masters = hosts.values().filter(|host| host.info.is_master());
    let members: Vec<Member> = masters
        .map(|host| Member {
            host: host.info.name.clone(),
            address: host.info.address,
            member: None,
            session: Some(Arc::clone(&host.session)),
        })
        .collect();
    let answers = join_all(members.iter().map(probe::read_member_list)).await;
    let mut out = MemberLists::default();
    for (member, answer) in members.into_iter().zip(answers) {
        match answer {
            Ok(list) => _ = out.lists.insert(member.host, list),
            Err(error) => _ = out.silent.insert(member.host, error.to_string()),
        }
    }
    tracing::info!(?out, "asked the running members who the masters are");
    out
}
