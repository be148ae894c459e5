//! Labels that make containers known to the host's docker-compose.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::connect::HostRun;
use crate::docker::ImageStatus;
use crate::spec::ContainerSpec;
use crate::transport::Exec;

/// Each implementation hashes a service in its own way and recreates a container whose hash
/// differs, so the host's own docker-compose is asked for the hash. The compose file and the images
/// are already there.
const SCRIPT: &str = "cd /etc/toots || exit 0
if command -v docker-compose >/dev/null; then docker-compose -f compose.yaml config '--hash=*'
elif docker compose version >/dev/null 2>&1; then docker compose -p toots -f compose.yaml config '--hash=*'
fi
";
/// docker-compose takes a second to start.
const COMPOSE_LIMIT: Duration = Duration::from_secs(60);

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

/// Asks once per host and run.
pub(super) async fn ask(host: &HostRun) -> Compose {
    let exec = Exec {
        command: "sh -s".into(),
        stdin: Bytes::from_static(SCRIPT.as_bytes()),
        privileged: true,
        deadline: COMPOSE_LIMIT,
        max_output: 64 << 10,
    };
    let (said, images) = tokio::join!(host.session.exec(exec), host.engine.images());
    // The containers run without the labels too; docker-compose would only recreate them.
    let said = match said {
        Ok(output) if output.status == 0 => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            tracing::warn!(host = %host.info.name, why = crate::event::escape(&why), "docker-compose cannot read its file");
            String::new()
        }
        Err(error) => {
            tracing::warn!(host = %host.info.name, %error, "docker-compose did not answer");
            String::new()
        }
    };
    let hash = |line: &str| {
        let (service, hash) = line.split_once(' ')?;
        let hash = hash.trim();
        (hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()))
            .then(|| (service.to_owned(), hash.to_owned()))
    };
    Compose {
        hashes: said.lines().filter_map(hash).collect(),
        images: images.unwrap_or_default(),
    }
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
