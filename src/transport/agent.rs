//! The operator's SSH agent. It is spoken to only after the host is proven.

use std::{path::Path, time::Duration};

use russh::keys::agent::{AgentIdentity, AgentSessionBinding, client::AgentClient};
use tokio::{net::UnixStream, time::timeout};

/// A touch of a security key or a confirmation dialog takes a person's time.
const SIGN: Duration = Duration::from_secs(60);

/// One connection to the agent, for one host.
pub(super) struct Agent(AgentClient<UnixStream>);

impl Agent {
    /// Connects, and binds the connection to this host so that keys constrained to destinations can be used.
    pub(super) async fn connect(
        socket: &Path,
        binding: Option<&AgentSessionBinding>,
    ) -> Result<Self, String> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|e| format!("the agent at {} cannot be reached ({e})", socket.display()))?;
        let mut client = AgentClient::connect(stream);
        if let Some(binding) = binding {
            // agents without this extension answer with a failure and work all the same
            let bound = client.bind_session(binding, false).await;
            tracing::debug!(ok = bound.is_ok(), "agent session bound");
        }
        Ok(Self(client))
    }

    pub(super) async fn identities(&mut self) -> Result<Vec<AgentIdentity>, String> {
        self.0
            .request_identities()
            .await
            .map_err(|e| format!("the agent does not list its keys ({e})"))
    }

    pub(super) async fn sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<russh::keys::HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        match timeout(SIGN, self.0.sign_request(identity, hash, data)).await {
            Ok(Ok(signed)) => Ok(signed),
            Ok(Err(e)) => Err(format!("the agent did not sign ({e})")),
            Err(_) => Err(format!("the agent did not sign within {SIGN:?}")),
        }
    }
}
