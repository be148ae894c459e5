//! The digests to which images are pinned: which are missing, and the record of those that are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{Desired, Recorded};
use crate::plan::{HostPlan, Plan, Step};
use crate::spec::{FileSpec, ImageDigest, ImageRef, Placement, Role};

/// The file on masters that records the digests to which image references are pinned.
const DIGESTS: &str = "/etc/toots/images.json";

/// Image references of the desired state that are not pinned yet.
pub(super) fn find_unpinned(desired: &Desired) -> BTreeSet<ImageRef> {
    desired
        .images()
        .filter(|(image, digest)| digest.is_none() && image.recipe_hash().is_none())
        .map(|(image, _)| image.clone())
        .collect()
}

/// The bases of images that are to be built and are not pinned yet.
pub(super) fn find_unpinned_bases(plan: &Plan) -> BTreeSet<ImageRef> {
    let steps = plan.hosts.iter().flat_map(|host| &host.images);
    steps
        .filter_map(|step| match step {
            Step::Build {
                recipe,
                base_digest: None,
                ..
            } => Some(recipe.base.clone()),
            _ => None,
        })
        .collect()
}

/// Adds the record of pinned digests to the files of the masters.
pub(super) fn record_digests(desired: &mut Desired, recorded: &Recorded) {
    let bases = desired.recipes.values().map(|wanted| &wanted.recipe.base);
    let wanted: BTreeSet<&ImageRef> = desired
        .images()
        .map(|(image, _)| image)
        .chain(bases)
        .collect();
    let pinned: BTreeMap<&str, &ImageDigest> = recorded
        .digests
        .iter()
        .filter(|(image, _)| wanted.contains(image))
        .map(|(image, digest)| (image.as_str(), digest))
        .collect();
    if pinned.is_empty() {
        return;
    }
    let mut content = serde_json::to_vec_pretty(&pinned).unwrap_or_default();
    content.push(b'\n');
    let hosts = desired.hosts.iter_mut();
    for host in hosts.filter(|host| host.roles.contains(&Role::Master)) {
        host.files.push(FileSpec {
            path: DIGESTS.into(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            content: content.clone(),
            secret: false,
            place: Placement::Always,
        });
    }
}

/// The step that writes the record of pinned digests to a master, and nothing else.
pub(super) fn find_record_step(plan: &HostPlan) -> Option<Step> {
    let mut placed = plan.prepare.iter().filter_map(|step| match step {
        Step::Place { files, .. } => Some(files),
        _ => None,
    });
    let record =
        placed.find_map(|files| files.iter().find(|change| change.file.path == DIGESTS))?;
    Some(Step::Place {
        dirs: Vec::new(),
        files: vec![record.clone()],
        hosts_entries: None,
    })
}
