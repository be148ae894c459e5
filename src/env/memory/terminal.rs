use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::env::{StandardStream, Terminal};
use crate::spec::Secret;

/// Standard streams in memory. Its clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct MemoryTerminal(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    input: VecDeque<u8>,
    secrets: VecDeque<Secret>,
    output: Vec<u8>,
    error: Vec<u8>,
    /// Columns and rows, when the three streams are a terminal.
    size: Option<(usize, usize)>,
}

impl MemoryTerminal {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the streams a terminal of this many columns and rows.
    pub fn resize(&self, columns: usize, rows: usize) {
        self.lock().size = Some((columns, rows));
    }

    /// Adds to standard input, which ends behind what was typed.
    pub fn type_text(&self, text: &str) {
        self.lock().input.extend(text.bytes());
    }

    /// The answer to the next question for a secret.
    pub fn type_secret(&self, secret: Secret) {
        self.lock().secrets.push_back(secret);
    }

    /// All of standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.lock().output).into_owned()
    }

    /// All of standard error so far.
    #[must_use]
    pub fn error(&self) -> String {
        String::from_utf8_lossy(&self.lock().error).into_owned()
    }

    fn take(&self, limit: u64, is_last: impl Fn(u8) -> bool) -> Vec<u8> {
        let mut state = self.lock();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let line = state.input.iter().position(|byte| is_last(*byte));
        let end = line.map_or(state.input.len(), |at| at + 1).min(limit);
        state.input.drain(..end).collect()
    }
}

#[async_trait]
impl Terminal for MemoryTerminal {
    fn is_terminal(&self, _: StandardStream) -> bool {
        self.lock().size.is_some()
    }

    fn size(&self, _: StandardStream) -> Option<(usize, usize)> {
        self.lock().size
    }

    fn write_output(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().output.extend(bytes);
        Ok(())
    }

    fn write_error(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().error.extend(bytes);
        Ok(())
    }

    async fn read_line(&self, limit: u64) -> io::Result<Vec<u8>> {
        Ok(self.take(limit, |byte| byte == b'\n'))
    }

    async fn read_input(&self, limit: u64) -> io::Result<Vec<u8>> {
        Ok(self.take(limit, |_| false))
    }

    async fn ask_secret(&self, question: &str) -> Option<Secret> {
        let mut state = self.lock();
        let answer = state.secrets.pop_front();
        state.error.extend(question.bytes());
        answer
    }
}
