//! Completes remedies with what only the command line knows: the inventory that the operator gave.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{DEFAULT_INVENTORY, SourceArgs};
use crate::event::{Event, EventSink};
use crate::spec::Remedy;

/// The inventory to name in commands; `None` for the default one.
pub(super) fn named_inventory(source: &SourceArgs) -> Option<PathBuf> {
    named_file(&source.inventory).map(Path::to_owned)
}

/// The file to name in commands; `None` for the default one.
pub(super) fn named_file(inventory: &Path) -> Option<&Path> {
    (inventory != Path::new(DEFAULT_INVENTORY)).then_some(inventory)
}

/// The remedies as text, with the inventory in every command that reads one.
pub(super) fn with_inventory(remedies: &[Remedy], inventory: Option<&Path>) -> Vec<Remedy> {
    let complete = |remedy: &Remedy| Remedy::Advice(remedy.text(inventory));
    remedies.iter().map(complete).collect()
}

/// Passes events on with the inventory in their remedies, and the log of the run in its result.
pub(super) struct CompletedEvents {
    pub(super) events: Arc<dyn EventSink>,
    /// `None` for the default one.
    pub(super) inventory: Option<PathBuf>,
    /// Whether there is an inventory.
    pub(super) has_inventory: bool,
    pub(super) log: Option<PathBuf>,
}

impl EventSink for CompletedEvents {
    fn send(&self, mut event: Event) {
        let complete = |remedies: &mut Vec<Remedy>| {
            if !self.has_inventory {
                let kept = std::mem::take(remedies).into_iter();
                *remedies = kept.filter_map(Remedy::without_inventory).collect();
            }
            *remedies = with_inventory(remedies, self.inventory.as_deref());
        };
        match &mut event {
            Event::HostFailed { failure, .. } => complete(&mut failure.hints),
            Event::Warning { hints, .. } | Event::GateFailed { hints, .. } => complete(hints),
            Event::Summary { services, .. } => {
                services.iter_mut().for_each(|row| complete(&mut row.hints));
            }
            Event::Result(result) => {
                complete(&mut result.hints);
                result.log = self.log.as_ref().map(|path| path.display().to_string());
            }
            _ => {}
        }
        self.events.send(event);
    }
}
