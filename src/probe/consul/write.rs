//! The proof by writing: a key is written through each server, read back consistently through
//! another one, and deleted.

use std::sync::Arc;

use futures::future::join_all;

use crate::probe::answer::{Answer, ProbeError};
use crate::probe::http::Http;
use crate::probe::tally::list;
use crate::probe::{Member, ProbeContext, Verdict};

/// Writes through each server, reads back through the next one, and adds the result to the verdict.
pub(super) async fn prove(
    mut verdict: Verdict,
    members: &[Member],
    context: &ProbeContext,
) -> Verdict {
    let mut ways: Vec<(&Member, Http)> = members
        .iter()
        .filter_map(|m| {
            let session = Arc::clone(m.session.as_ref()?);
            Some((
                m,
                Http::new(
                    session,
                    m.address.to_string(),
                    context.ports.consul,
                    context.deadline,
                ),
            ))
        })
        .collect();
    let token = context.random.hex128();
    let key = |index: usize| format!("/v1/kv/toots/proof-{token}-{index}");
    let count = ways.len();
    let mut failed = Vec::new();

    let written = join_all(
        ways.iter_mut()
            .enumerate()
            .map(|(i, (_, http))| put(http, key(i), &token)),
    )
    .await;
    collect(&mut failed, &ways, written.into_iter(), "write a key");
    let mut index = 0;
    if failed.is_empty() {
        let read = join_all(
            ways.iter_mut()
                .enumerate()
                .map(|(i, (_, http))| get(http, key((i + 1) % count), &token)),
        )
        .await;
        index = read
            .iter()
            .filter_map(|r| r.as_ref().ok())
            .copied()
            .max()
            .unwrap_or(0);
        collect(
            &mut failed,
            &ways,
            read.into_iter().map(|r| r.map(|_| ())),
            "read back the key that another server wrote",
        );
    }
    let deleted = join_all(
        ways.iter_mut()
            .enumerate()
            .map(|(i, (_, http))| async move {
                let path = key(i);
                http.delete(&path).await?.ok(&path).map(|_| ())
            }),
    )
    .await;
    collect(&mut failed, &ways, deleted.into_iter(), "delete the key");

    if failed.is_empty() {
        let hosts: Vec<&str> = ways.iter().map(|(m, _)| m.host.as_str()).collect();
        verdict.proof = format!("consistent write at index {index} through {}", list(&hosts));
    } else {
        verdict.healthy = false;
        verdict.proof = "none".into();
        verdict.faults.extend(failed);
    }
    verdict
}

fn collect(
    failed: &mut Vec<String>,
    ways: &[(&Member, Http)],
    results: impl Iterator<Item = Answer<()>>,
    what: &str,
) {
    for ((member, _), result) in ways.iter().zip(results) {
        if let Err(error) = result {
            failed.push(format!("{}: {what}: {error}", member.host));
        }
    }
}

async fn put(http: &mut Http, path: String, token: &str) -> Answer<()> {
    let reply = http.put(&path, token.to_owned()).await?.ok(&path)?;
    if reply.body.trim_ascii() == b"true" {
        Ok(())
    } else {
        Err(ProbeError::malformed(&path, "not written", &reply.body))
    }
}

/// Reads the key and returns the index at which it was written.
async fn get(http: &mut Http, key: String, token: &str) -> Answer<u64> {
    let path = format!("{key}?consistent&raw");
    let reply = http.get(&path).await?.ok(&path)?;
    if reply.body != token.as_bytes() {
        return Err(ProbeError::malformed(
            &path,
            "value differs from what was written",
            &reply.body,
        ));
    }
    Ok(reply
        .header("x-consul-index")
        .and_then(|i| i.parse().ok())
        .unwrap_or(0))
}
