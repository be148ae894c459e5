//! Signals that ask a command to end.

use futures::StreamExt as _;
use futures::stream::BoxStream;

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
    HangUp,
}

/// The signals from the moment of listening on, as they come.
pub type SignalStream = BoxStream<'static, Signal>;

/// Listens to signals. Once it listens, they do not end the process by themselves.
pub trait Signals: Send + Sync {
    /// # Errors
    /// When the system refuses a handler.
    fn listen(&self) -> std::io::Result<SignalStream>;
}

impl dyn Signals + '_ {
    /// Waits for the first Ctrl-C from now on; for ever when signals cannot be listened to.
    pub async fn interrupted(&self) {
        if let Ok(mut signals) = self.listen() {
            while let Some(signal) = signals.next().await {
                if signal == Signal::Interrupt {
                    return;
                }
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Those of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessSignals;

impl Signals for ProcessSignals {
    #[expect(clippy::disallowed_methods, reason = "the signals of the real process")]
    fn listen(&self) -> std::io::Result<SignalStream> {
        use tokio::signal::unix::{SignalKind, signal};
        let stream = |kind, name| {
            let signals = signal(kind)?;
            let next = move |mut signals: tokio::signal::unix::Signal| async move {
                signals.recv().await.map(|()| (name, signals))
            };
            std::io::Result::Ok(futures::stream::unfold(signals, next).boxed())
        };
        let signals = [
            stream(SignalKind::interrupt(), Signal::Interrupt)?,
            stream(SignalKind::terminate(), Signal::Terminate)?,
            stream(SignalKind::hangup(), Signal::HangUp)?,
        ];
        Ok(futures::stream::select_all(signals).boxed())
    }
}
