//! An Engine as its machine's disk holds it: saved in one life, begun with in others.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Engine;
use super::container::{Container, State};
use super::images::StoredImage;
use crate::process::Log;

/// Images and containers; no process.
pub struct SavedEngine {
    images: Vec<StoredImage>,
    containers: Vec<SavedContainer>,
    created: u64,
    build_bases: BTreeSet<String>,
}

struct SavedContainer {
    id: String,
    name: String,
    body: Value,
    image: String,
    settings: Value,
    contains: String,
    created: Timestamp,
}

impl SavedContainer {
    fn new(container: &Container) -> Self {
        Self {
            id: container.id.clone(),
            name: container.name.clone(),
            body: container.body.clone(),
            image: container.image.clone(),
            settings: container.settings.clone(),
            contains: container.contains.clone(),
            created: container.created,
        }
    }
}

impl Engine {
    /// What its disk holds.
    pub fn saved(&self) -> SavedEngine {
        let state = self.lock();
        SavedEngine {
            images: state.images.images.clone(),
            containers: state.containers.iter().map(SavedContainer::new).collect(),
            created: state.created,
            build_bases: state.build_bases.clone(),
        }
    }

    /// Begins with what another Engine's disk held, and starts its containers.
    pub fn begin_with(&self, saved: &SavedEngine) {
        let mut state = self.lock();
        state.images.images.clone_from(&saved.images);
        state.created = saved.created;
        state.build_bases.clone_from(&saved.build_bases);
        for container in &saved.containers {
            let stored = saved.images.iter();
            let mut stored = stored.filter(|stored| stored.id == container.image);
            let program = self.program_of(stored.next().expect("the image of a container"));
            state.containers.push(Container {
                id: container.id.clone(),
                name: container.name.clone(),
                body: container.body.clone(),
                image: container.image.clone(),
                settings: container.settings.clone(),
                program,
                contains: container.contains.clone(),
                state: State::Exited,
                exit_code: 0,
                error: String::new(),
                is_oom_killed: false,
                restart_count: 0,
                pause: Duration::ZERO,
                created: container.created,
                started: None,
                finished: None,
                is_stopped_by_user: false,
                ends_for_good: false,
                is_being_removed: false,
                log: Log::default(),
                process: None,
                epoch: 0,
            });
            self.run(&mut state, &container.id, "policy");
        }
    }
}
