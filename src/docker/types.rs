//! The Engine's answers, as far as toots needs them.

use std::collections::BTreeMap;

use super::proxies::Proxies;
use crate::spec::{ImageRef, Recipe};

/// The Engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineStatus {
    pub version: String,
    /// Highest supported API version.
    pub api: String,
    /// Lowest supported API version.
    pub min_api: String,
    /// `OS/ARCH`, for which it builds.
    pub platform: String,
    /// Whether another program answers in its place: Podman behind the socket.
    pub is_podman: bool,
    /// What it says about itself; `None` when it does not tell.
    pub info: Option<EngineInfo>,
}

/// How an Engine is set up, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineInfo {
    /// The folder of its data.
    pub root: String,
    /// Whether its images are in containerd's store, where an image's id is the digest of its index
    /// or manifest. In the classic one it is the digest of its configuration.
    pub has_containerd_store: bool,
    /// Whether it runs without root's rights.
    pub is_rootless: bool,
    /// Whether it maps the users of containers to others (`userns-remap`).
    pub remaps_users: bool,
    pub proxies: Proxies,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerStatus {
    pub id: String,
    /// Name without the slash.
    pub name: String,
    /// Image reference or id from which it was created.
    pub image: String,
    pub image_id: String,
    /// `created`, `running`, `restarting`, `paused`, `exited`, `dead`.
    pub state: String,
    /// The Engine's status text (`Up 3 minutes`).
    pub status: String,
    pub labels: BTreeMap<String, String>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageStatus {
    pub id: String,
    /// `repository:tag`.
    pub tags: Vec<String>,
    /// `repository@sha256:…`.
    pub digests: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Size in bytes.
    pub size: u64,
}

impl ImageStatus {
    /// Whether it is the finished image of this name that toots built. What an interrupted build
    /// left has no name.
    #[must_use]
    pub fn is_build_of(&self, image: &ImageRef) -> bool {
        self.tags.contains(&image.0)
            && self.labels.get(Recipe::LABEL).map(String::as_str) == image.recipe_hash()
    }

    /// Whether it has this digest, whatever its name: that of its index or manifest, or in the classic
    /// store that of its configuration. An image that toots loaded has it by its second name.
    #[must_use]
    pub fn has_digest(&self, digest: &str) -> bool {
        (self.id == digest && self.is_named())
            || self.digests.iter().any(|seen| seen.ends_with(digest))
            || self.tags.iter().any(|tag| is_verified(tag, digest))
    }

    /// Whether it has a name. A load that ended early leaves an image without, which the next
    /// `docker image prune` removes.
    fn is_named(&self) -> bool {
        let mut names = self.tags.iter().chain(&self.digests);
        names.any(|name| !name.starts_with("<none>"))
    }

    /// Whether it is the image of a reference that is pinned to this digest, once one is known.
    #[must_use]
    pub fn provides(&self, image: &ImageRef, digest: Option<&str>) -> bool {
        match (image.recipe_hash(), digest) {
            (Some(_), _) => self.is_build_of(image),
            (None, Some(digest)) => self.has_digest(digest),
            (None, None) => self.tags.contains(&image.0),
        }
    }
}

/// Whether a tag is the name of a verified image, without a text for each of thousands of images.
fn is_verified(tag: &str, digest: &str) -> bool {
    let named = tag.strip_prefix(ImageRef::VERIFIED);
    let parts = named.and_then(|named| named.split_once('-'));
    parts.is_some() && parts == digest.split_once(':')
}

/// Details that only an inspection returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerDetail {
    pub id: String,
    /// Start time, RFC 3339.
    pub started_at: String,
    /// Restarts by the Engine since it was created.
    pub restart_count: i64,
    /// Whether it runs.
    pub running: bool,
    /// Whether the Engine waits to start it again.
    pub restarting: bool,
    /// Last exit code.
    pub exit_code: i64,
    /// Whether it was OOM-killed.
    pub oom_killed: bool,
}

impl ContainerDetail {
    /// Restarts that a first start may need: some programs wait for others by exiting (Marathon
    /// until ZooKeeper answers).
    const EXPECTED_RESTARTS: i64 = 4;

    /// How long a program in a crash loop may run before its next end.
    const CRASH_INTERVAL: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

    /// Whether its program can take part in anything: it runs, and is not between two ends of a
    /// crash loop. An old count of restarts alone says nothing.
    #[must_use]
    pub fn is_serving(&self, now: jiff::Timestamp) -> bool {
        let is_young = self
            .started_at
            .parse::<jiff::Timestamp>()
            .is_ok_and(|at| now.duration_since(at) < Self::CRASH_INTERVAL);
        self.running && !self.restarting && !(self.is_crash_looping() && is_young)
    }

    /// Whether it is in a crash loop: restarted more often than a start explains.
    #[must_use]
    pub fn is_crash_looping(&self) -> bool {
        self.restart_count > Self::EXPECTED_RESTARTS
    }
}

impl ContainerStatus {
    /// Whether it started within the last minute, according to the Engine's status text, or waits
    /// to start.
    #[must_use]
    pub fn is_young(&self) -> bool {
        self.state == "restarting"
            || self.status.starts_with("Up Less than")
            || (self.status.starts_with("Up ") && self.status.contains(" second"))
    }
}

/// Registry credentials; sent in a request header and never stored on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: crate::spec::Secret,
    /// `host[:port]`.
    pub server: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_image_has_its_digest_by_its_name() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let image = |tags: &[&str], digests: &[&str]| ImageStatus {
            id: "sha256:c".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            digests: digests.iter().map(|digest| (*digest).to_owned()).collect(),
            ..ImageStatus::default()
        };
        let name = ImageRef::verified(&digest);
        let loaded = image(&["zookeeper:3.9", name.as_str()], &[]);
        let pulled = image(&["zookeeper:3.9"], &[&format!("mirror/zookeeper@{digest}")]);
        let moved = image(&["zookeeper:3.9"], &[]);
        let reference = ImageRef("zookeeper:3.9".into());
        let provides = [loaded, pulled, moved].map(|image| {
            let pinned = image.provides(&reference, Some(&digest));
            (pinned, image.provides(&reference, None))
        });
        assert_eq!(provides, [(true, true), (true, true), (false, true)]);
        // In containerd's store before it got its names, and as former Engines list it.
        for (tags, digests) in [(&[][..], &[][..]), (&["<none>:<none>"], &["<none>@<none>"])] {
            assert!(!image(tags, digests).has_digest("sha256:c"));
        }
        assert!(image(&["zookeeper:3.9"], &[]).has_digest("sha256:c"));
    }

    #[test]
    fn a_container_serves_unless_its_engine_says_otherwise() {
        let now = jiff::Timestamp::now();
        let detail = |running, restarting, restart_count, age_s| ContainerDetail {
            running,
            restarting,
            restart_count,
            started_at: (now - jiff::SignedDuration::from_secs(age_s)).to_string(),
            ..ContainerDetail::default()
        };
        assert!(detail(true, false, 0, 1).is_serving(now));
        assert!(
            detail(true, false, 90, 3600).is_serving(now),
            "restarts of long ago"
        );
        assert!(
            !detail(true, false, 90, 5).is_serving(now),
            "between two ends"
        );
        assert!(!detail(true, true, 1, 5).is_serving(now));
        assert!(!detail(false, false, 0, 5).is_serving(now));
    }
}
