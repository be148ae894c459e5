//! How many key exchanges and logins may be under way at once. What suffers is one sshd, which drops
//! connections above its MaxStartups, and one jump host, behind which such servers may share a
//! machine. Hosts that share nothing do not wait for each other: at 200 ms of latency each wait
//! would cost two seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes under way in all. One costs this machine 1 to 1.5 ms of CPU time.
const MAX_HANDSHAKES: usize = 256;

/// The permits of a run.
#[derive(Debug)]
pub(super) struct Turns {
    total: Arc<Semaphore>,
    /// By route: the jump host, or the server itself.
    routes: Mutex<HashMap<String, Arc<Semaphore>>>,
    per_route: usize,
}

/// The permits of one route.
#[derive(Debug, Clone)]
pub(super) struct RouteTurns {
    total: Arc<Semaphore>,
    route: Arc<Semaphore>,
}

/// Permission for one handshake; ends when it is dropped.
pub(super) type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Turns {
    /// `per_route`: handshakes under way with one server or through one jump host.
    pub(super) fn new(per_route: usize) -> Self {
        Self {
            total: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            routes: Mutex::default(),
            per_route: per_route.max(1),
        }
    }

    /// The permits of a route.
    pub(super) fn route(&self, route: &str) -> RouteTurns {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(self.per_route));
        let route = routes.entry(route.to_owned()).or_insert_with(new);
        RouteTurns {
            total: Arc::clone(&self.total),
            route: Arc::clone(route),
        }
    }
}

impl RouteTurns {
    /// Waits for permission; `None` never happens while the run lives.
    pub(super) async fn take(self) -> Option<Turn> {
        // The route first: whoever waits for it takes nothing from the others.
        let route = self.route.acquire_owned().await.ok()?;
        Some((route, self.total.acquire_owned().await.ok()?))
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.route.available_permits()
    }
}
