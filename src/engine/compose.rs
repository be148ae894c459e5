//! Labels that make containers known to the host's docker-compose.

use std::collections::BTreeMap;

use crate::docker::{DockerError, Engine, ImageStatus};
use crate::host::{ComposeHashes, HostSession, OperationError};
use crate::spec::ContainerSpec;

/// The answers of the host's docker-compose, and the host's images.
#[derive(Debug, Default)]
pub(super) struct Compose {
    /// Service → hash of its configuration; empty without docker-compose.
    hashes: BTreeMap<String, String>,
    /// The host's images.
    images: Vec<ImageStatus>,
}

impl Compose {
    /// The id of the image from which a container is created.
    pub(super) fn image(&self, spec: &ContainerSpec) -> Option<String> {
        let mut images = self.images.iter();
        images
            .find(|image| image.provides(&spec.image, spec.digest.as_deref()))
            .map(|image| image.id.clone())
    }
}

/// Asks once per host and run. Each implementation hashes a service in its own way and recreates a
/// container whose hash differs, so the host's own docker-compose is asked. The compose file and the
/// images are already there.
///
/// # Errors
/// When the Engine does not list its images.
pub(super) async fn ask(
    session: &(dyn HostSession + 'static),
    engine: &Engine,
) -> Result<Compose, DockerError> {
    let hashes = session.perform(ComposeHashes);
    let (hashes, images) = tokio::join!(hashes, engine.images());
    // The containers run without the labels too; docker-compose would only recreate them.
    let hashes = hashes.unwrap_or_else(|error| {
        let why = match &error {
            OperationError::Failed { stderr, .. } => String::from_utf8_lossy(stderr).into_owned(),
            other => other.to_string(),
        };
        tracing::warn!(host = %session.host(), why = crate::event::escape(&why), "docker-compose cannot read its file");
        BTreeMap::new()
    });
    Ok(Compose {
        hashes,
        images: images?,
    })
}

/// The labels of one container.
pub(super) fn labels(
    compose: &Compose,
    image: Option<&str>,
    spec: &ContainerSpec,
) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<&str, String> = BTreeMap::from([
        ("project", "toots".into()),
        ("service", spec.component.to_string()),
        ("oneoff", "False".into()),
        ("container-number", "1".into()),
        // The first implementation fails without this label; its last version suits the second one
        // too.
        ("version", "1.29.2".into()),
        ("project.working_dir", "/etc/toots".into()),
        ("project.config_files", "/etc/toots/compose.yaml".into()),
    ]);
    if let Some(hash) = compose.hashes.get(spec.component.as_str()) {
        labels.insert("config-hash", hash.clone());
    }
    if let Some(id) = image {
        labels.insert("image", id.to_owned());
    }
    labels
        .into_iter()
        .map(|(key, value)| (format!("com.docker.compose.{key}"), value))
        .collect()
}
