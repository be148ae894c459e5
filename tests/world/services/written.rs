//! The numbered writes of a client, and which of them were acknowledged: those must be found later.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Numbers {
    acknowledged: BTreeSet<u64>,
    tried: u64,
}

/// Cloned handles see the same writes.
#[derive(Debug, Clone, Default)]
pub struct Written(Arc<Mutex<Numbers>>);

impl Written {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next write.
    pub fn begin(&self) -> u64 {
        let mut numbers = self.lock();
        numbers.tried += 1;
        numbers.tried
    }

    pub fn acknowledge(&self, number: u64) {
        self.lock().acknowledged.insert(number);
    }

    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.lock().acknowledged.clone()
    }

    /// Acknowledged writes that are not among those that are there.
    pub fn lost(&self, there: &BTreeSet<u64>) -> BTreeSet<u64> {
        self.lock()
            .acknowledged
            .difference(there)
            .copied()
            .collect()
    }
}
