//! Changes that tasks wait for: a [`Bell`] for what lies elsewhere, [`Changes`] to count them,
//! [`Watched`] for one value. A `watch` of tokio wakes its waiters in an order that differs from run to
//! run; here it is the order in which they began to wait.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Wakes those who wait for a change.
#[derive(Default)]
pub struct Bell(Notify);

impl Bell {
    /// Something has changed.
    pub fn ring(&self) {
        self.0.notify_waiters();
    }

    /// Waits until something is there.
    pub async fn wait_for<T>(&self, mut find: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut rung = pin!(self.0.notified());
            // From now on no ring is missed.
            rung.as_mut().enable();
            if let Some(found) = find() {
                return found;
            }
            rung.await;
        }
    }
}

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    bell: Bell,
}

/// Counts changes. Cloned handles see one count.
#[derive(Clone, Default)]
pub struct Changes(Arc<Counter>);

impl Changes {
    /// Counts one more change and wakes whoever waits for it.
    pub fn add(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.bell.ring();
    }

    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Returns once the count is another one.
    pub async fn after(&self, seen: u64) -> u64 {
        let is_new = || Some(self.count()).filter(|count| *count != seen);
        self.0.bell.wait_for(is_new).await
    }

    /// Sees the changes from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            seen: self.count(),
            changes: self.clone(),
        }
    }
}

/// One reader's view of changes.
pub struct Subscription {
    changes: Changes,
    seen: u64,
}

impl Subscription {
    /// Returns once there was a change that this reader has not seen.
    pub async fn changed(&mut self) {
        self.seen = self.changes.after(self.seen).await;
    }

    pub fn mark_seen(&mut self) {
        self.seen = self.changes.count();
    }
}

struct Cell<T> {
    value: Mutex<T>,
    bell: Bell,
}

/// A value, and who waits for it. Cloned handles see one value.
pub struct Watched<T>(Arc<Cell<T>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + PartialEq> Watched<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(Cell {
            value: Mutex::new(value),
            bell: Bell::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self) -> T {
        self.lock().clone()
    }

    /// Sets the value and wakes whoever waits, unless it was the same before.
    pub fn set(&self, value: T) {
        let is_new = *self.lock() != value;
        if is_new {
            *self.lock() = value;
            self.0.bell.ring();
        }
    }

    /// Returns the value once it meets a condition.
    pub async fn wait_for(&self, meets: impl Fn(&T) -> bool) -> T {
        let met = || Some(self.get()).filter(&meets);
        self.0.bell.wait_for(met).await
    }
}

impl Watched<u64> {
    /// Counts one more change.
    pub fn count(&self) {
        let next = self.get() + 1;
        self.set(next);
    }
}
