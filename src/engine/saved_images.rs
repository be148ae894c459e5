//! What is known in a run of the images that one host has for others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OnceCell, Semaphore};

use crate::docker::{Engine, SavedImage};
use crate::spec::ImageRef;

/// Parallel loads: they share this machine's line, and one that ends is worth more than two halves.
pub(super) const MAX_LOADS: usize = 2;

/// The images that a host's Engine saved for others and that are still being loaded.
#[derive(Debug)]
pub(super) struct SavedImages {
    /// By the name or id under which the Engine was asked for them.
    saved: Mutex<BTreeMap<String, Weak<OnceCell<SavedImage>>>>,
    pub turns: Semaphore,
    has_containerd_store: OnceCell<bool>,
    /// What the host itself loaded in this run.
    loaded: Mutex<BTreeSet<ImageRef>>,
    /// Whether the host could not give an image to another one directly.
    pub is_indirect: AtomicBool,
    /// Held by who brings an image otherwise, because the host does not give it.
    pub replacing: tokio::sync::Mutex<()>,
}

impl Default for SavedImages {
    fn default() -> Self {
        Self {
            saved: Mutex::default(),
            turns: Semaphore::new(MAX_LOADS),
            has_containerd_store: OnceCell::new(),
            loaded: Mutex::default(),
            is_indirect: AtomicBool::new(false),
            replacing: tokio::sync::Mutex::default(),
        }
    }
}

impl SavedImages {
    /// The image that the Engine saves under this name or id.
    pub fn get(&self, name: &str) -> Arc<OnceCell<SavedImage>> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = saved.get(name).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::default();
        saved.insert(name.to_owned(), Arc::downgrade(&cell));
        cell
    }

    /// Whether the host loaded it in this run.
    pub fn has_loaded(&self, image: &ImageRef) -> bool {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.contains(image)
    }

    pub fn record_loaded(&self, image: &ImageRef) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(image.clone());
    }

    /// The kind of its Engine's store; `None` when the Engine does not tell. Asked once: it does not
    /// change while the Engine runs.
    pub async fn has_containerd_store(&self, engine: &Engine) -> Option<bool> {
        let ask = || async {
            let engine = engine.version().await.map_err(drop)?;
            Ok(engine.info.ok_or(())?.has_containerd_store)
        };
        let known: Result<_, ()> = self.has_containerd_store.get_or_try_init(ask).await;
        known.ok().copied()
    }
}
