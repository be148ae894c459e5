//! What makes containers known to the docker-compose of their host.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::connect::HostRun;
use crate::spec::ContainerSpec;
use crate::transport::Exec;

/// Each implementation hashes a service in its own way, and takes a container with another hash for one that must be made anew; so the one
/// that the host has is asked. The file is there and the images too.
const SCRIPT: &str = "cd /etc/toots || exit 0
if command -v docker-compose >/dev/null; then docker-compose -f compose.yaml config '--hash=*'
elif docker compose version >/dev/null 2>&1; then docker compose -p toots -f compose.yaml config '--hash=*'
fi
";
/// Its start alone takes a second.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the host's docker-compose says of its services.
#[derive(Debug, Default)]
pub(super) struct Compose {
    /// Service → hash of its configuration; empty where there is no docker-compose.
    hashes: BTreeMap<String, String>,
    /// Reference or digest → id of an image.
    images: BTreeMap<String, String>,
}

/// Asks once for each host and run.
pub(super) async fn ask(host: &HostRun) -> Compose {
    let exec = Exec {
        command: "sh -s".into(),
        stdin: Bytes::from_static(SCRIPT.as_bytes()),
        privileged: true,
        deadline: DEADLINE,
        max_output: 64 << 10,
    };
    let (said, images) = tokio::join!(host.session.exec(exec), host.engine.images());
    // Without them the containers run all the same; docker-compose would only make them anew.
    let said = match said {
        Ok(output) if output.status == 0 => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            tracing::warn!(host = %host.info.name, why = crate::event::escape(&why), "docker-compose does not read its file");
            String::new()
        }
        Err(error) => {
            tracing::warn!(host = %host.info.name, %error, "docker-compose was not asked");
            String::new()
        }
    };
    let hash = |line: &str| {
        let (service, hash) = line.split_once(' ')?;
        let hash = hash.trim();
        (hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()))
            .then(|| (service.to_owned(), hash.to_owned()))
    };
    let images = images.unwrap_or_default().into_iter();
    Compose {
        hashes: said.lines().filter_map(hash).collect(),
        images: images
            .flat_map(|image| {
                image
                    .tags
                    .into_iter()
                    .chain(image.digests)
                    .map(move |name| (name, image.id.clone()))
            })
            .collect(),
    }
}

/// The labels of one container.
pub(super) fn labels(compose: &Compose, spec: &ContainerSpec) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<&str, String> = BTreeMap::from([
        ("project", "toots".into()),
        ("service", spec.component.to_string()),
        ("oneoff", "False".into()),
        ("container-number", "1".into()),
        // The first implementation ends without it; the last version of it suits the second one too.
        ("version", "1.29.2".into()),
        ("project.working_dir", "/etc/toots".into()),
        ("project.config_files", "/etc/toots/compose.yaml".into()),
    ]);
    if let Some(hash) = compose.hashes.get(spec.component.as_str()) {
        labels.insert("config-hash", hash.clone());
    }
    if let Some(id) = compose.images.get(&spec.image_to_run()) {
        labels.insert("image", id.clone());
    }
    labels
        .into_iter()
        .map(|(key, value)| (format!("com.docker.compose.{key}"), value))
        .collect()
}
