//! What happened in the world, by its own account: the ground of every invariant. Nothing of toots'
//! own words enters it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Something that the world did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: Instant,
    /// The machine's name.
    pub host: String,
    /// What acted: a container's name, `engine`, `session`, a client.
    pub who: String,
    /// A word for the kind (`start`, `stop`, `leader`, `write`, `acknowledged`, `synced`), then its values.
    pub what: String,
}

/// A request of a controller that changes a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub host: String,
    pub by: String,
    /// What was asked for: an operation, or a request to the Engine.
    pub what: String,
    pub began: Instant,
    /// `None` while the host works on it.
    pub ended: Option<Instant>,
    /// Whether the controller held the host's lock when the host received it.
    pub was_locked: bool,
}

/// Who runs toots; others change hosts, too.
fn is_operator(by: &str) -> bool {
    by.starts_with("operator")
}

/// How many changes of operators there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    pub received: usize,
    pub under_way: usize,
}

type Watcher = Arc<dyn Fn(&Entry) + Send + Sync>;

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    changes: Vec<Change>,
    /// Changes of operators that hosts received, and those of them that hosts work on.
    counts: ChangeCounts,
    watcher: Option<Watcher>,
    /// Host and controller of each lock that is held.
    locks: std::collections::BTreeMap<String, String>,
}

/// Cloned handles write into one record.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Book>>);

impl Record {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, host: &str, who: &str, what: impl Into<String>) {
        let entry = Entry {
            at: Instant::now(),
            host: host.to_owned(),
            who: who.to_owned(),
            what: what.into(),
        };
        let watcher = self.book().watcher.clone();
        if let Some(watch) = watcher {
            watch(&entry);
        }
        self.book().entries.push(entry);
    }

    /// Calls a function for each entry from now on, before anything else happens.
    pub fn watch(&self, watcher: impl Fn(&Entry) + Send + Sync + 'static) {
        self.book().watcher = Some(Arc::new(watcher));
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.book().entries.clone()
    }

    pub fn count_entries(&self) -> usize {
        self.book().entries.len()
    }

    /// Those after so many.
    pub fn entries_after(&self, count: usize) -> Vec<Entry> {
        self.book().entries[count..].to_vec()
    }

    /// In the order in which hosts received them.
    pub fn changes(&self) -> Vec<Change> {
        self.book().changes.clone()
    }

    /// What hosts are carrying out, as host and request.
    pub fn under_way(&self) -> Vec<(String, String)> {
        let book = self.book();
        let changes = book.changes.iter().filter(|change| change.ended.is_none());
        let named = changes.map(|change| (change.host.clone(), change.what.clone()));
        named.collect()
    }

    /// Notes that a host begins to carry out a change; its end is noted when the guard is dropped.
    pub fn begin_change(&self, host: &str, by: &str, what: &str) -> ChangeGuard {
        let mut book = self.book();
        let was_locked = book.locks.get(host).is_some_and(|holder| holder == by);
        book.changes.push(Change {
            host: host.to_owned(),
            by: by.to_owned(),
            what: what.to_owned(),
            began: Instant::now(),
            ended: None,
            was_locked,
        });
        if is_operator(by) {
            book.counts.received += 1;
            book.counts.under_way += 1;
        }
        ChangeGuard {
            record: self.clone(),
            number: book.changes.len() - 1,
        }
    }

    pub fn count_changes(&self) -> ChangeCounts {
        self.book().counts
    }

    pub fn lock_taken(&self, host: &str, by: &str, holder: &str) {
        self.book().locks.insert(host.to_owned(), by.to_owned());
        self.note(host, by, format!("lock taken by {holder}"));
    }

    pub fn lock_freed(&self, host: &str) {
        let holder = self.book().locks.remove(host);
        if let Some(by) = holder {
            self.note(host, &by, "lock freed");
        }
    }
}

/// What one program notes of itself.
#[derive(Clone)]
pub struct Notes {
    pub record: Record,
    pub host: String,
    pub who: String,
}

impl Notes {
    pub fn note(&self, what: impl Into<String>) {
        self.record.note(&self.host, &self.who, what);
    }
}

/// A change under way.
pub struct ChangeGuard {
    record: Record,
    number: usize,
}

impl Drop for ChangeGuard {
    fn drop(&mut self) {
        let mut book = self.record.book();
        let change = &mut book.changes[self.number];
        change.ended = Some(Instant::now());
        let is_counted = is_operator(&change.by);
        book.counts.under_way -= usize::from(is_counted);
    }
}
