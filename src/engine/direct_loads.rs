//! Loads images from one host to another past this machine, whose line is often the slowest part.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::loads::{ImageHolder, ImageLoad};
use crate::docker::{DirectRoute, ImageContent};
use crate::event::Failure;
use crate::spec::Secret;

impl ImageLoad<'_> {
    /// Loads it from the host that has it. `known` is its content, where a bundle says so. `None` when
    /// it must be sent through this machine.
    pub(super) async fn load_directly(
        &self,
        holder: &ImageHolder<'_>,
        known: Option<&ImageContent>,
    ) -> Option<Result<(), Box<Failure>>> {
        let (source, from) = (holder.host, &holder.host.info.name);
        let is_indirect = &source.saved.is_indirect;
        let (IpAddr::V4(source_address), IpAddr::V4(own_address)) =
            (source.info.address, self.at.host.info.address)
        else {
            return None;
        };
        if is_indirect.load(Ordering::Relaxed) {
            return None;
        }
        let store = self.at.host.has_containerd_store().await;
        let content = self.content_at(holder, known, store).await?;
        if let Some(named) = self.name_loaded(&content, store).await {
            return Some(named);
        }
        let route = DirectRoute {
            from: source_address,
            to: own_address,
        };
        let idle = self.at.work.cx.timeouts.pull_idle;
        // Never closed.
        let turn = source.saved.turns.acquire().await;
        let token = Secret::new(self.at.work.cx.random.hex128());
        let progress = self.at.progress();
        let progress = |bytes| progress(bytes, None);
        let given = source
            .engine
            .give(
                &self.at.host.engine,
                route,
                &holder.name,
                idle,
                token,
                progress,
            )
            .await;
        drop(turn);
        match given {
            Ok(id) => {
                let is_named = holder.name == self.image.0;
                let id = if is_named {
                    Some(holder.name.clone())
                } else {
                    id
                };
                Some(self.accept(&content, from.as_str(), id, store).await)
            }
            Err(_) if source.session.closed() || self.at.host.session.closed() => None,
            Err(error) => {
                if !is_indirect.swap(true, Ordering::Relaxed) {
                    let own = &self.at.host.info.name;
                    self.at.warn(format!(
                        "cannot load images from {from} on {own} directly: {error}; sending them \
                         through this machine"
                    ));
                }
                None
            }
        }
    }

    /// What the host that has the image will give. `None` where only its archive tells.
    async fn content_at(
        &self,
        holder: &ImageHolder<'_>,
        known: Option<&ImageContent>,
        has_containerd_store_here: Option<bool>,
    ) -> Option<ImageContent> {
        let has_containerd_store_there = holder.host.has_containerd_store().await?;
        // Its archive has the very index or manifest of the bundle.
        if let (Some(known), true) = (known, has_containerd_store_there) {
            return Some(known.clone());
        }
        let detail = holder.host.engine.image_detail(&holder.name).await.ok()?;
        if known.is_some_and(|known| known.config != detail.id) {
            return None;
        }
        let target = match (has_containerd_store_there, has_containerd_store_here?) {
            (true, true) => Some(detail.id.clone()),
            // The id there is no digest of a configuration.
            (true, false) => return None,
            (false, _) => None,
        };
        Some(ImageContent {
            config: detail.id,
            target,
            layers: detail.layers,
            platform: detail.platform,
            settings: Some(detail.settings),
        })
    }
}
