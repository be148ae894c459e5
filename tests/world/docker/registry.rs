//! A registry in the world: images by name and digest, for the pulls of Engines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::image::{Image, digest};
use super::references::Reference;

#[derive(Default)]
struct Shelf {
    /// `repository:tag` → digest of the index.
    tags: BTreeMap<String, String>,
    images: BTreeMap<String, Published>,
    /// Nobody reaches it.
    is_down: bool,
    /// The login that it asks for.
    login: Option<(String, String)>,
    /// How long a layer takes.
    layer_time: Duration,
}

/// An image as a registry gives it.
#[derive(Clone)]
pub struct Published {
    pub image: Image,
    pub index: Bytes,
}

/// Why a registry gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryFault {
    Unreachable,
    Unauthorized,
    Unknown,
}

/// Cloned handles see one registry. It stands for all registries, each with its name in the reference.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Shelf>>);

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes an image under a name, which leaves another image; returns the digest of its index.
    pub fn push(&self, reference: &str, image: Image) -> String {
        let index = image.index();
        let target = digest(&index);
        let mut shelf = self.lock();
        shelf
            .tags
            .insert(Reference::parse(reference).text(), target.clone());
        shelf
            .images
            .insert(target.clone(), Published { image, index });
        target
    }

    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    pub fn require_login(&self, username: &str, password: &str) {
        self.lock().login = Some((username.to_owned(), password.to_owned()));
    }

    pub fn set_layer_time(&self, time: Duration) {
        self.lock().layer_time = time;
    }

    pub fn layer_time(&self) -> Duration {
        self.lock().layer_time
    }

    pub fn is_down(&self) -> bool {
        self.lock().is_down
    }

    /// The image of a reference, for somebody with this login.
    pub fn find(
        &self,
        reference: &Reference,
        login: Option<&(String, String)>,
    ) -> Result<Published, RegistryFault> {
        let shelf = self.lock();
        if shelf.is_down {
            return Err(RegistryFault::Unreachable);
        }
        if shelf.login.is_some() && shelf.login.as_ref() != login {
            return Err(RegistryFault::Unauthorized);
        }
        let target = match &reference.digest {
            Some(digest) => Some(digest),
            None => shelf.tags.get(&reference.text()),
        };
        let found = target.and_then(|target| shelf.images.get(target));
        found.cloned().ok_or(RegistryFault::Unknown)
    }
}

impl RegistryFault {
    /// The status and the words of an Engine.
    pub fn answer(self, reference: &Reference) -> (u16, String) {
        let host = reference.repository.split('/').next().unwrap_or_default();
        match self {
            Self::Unreachable => {
                let why =
                    format!("Get \"https://{host}/v2/\": dial tcp: connect: no route to host");
                (500, why)
            }
            Self::Unauthorized => {
                let why = format!("Get \"https://{host}/v2/\": no basic auth credentials");
                (500, why)
            }
            Self::Unknown => {
                let name = reference.text();
                let why =
                    format!("manifest for {name} not found: manifest unknown: manifest unknown");
                (404, why)
            }
        }
    }
}
