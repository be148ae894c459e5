//! Prompts for secrets on the terminal, each at most once per run.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::spec::Secret;

/// Prompts a person for a secret.
#[async_trait]
pub trait Ask: Send + Sync {
    /// The answer, or `None` when nobody can be asked.
    async fn secret(&self, question: &str) -> Option<Secret>;
}

/// Answers no prompt: for runs without a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskNobody;

#[async_trait]
impl Ask for AskNobody {
    async fn secret(&self, _question: &str) -> Option<Secret> {
        None
    }
}

type Slot = Arc<Mutex<Option<Option<Secret>>>>;

/// Caches answers, so that fifty hosts with one passphrase cost one prompt.
pub(super) struct Asked {
    ask: Arc<dyn Ask>,
    answers: Mutex<HashMap<String, Slot>>,
    terminal: Mutex<()>,
}

impl Asked {
    pub(super) fn new(ask: Arc<dyn Ask>) -> Self {
        Self {
            ask,
            answers: Mutex::default(),
            terminal: Mutex::default(),
        }
    }

    /// The answer for `key`. A caller that comes while the prompt is open waits for the same
    /// answer.
    pub(super) async fn once(&self, key: &str, question: &str) -> Option<Secret> {
        let slot = self
            .answers
            .lock()
            .await
            .entry(key.to_owned())
            .or_default()
            .clone();
        let mut answer = slot.lock().await;
        if answer.is_none() {
            *answer = Some(self.each_time(question).await);
        }
        answer.clone().flatten()
    }

    /// Prompts every time: for one-time codes.
    pub(super) async fn each_time(&self, question: &str) -> Option<Secret> {
        // One prompt on the terminal at a time.
        let _turn = self.terminal.lock().await;
        self.ask.secret(question).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Counting(AtomicU32);

    #[async_trait]
    impl Ask for Counting {
        async fn secret(&self, _question: &str) -> Option<Secret> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Some(Secret::new("answer"))
        }
    }

    #[tokio::test]
    async fn concurrent_requests_share_a_question() {
        let ask = Arc::new(Counting(AtomicU32::new(0)));
        let asked = Asked::new(ask.clone());
        let answers =
            futures::future::join_all((0..20).map(|_| asked.once("key", "passphrase: "))).await;
        assert!(
            answers
                .iter()
                .all(|a| a.as_ref().is_some_and(|a| a.expose() == "answer"))
        );
        assert_eq!(ask.0.load(Ordering::SeqCst), 1);
        asked.once("other", "passphrase: ").await;
        assert_eq!(ask.0.load(Ordering::SeqCst), 2);
    }
}
