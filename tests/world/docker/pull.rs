//! Pulls, and questions to the registry through the Engine.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::Engine;
use super::image::digest;
use super::images::StoreKind;
use super::lifecycle::until_closed;
use super::references::Reference;
use super::registry::Published;
use super::reply::{Lines, Reply, no_space};

/// Lines about the progress of a layer.
const PARTS: u32 = 4;

/// A user's name and password.
pub type Login = (String, String);

/// Reads the header of a login. An Engine takes one that it cannot read for none.
pub fn login(header: &str, registry: &str) -> Option<Login> {
    let decoded = URL_SAFE
        .decode(header)
        .or_else(|_| URL_SAFE_NO_PAD.decode(header));
    let value: Value = serde_json::from_slice(&decoded.ok()?).ok()?;
    // One login, or for a build those of several registries.
    let login = value.get(registry).unwrap_or(&value);
    let text = |key: &str| Some(login[key].as_str()?.to_owned());
    Some((text("username")?, text("password")?))
}

impl Engine {
    fn login_for(&self, reference: &Reference, header: Option<&str>) -> Option<Login> {
        let registry = reference.repository.split('/').next().unwrap_or_default();
        login(header?, registry)
    }

    /// Asks the registry for the digest of a reference.
    pub(super) fn distribution(&self, name: &str, header: Option<&str>) -> Reply {
        let reference = Reference::parse(name);
        let login = self.login_for(&reference, header);
        match self.registry().find(&reference, login.as_ref()) {
            Err(fault) => {
                let (status, why) = fault.answer(&reference);
                Reply::failed(status, why)
            }
            Ok(published) => {
                let media = "application/vnd.oci.image.index.v1+json";
                let descriptor = json!({
                    "mediaType": media,
                    "digest": digest(&published.index),
                    "size": published.index.len(),
                });
                let platform = json!({ "architecture": "amd64", "os": "linux" });
                Reply::json(
                    200,
                    json!({ "Descriptor": descriptor, "Platforms": [platform] }),
                )
            }
        }
    }

    /// Pulls an image. Until the registry has answered an error has a status of its own, afterwards it
    /// is a line. A client that goes away cancels it, and unfinished layers are lost: the Engine ties
    /// pulls to the request (facts/images.md, section 5).
    pub(super) fn pull(&self, name: &str, tag: &str, header: Option<&str>) -> Reply {
        let name = match tag {
            "" => name.to_owned(),
            digest if digest.starts_with("sha256:") => format!("{name}@{digest}"),
            tag => format!("{name}:{tag}"),
        };
        let reference = Reference::parse(&name);
        let login = self.login_for(&reference, header);
        let published = match self.registry().find(&reference, login.as_ref()) {
            Ok(published) => published,
            Err(fault) => {
                let (status, why) = fault.answer(&reference);
                return Reply::failed(status, why);
            }
        };
        let (lines, reply) = Lines::new();
        let engine = self.clone();
        self.spawn_request(async move {
            let fetch = engine.fetch(&lines, &reference, published);
            until_closed(&lines, async {
                if let Err(why) = fetch.await {
                    lines.error(&why).await;
                }
            })
            .await;
        });
        reply
    }

    /// Fetches the layers that the Engine lacks, then stores the image under its name.
    pub(super) async fn fetch(
        &self,
        lines: &Lines,
        reference: &Reference,
        published: Published,
    ) -> Result<String, String> {
        let target = digest(&published.index);
        let tag = reference.tag.as_deref().unwrap_or(&target);
        let status = format!("Pulling from {}", reference.repository);
        lines.send(json!({ "status": status, "id": tag })).await;
        let diff_ids = published.image.diff_ids();
        for n in 1..=diff_ids.len() {
            let size = published.image.layers[n - 1].len();
            self.fetch_layer(lines, &diff_ids[..n], size).await?;
        }
        let name = reference.text();
        let is_new = {
            let now = self.now();
            let mut state = self.lock();
            let index = Some(published.index.clone());
            let is_new = state
                .images
                .find(&name)
                .is_none_or(|stored| match state.images.kind {
                    StoreKind::Graph => stored.id != published.image.config_digest(),
                    StoreKind::Containerd => stored.id != target,
                });
            let id = state.images.add(published.image, index, now);
            // A pull by digest gives no tag; each gives the digest, which a load does not.
            let by_digest = Reference {
                digest: Some(target.clone()),
                ..reference.clone()
            };
            state.images.name(&id, &by_digest);
            if reference.digest.is_none() {
                state.images.name(&id, reference);
            }
            self.tell_of_image(&mut state, &name, "pull", &name);
            is_new
        };
        lines
            .send(json!({ "status": format!("Digest: {target}") }))
            .await;
        let what = match is_new {
            true => "Downloaded newer image",
            false => "Image is up to date",
        };
        lines
            .send(json!({ "status": format!("Status: {what} for {name}") }))
            .await;
        Ok(name)
    }

    async fn fetch_layer(
        &self,
        lines: &Lines,
        diff_ids: &[String],
        size: usize,
    ) -> Result<(), String> {
        let id = diff_ids
            .last()
            .and_then(|id| id.get(7..19))
            .unwrap_or_default();
        let status = |status: &str| json!({ "status": status, "progressDetail": {}, "id": id });
        if self.lock().images.layer(diff_ids).is_some() {
            lines.send(status("Already exists")).await;
            return Ok(());
        }
        lines.send(status("Pulling fs layer")).await;
        for part in 1..=PARTS {
            tokio::time::sleep(self.registry().layer_time() / PARTS).await;
            if self.registry().is_down() {
                // Waits for a registry that went away, as long as the client does.
                return std::future::pending().await;
            }
            let current = size * part as usize / PARTS as usize;
            let progress = json!({ "current": current, "total": size });
            let line = json!({ "status": "Downloading", "progressDetail": progress, "id": id });
            lines.send(line).await;
        }
        lines.send(status("Download complete")).await;
        if self.lock().is_disk_full {
            return Err(format!(
                "failed to register layer: {}",
                no_space("layer.tar")
            ));
        }
        let progress = json!({ "current": size, "total": size });
        lines
            .send(json!({ "status": "Extracting", "progressDetail": progress, "id": id }))
            .await;
        lines.send(status("Pull complete")).await;
        Ok(())
    }
}
