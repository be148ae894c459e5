//! Data that a host sent and the local reader has not taken yet: in memory, then in a file.
//!
//! The protocol library grants the host a new window before data is delivered, so a slow reader does
//! not slow down the host. Waiting for it would hold up every other channel of the connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::{Buf as _, Bytes};
use tempfile::tempfile;

/// Limit of the part in memory, in bytes.
const MAX_MEMORY_BYTES: usize = 4 << 20;
/// Limit of the part in the file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Bytes read back from the file at once.
const READ_BYTES: u64 = 256 << 10;

/// A queue of bytes.
#[derive(Default)]
pub(super) struct Backlog {
    memory: VecDeque<Bytes>,
    held: usize,
    spill: Option<Spill>,
}

/// An unlinked temporary file.
struct Spill {
    file: File,
    start: u64,
    end: u64,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.spill.is_none()
    }

    /// Whether no more data may be added until the reader has taken some.
    pub(super) fn is_full(&self) -> bool {
        self.spill
            .as_ref()
            .is_some_and(|spill| spill.end - spill.start > MAX_FILE_BYTES)
    }

    /// Adds data at the end.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub(super) fn push(&mut self, data: Bytes) -> io::Result<()> {
        if self.spill.is_none() && self.held < MAX_MEMORY_BYTES {
            self.held += data.len();
            self.memory.push_back(data);
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill {
                file: tempfile()?,
                start: 0,
                end: 0,
            }),
        };
        spill.file.write_all_at(&data, spill.end)?;
        spill.end += data.len() as u64;
        Ok(())
    }

    /// The first bytes; `None` when there are none.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) fn front(&mut self) -> io::Result<Option<&mut Bytes>> {
        if self.memory.is_empty()
            && let Some(spill) = &mut self.spill
        {
            let length = READ_BYTES.min(spill.end - spill.start);
            let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
            spill.file.read_exact_at(&mut chunk, spill.start)?;
            spill.start += length;
            if spill.start == spill.end {
                self.spill = None;
            }
            self.held += chunk.len();
            self.memory.push_back(chunk.into());
        }
        Ok(self.memory.front_mut())
    }

    /// Removes the first bytes.
    pub(super) fn advance(&mut self, count: usize) {
        self.held -= count;
        if let Some(first) = self.memory.front_mut() {
            first.advance(count);
            if first.is_empty() {
                self.memory.pop_front();
            }
        }
    }

    /// Drops everything: the reader is gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_in_order_through_the_file() {
        let mut backlog = Backlog::default();
        let chunk = |n: usize| Bytes::from(vec![u8::try_from(n % 251).unwrap(); 100_000]);
        let mut taken = 0;
        let mut take = |backlog: &mut Backlog, most: usize| {
            let mut left = most;
            while left > 0 {
                let Some(first) = backlog.front().unwrap() else {
                    break;
                };
                let count = first.len().min(left).min(7_001);
                for byte in &first[..count] {
                    assert_eq!(usize::from(*byte), (taken / 100_000) % 251);
                    taken += 1;
                }
                backlog.advance(count);
                left -= count;
            }
        };
        for n in 0..300 {
            backlog.push(chunk(n)).unwrap();
            assert!(backlog.held < MAX_MEMORY_BYTES + (1 << 20));
            if n % 3 == 0 {
                take(&mut backlog, 50_000);
            }
        }
        take(&mut backlog, usize::MAX);
        assert_eq!(taken, 300 * 100_000);
        assert!(backlog.is_empty() && backlog.held == 0);
        backlog.push(chunk(1)).unwrap();
        backlog.clear();
        assert!(backlog.is_empty());
    }
}
