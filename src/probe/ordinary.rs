//! The probes that a component names as data.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, ProbeError};
use super::http::Http;
use super::{Member, tcp};
use crate::spec::ProbeSpec;

/// What is known of a container when a process is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Whether it runs.
    pub running: bool,
    /// Seconds since it was started last.
    pub since_start_s: u64,
    /// How it is, in words, for the fault.
    pub words: String,
}

/// Asks one ordinary probe. `container` is called only for the kind that needs the container's state.
///
/// # Errors
/// With what was answered instead, fit to be shown.
pub async fn ask_ordinary<F: Future<Output = Result<ContainerState, String>>>(
    spec: &ProbeSpec,
    member: &Member,
    limit: Duration,
    container: impl FnOnce() -> F,
) -> Answer<()> {
    let session = member.session.as_ref().ok_or(ProbeError::Down)?;
    let own = member.address.to_string();
    match spec {
        ProbeSpec::Http {
            address,
            port,
            path,
            status,
        } => {
            let address = address.as_deref().unwrap_or(&own);
            let reply = Http::new(Arc::clone(session), address, *port, limit)
                .get(path)
                .await?;
            if reply.status == *status {
                Ok(())
            } else {
                Err(reply.unwanted(&format!("GET :{port}{path}")))
            }
        }
        ProbeSpec::TcpLine {
            address,
            port,
            send,
            expect,
        } => {
            let address = address.as_deref().unwrap_or(&own);
            let answer =
                tcp::line(session, address, *port, send, Some(expect.len()), limit).await?;
            if answer.starts_with(expect.as_bytes()) {
                Ok(())
            } else {
                Err(ProbeError::malformed(
                    &format!("port {port}"),
                    "not the expected answer",
                    &answer,
                ))
            }
        }
        ProbeSpec::Process { stable_s } => {
            let state = container()
                .await
                .map_err(|why| ProbeError::malformed("container", why, b""))?;
            if !state.running {
                return Err(ProbeError::malformed(
                    "container",
                    "it does not run",
                    state.words.as_bytes(),
                ));
            }
            if state.since_start_s < u64::from(*stable_s) {
                let why = format!(
                    "it was started {} s ago, {stable_s} s without a restart are asked for",
                    state.since_start_s
                );
                return Err(ProbeError::malformed(
                    "container",
                    why,
                    state.words.as_bytes(),
                ));
            }
            Ok(())
        }
    }
}
