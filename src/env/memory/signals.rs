use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::env::{Signal, SignalStream, Signals};

/// Signals that a test sends. Its clones reach the same listeners.
#[derive(Debug, Clone, Default)]
pub struct MemorySignals(Arc<Mutex<Vec<mpsc::UnboundedSender<Signal>>>>);

impl MemorySignals {
    /// Sends a signal. `false` when nobody listens: a real process would end.
    #[must_use]
    pub fn send(&self, signal: Signal) -> bool {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(signal).is_ok());
        !listeners.is_empty()
    }
}

impl Signals for MemorySignals {
    fn listen(&self) -> std::io::Result<SignalStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(sender);
        let next = async |mut signals: mpsc::UnboundedReceiver<Signal>| {
            signals.recv().await.map(|signal| (signal, signals))
        };
        Ok(futures::stream::unfold(receiver, next).boxed())
    }
}
