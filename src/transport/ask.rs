//! Questions to the person at the terminal, each asked once per run.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::spec::Secret;

/// Asks a person for something secret.
#[async_trait]
pub trait Ask: Send + Sync {
    /// The answer, or `None` when nobody can be asked.
    async fn secret(&self, question: &str) -> Option<Secret>;
}

/// Asks nobody: for runs without a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskNobody;

#[async_trait]
impl Ask for AskNobody {
    async fn secret(&self, _question: &str) -> Option<Secret> {
        None
    }
}

/// Asks on the controlling terminal, never on standard input, and shows nothing of the answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskTerminal;

#[async_trait]
impl Ask for AskTerminal {
    async fn secret(&self, question: &str) -> Option<Secret> {
        let question = question.to_owned();
        // reading from a terminal blocks its thread
        tokio::task::spawn_blocking(move || {
            rpassword::prompt_password(question).ok().map(Secret::new)
        })
        .await
        .ok()
        .flatten()
    }
}

type Slot = Arc<Mutex<Option<Option<Secret>>>>;

/// Remembers answers, so that fifty hosts with one passphrase cost one question.
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

    /// The answer to the question known by `key`. Whoever comes while it is being asked waits for the same answer.
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

    /// Asks anew each time: for one-time codes.
    pub(super) async fn each_time(&self, question: &str) -> Option<Secret> {
        // one question on the terminal at a time
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
    async fn many_who_want_one_answer_cost_one_question() {
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
