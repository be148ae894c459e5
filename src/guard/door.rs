//! The only door through which a running container is stopped. For a container of a component with
//! a quorum it reads every such service and asks the guard right before the request, so that no
//! answer is older than the connection over which it is used: a caller that asks early and stops
//! late would go on with its old answer after a reconnect.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use async_trait::async_trait;
use tokio::time::Instant;

use super::quorum::{Refusal, Standing, may_stop};
use crate::docker::{DockerError, Engine};
use crate::env::WallClock;
use crate::probe::{Member, Verdict, is_member};
use crate::spec::{ComponentName, HostName};

/// Why a container is stopped. A test lists the code that builds each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It comes back, from the same or another specification: the rest must keep a majority.
    Replace,
    /// Its host left the service: the service's own committed membership must not list it.
    NotAMember,
    /// The whole cluster ends: no majority is left to protect.
    WholeCluster,
}

/// Reads the services with a quorum.
#[async_trait]
pub trait QuorumServices: Send + Sync {
    /// The components with a quorum.
    fn components(&self) -> BTreeSet<ComponentName>;

    /// The current verdict of each of them.
    async fn read(&self) -> BTreeMap<ComponentName, Verdict>;

    /// Waits after a refusal that may end by itself: a member is late for a moment. `false` when the
    /// refusal stands; `began`: when the guard was asked first.
    async fn wait_to_ask_again(
        &self,
        component: &ComponentName,
        refusal: &Refusal,
        began: Instant,
    ) -> bool;
}

/// Why a container was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The rest would lose its majority.
    #[error("{0}")]
    Quorum(Refusal),
    /// Its service still counts on it.
    #[error("{host} is still a member of {component}")]
    StillMember {
        host: HostName,
        component: ComponentName,
    },
    /// Its service did not tell who its members are.
    #[error("the members of {component} are unknown, so {host} may still be one")]
    UnknownMembers {
        host: HostName,
        component: ComponentName,
    },
    /// The Engine refused, or did not answer.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// The door of one host.
pub struct Door<'a> {
    pub host: &'a HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    pub engine: &'a Engine,
    pub services: &'a dyn QuorumServices,
    pub clock: &'a WallClock,
}

impl Door<'_> {
    /// Stops a container of `component`, with SIGKILL after `grace_s` seconds. Does nothing when it
    /// does not run or does not exist.
    ///
    /// # Errors
    /// When the guard or the Engine refuses; then it was not stopped.
    pub async fn stop(
        &self,
        container: &str,
        component: &ComponentName,
        grace_s: u32,
        reason: StopReason,
    ) -> Result<(), StopError> {
        self.ask_guard(container, component, reason).await?;
        match self.engine.stop_container(container, grace_s).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => Ok(result?),
        }
    }

    /// Stops a container and removes it with its anonymous volumes. Does nothing when it does not
    /// exist.
    ///
    /// # Errors
    /// When the guard or the Engine refuses.
    pub async fn remove(
        &self,
        container: &str,
        component: &ComponentName,
        grace_s: u32,
        reason: StopReason,
    ) -> Result<(), StopError> {
        self.stop(container, component, grace_s, reason).await?;
        // Without force: the Engine itself refuses when somebody started it again meanwhile.
        match self.engine.remove(container).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => Ok(result?),
        }
    }

    /// Sends a signal to a container. SIGHUP makes programs read their files again; any other
    /// signal may end a member, and the guard is asked.
    ///
    /// # Errors
    /// When the guard or the Engine refuses.
    pub async fn signal(
        &self,
        container: &str,
        component: &ComponentName,
        signal: &str,
    ) -> Result<(), StopError> {
        if !matches!(signal, "HUP" | "SIGHUP") {
            self.ask_guard(container, component, StopReason::Replace)
                .await?;
        }
        Ok(self.engine.send_signal(container, signal).await?)
    }

    async fn ask_guard(
        &self,
        container: &str,
        component: &ComponentName,
        reason: StopReason,
    ) -> Result<(), StopError> {
        if reason == StopReason::WholeCluster || !self.services.components().contains(component) {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            let answer = self.ask_guard_once(container, component, reason).await;
            let Err(StopError::Quorum(refusal)) = &answer else {
                return answer;
            };
            let services = self.services;
            if !services.wait_to_ask_again(component, refusal, began).await {
                return answer;
            }
        }
    }

    async fn ask_guard_once(
        &self,
        container: &str,
        component: &ComponentName,
        reason: StopReason,
    ) -> Result<(), StopError> {
        let (detail, views) = futures::join!(self.engine.inspect(container), self.services.read());
        let serves = match detail {
            Ok(detail) => Some(detail.is_serving(self.clock.now())),
            Err(error) if error.is_not_found() => Some(false),
            Err(_) => None,
        };
        let own = Standing::judge(self.host, views.get(component), serves);
        if own == Standing::NotServing || reason == StopReason::Replace {
            let views: Vec<Verdict> = views.into_values().collect();
            return may_stop(self.host, own, &views).map_err(StopError::Quorum);
        }
        self.is_no_member(component, views.get(component))
    }

    fn is_no_member(
        &self,
        component: &ComponentName,
        view: Option<&Verdict>,
    ) -> Result<(), StopError> {
        let (host, component) = (self.host.clone(), component.clone());
        let Some(committed) = view.and_then(|view| view.committed.as_ref()) else {
            return Err(StopError::UnknownMembers { host, component });
        };
        let own = Member {
            host: host.clone(),
            address: self.address,
            member: None,
            session: None,
        };
        if committed.iter().any(|listed| is_member(&own, listed)) {
            return Err(StopError::StillMember { host, component });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let host = HostName::new("m1").unwrap();
        let component = ComponentName::new("zookeeper").unwrap();
        let refusal = Refusal {
            member: host.clone(),
            service: "zookeeper".into(),
            down: Vec::new(),
            left: 1,
            members: 3,
            needed: 2,
        };
        crate::testing::snapshot_messages!("stop_error", StopError, hints: |_| Vec::new(), {
            StopError::Quorum(_) => StopError::Quorum(refusal.clone()),
            StopError::StillMember { .. } => StopError::StillMember { host: host.clone(), component: component.clone() },
            StopError::UnknownMembers { .. } => StopError::UnknownMembers { host: host.clone(), component: component.clone() },
            StopError::Docker(_) => StopError::Docker(DockerError::Refused { what: "stop toots-zookeeper".into(), status: 500, message: "no answer of the daemon".into() }),
        });
    }
}
