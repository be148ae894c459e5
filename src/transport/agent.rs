//! The operator's SSH agent. It is used only after the host has proven its identity.

use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Leaves a person time to touch a security key or answer a confirmation dialog.
const SIGN_LIMIT: Duration = Duration::from_secs(60);

/// Why the agent did not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AgentError {
    #[error("cannot connect to the agent at {} ({why})", socket.display())]
    Connect { socket: PathBuf, why: String },
    #[error("the agent does not list its keys ({0})")]
    List(String),
    #[error("the agent did not sign ({0})")]
    Sign(String),
    #[error("the agent did not sign within {0:?}")]
    SignDeadline(Duration),
}

/// One connection to the agent, for one host.
pub(super) struct SshAgent(AgentClient<UnixStream>);

impl SshAgent {
    /// Connects and binds the connection to this host, so that keys constrained to destinations
    /// work.
    pub(super) async fn connect(
        socket: &Path,
        binding: Option<&AgentSessionBinding>,
    ) -> Result<Self, AgentError> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|e| AgentError::Connect {
                socket: socket.to_owned(),
                why: e.to_string(),
            })?;
        let mut client = AgentClient::connect(stream);
        if let Some(binding) = binding {
            // Agents without this extension answer with a failure and sign all the same.
            let bound = client.bind_session(binding, false).await;
            tracing::debug!(ok = bound.is_ok(), "agent session bound");
        }
        Ok(Self(client))
    }

    pub(super) async fn identities(&mut self) -> Result<Vec<AgentIdentity>, AgentError> {
        self.0
            .request_identities()
            .await
            .map_err(|e| AgentError::List(e.to_string()))
    }

    pub(super) async fn sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<russh::keys::HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, AgentError> {
        match timeout(SIGN_LIMIT, self.0.sign_request(identity, hash, data)).await {
            Ok(Ok(signed)) => Ok(signed),
            Ok(Err(e)) => Err(AgentError::Sign(e.to_string())),
            Err(_) => Err(AgentError::SignDeadline(SIGN_LIMIT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("agent_error", AgentError, hints: |_| Vec::new(), {
            AgentError::Connect { .. } => AgentError::Connect {
                socket: "/run/agent".into(),
                why: "connection refused".into(),
            },
            AgentError::List(_) => AgentError::List("agent refused".into()),
            AgentError::Sign(_) => AgentError::Sign("agent refused".into()),
            AgentError::SignDeadline(_) => AgentError::SignDeadline(SIGN_LIMIT),
        });
    }
}
