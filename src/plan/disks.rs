//! Free space on a host, for images, data, and the builds of images.

use super::images::builds;
use super::preflight::{Checks, Finding, Limits};
use super::types::{Observed, Plan};
use crate::observe::{Facts, HostStatus};
use crate::spec::Remedy;

impl Checks<'_> {
    pub(super) fn disks(&mut self, status: &HostStatus, limits: &Limits) {
        let data = ("/var/lib/toots", status.facts.disk_free_data_kib);
        let images = image_disks(status).map(|disk| (disk, limits.disk_docker_kib));
        for ((path, free), needed) in images.chain([(data, limits.disk_data_kib)]) {
            if free < needed {
                let why = format!(
                    "free space for {path} must be at least {}",
                    required_and_found(needed, free)
                );
                let path = path.to_owned();
                self.add(true, why, Remedy::FreeSpace { path });
            }
        }
    }
}

/// The file systems that hold images, with their free space. Engines with containerd's store unpack
/// them in containerd's own root, and have their temporary files in the Engine's.
fn image_disks(status: &HostStatus) -> impl Iterator<Item = (&str, u64)> {
    let facts = &status.facts;
    let containerd = facts.disk_free_containerd_kib;
    let containerd = containerd.filter(|_| status.docker.has_containerd_store());
    let docker = (facts.docker_root.as_str(), facts.disk_free_docker_kib);
    std::iter::once(docker).chain(containerd.map(|free| (Facts::CONTAINERD_ROOT, free)))
}

fn required_and_found(needed_kib: u64, free_kib: u64) -> String {
    format!("{} MiB, got {} MiB", needed_kib / 1024, free_kib / 1024)
}

/// Hosts that are to build images and have the space to run them only.
#[must_use]
pub fn find_full_builders(plan: &Plan, observed: &Observed, limits: &Limits) -> Vec<Finding> {
    let needed = limits.disk_docker_kib + limits.disk_build_kib;
    let mut out = Vec::new();
    for host in &plan.hosts {
        let Some(status) = observed.get(&host.host) else {
            continue;
        };
        let images: Vec<String> = builds(&host.images).map(|image| image.0).collect();
        // Below the limit for images, it is refused for that.
        let is_full = |free| (limits.disk_docker_kib..needed).contains(&free);
        let full = image_disks(status).filter(|(_, free)| !images.is_empty() && is_full(*free));
        out.extend(full.map(|(path, free)| Finding {
            host: host.host.clone(),
            fatal: true,
            why: format!(
                "free space for {path} must be at least {} (it builds {})",
                required_and_found(needed, free),
                images.join(", ")
            ),
            hint: Remedy::FreeSpace {
                path: path.to_owned(),
            },
        }));
    }
    out
}
