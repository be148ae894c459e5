//! A connected host during a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use super::compose::Compose;
use super::reconnect::ReconnectingSession;
use super::run_context::{HostInfo, RunContext};
use super::saved_images::SavedImages;
use crate::docker::Engine;
use crate::host::HostSession;
use crate::spec::HostName;

/// Pause between the end of a stream and the check whether its connection ended too.
pub(super) const CLOSE_DELAY: Duration = Duration::from_millis(100);

/// A host with its connection.
pub(super) struct HostRun {
    pub info: HostInfo,
    /// The connection, for its users.
    pub session: Arc<dyn HostSession>,
    /// The same connection, for those who reopen it.
    pub line: Arc<ReconnectingSession>,
    pub engine: Engine,
    /// Held while files are written: components run in parallel, and their files share one staging
    /// folder.
    pub placing: Mutex<()>,
    /// Held while an image is built.
    pub building: Mutex<()>,
    /// Held while an image is loaded: two would share the line and have no rate of their own.
    pub loading: Mutex<()>,
    /// Images for other hosts.
    pub saved: SavedImages,
    /// Filled when the first container of a run is created.
    pub compose: OnceCell<Compose>,
}

/// The connected hosts.
pub(super) type Hosts = BTreeMap<HostName, Arc<HostRun>>;

impl HostRun {
    /// A host to which the session was just opened.
    pub fn new(cx: &RunContext, info: &HostInfo, session: Arc<dyn HostSession>) -> Self {
        let line = Arc::new(ReconnectingSession::new(session));
        let session: Arc<dyn HostSession> = Arc::clone(&line) as Arc<dyn HostSession>;
        let engine = Engine::over(Arc::clone(&session)).answering_within(cx.timeouts.answer);
        Self {
            info: info.clone(),
            session,
            line,
            engine,
            placing: Mutex::new(()),
            building: Mutex::new(()),
            loading: Mutex::new(()),
            saved: SavedImages::default(),
            compose: OnceCell::new(),
        }
    }

    /// The kind of its Engine's store; `None` when the Engine does not tell.
    pub async fn has_containerd_store(&self) -> Option<bool> {
        self.saved.has_containerd_store(&self.engine).await
    }
}
