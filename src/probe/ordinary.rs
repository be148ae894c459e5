//! The probes that a component declares in its component.toml.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, ProbeError};
use super::http::Http;
use super::{Member, tcp};
use crate::spec::{ProbeSpec, Secret};

/// The state of a container, for a probe of kind process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Whether it runs.
    pub running: bool,
    /// Seconds since its last start.
    pub since_start_s: u64,
    /// Exit code and restarts, for the fault's text.
    pub words: String,
}

/// Runs one ordinary probe. `secrets`: the generated ones, for a probe with credentials.
/// `container` is called only for the kind that needs the container's state.
///
/// # Errors
/// When the probe does not pass; the text says what was answered instead.
pub async fn ask_ordinary<F: Future<Output = Answer<ContainerState>>>(
    spec: &ProbeSpec,
    member: &Member,
    limit: Duration,
    secrets: &BTreeMap<String, Secret>,
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
        ProbeSpec::Https {
            port,
            path,
            status,
            ca,
            login,
        } => {
            let login = login.as_ref().and_then(|login| {
                let password = secrets.get(&login.secret)?;
                Some((login.user.clone(), password.clone()))
            });
            let reply = Http::new(Arc::clone(session), own, *port, limit)
                .with_tls(ca)?
                .with_login(login.as_ref())
                .get(path)
                .await?;
            if reply.status == *status {
                Ok(())
            } else {
                Err(reply.unwanted(&format!("GET https :{port}{path}")))
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
                    "unexpected answer",
                    &answer,
                ))
            }
        }
        ProbeSpec::Process { stable_s } => {
            let state = container().await?;
            if !state.running {
                return Err(ProbeError::malformed(
                    "container",
                    "not running",
                    state.words.as_bytes(),
                ));
            }
            if state.since_start_s < u64::from(*stable_s) {
                let why = format!(
                    "started {} s ago, must run for {stable_s} s without a restart",
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
