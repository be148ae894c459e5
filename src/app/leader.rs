//! Finds the leading instance by asking any instance.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use crate::host::HostSession;
use crate::probe::http::Http;
use crate::probe::marathon::parse_leader;
use crate::probe::split_authority;

/// Limit of one answer. A standby whose leader was just lost answers late.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Marathon or Chronos.
#[derive(Clone)]
pub(super) struct Program {
    pub name: &'static str,
    pub port: u16,
    /// The path that names its leader.
    pub question: &'static str,
    pub session: Arc<dyn HostSession>,
    pub masters: Vec<IpAddr>,
}

impl Program {
    /// Connects to its leader.
    pub async fn leader(&self) -> Result<Http, AppError> {
        let mut why = "the inventory has no master".to_owned();
        for master in &self.masters {
            let mut http = self.http(&master.to_string(), self.port);
            let leader = match http.get(self.question).await {
                Ok(reply) => parse_leader(&reply, self.question),
                Err(error) => Err(error),
            };
            match leader {
                Ok(leader) => {
                    let (host, port) = split_authority(&leader).unwrap_or_default();
                    // The connection to the leader itself is reused.
                    return Ok(if host == master.to_string() && port == self.port {
                        http
                    } else {
                        self.http(host, port)
                    });
                }
                Err(error) => why = format!("{master}: {error}"),
            }
        }
        Err(AppError::NoLeader {
            program: self.name,
            why,
        })
    }

    fn http(&self, address: &str, port: u16) -> Http {
        Http::new(Arc::clone(&self.session), address, port, ANSWER_LIMIT)
    }
}
