//! How each host gets the images that it lacks.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::preflight::{Finding, numbers};
use super::types::{LoadSource, Observed, Plan, Step};
use crate::desired::{BundleContents, Desired, HostDesired};
use crate::observe::{DockerStatus, HostStatus};
use crate::spec::{HostName, ImageDigest, ImageRef, PackageVersions, Remedy, Role};

/// Reference, digest, architecture.
type HolderKey = (ImageRef, Option<String>, String);

/// The first host of an architecture that has an image, looked for once: thousands of hosts may lack
/// the same image.
pub(super) struct Holders<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    found: RefCell<BTreeMap<HolderKey, Option<HostName>>>,
}

impl<'a> Holders<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        Self {
            desired,
            observed,
            found: RefCell::default(),
        }
    }

    fn find(&self, image: &ImageRef, digest: Option<&str>, arch: &str) -> Option<HostName> {
        let key = (image.clone(), digest.map(str::to_owned), arch.to_owned());
        let mut found = self.found.borrow_mut();
        let find = || find_holder(image, digest, arch, self.desired, self.observed).cloned();
        found.entry(key).or_insert_with(find).clone()
    }
}

/// The step that brings an image to a host with these images; `None` when it is there, or when
/// nothing can bring it (see [`is_lost`]).
pub(super) fn bring(
    image: &ImageRef,
    digest: Option<&str>,
    status: &HostStatus,
    holders: &Holders<'_>,
) -> Option<Step> {
    let desired = holders.desired;
    if is_present(status, image, digest) {
        return None;
    }
    let load = |from| Step::Load {
        image: image.clone(),
        digest: digest.map(ImageDigest::from),
        from,
    };
    let arch = &status.facts.arch;
    let find_holder = || holders.find(image, digest, arch);
    if image.recipe_hash().is_none() {
        if let Some(bundle) = &desired.bundle
            && has_image(bundle, image, digest)
            && is_for(bundle, status)
        {
            return Some(load(LoadSource::Bundle(bundle.file.clone())));
        }
        // What has no digest could be another image on the other host.
        if desired.spread_images
            && digest.is_some()
            && let Some(from) = find_holder()
        {
            return Some(load(LoadSource::Host(from)));
        }
        return Some(Step::Pull {
            image: image.clone(),
            digest: digest.map(ImageDigest::from),
        });
    }
    if let Some(from) = find_holder() {
        return Some(load(LoadSource::Host(from)));
    }
    // After the hosts, because two builds of a recipe are two images.
    if let Some(bundle) = find_bundled_build(image, status, desired) {
        return Some(load(LoadSource::Bundle(bundle.file.clone())));
    }
    let wanted = desired.recipes.get(image)?;
    Some(Step::Build {
        recipe: Box::new(wanted.recipe.clone()),
        base_digest: wanted.base_digest.clone(),
        changed: wanted.changed.clone(),
        packages: find_packages(image, desired, holders.observed),
    })
}

/// The packages of an image in the record that most masters have: one that was away during a build has
/// a former one.
#[must_use]
pub fn find_packages(image: &ImageRef, desired: &Desired, observed: &Observed) -> PackageVersions {
    let path = PackageVersions::path(image);
    let masters = desired.hosts.iter();
    let masters = masters.filter(|host| host.roles.contains(&Role::Master));
    let mut votes: BTreeMap<PackageVersions, usize> = BTreeMap::new();
    for status in masters.filter_map(|host| observed.get(&host.name)) {
        let content = status.files.get(&path).and_then(|f| f.content.as_deref());
        if let Some(text) = content.and_then(|content| std::str::from_utf8(content).ok()) {
            *votes.entry(PackageVersions::parse(text)).or_default() += 1;
        }
    }
    let major = votes.into_iter().max_by_key(|(_, count)| *count);
    major.map(|(packages, _)| packages).unwrap_or_default()
}

/// The bundle, when it has this image of a recipe for the host.
fn find_bundled_build<'a>(
    image: &ImageRef,
    status: &HostStatus,
    desired: &'a Desired,
) -> Option<&'a BundleContents> {
    let bundle = desired.bundle.as_ref()?;
    let is_there = image.recipe_hash().is_some() && bundle.digests.contains_key(image);
    (is_there && is_for(bundle, status)).then_some(bundle)
}

/// Whether an earlier toots built the image, no host of this architecture has it any more, nor has the
/// bundle, and its recipe is no longer known.
pub(super) fn is_lost(
    image: &ImageRef,
    status: &HostStatus,
    desired: &Desired,
    observed: &Observed,
) -> bool {
    image.recipe_hash().is_some()
        && !desired.recipes.contains_key(image)
        && find_holder(image, None, &status.facts.arch, desired, observed).is_none()
        && find_bundled_build(image, status, desired).is_none()
}

/// The first host of an architecture that has an image.
fn find_holder<'a>(
    image: &ImageRef,
    digest: Option<&str>,
    arch: &str,
    desired: &'a Desired,
    observed: &Observed,
) -> Option<&'a HostName> {
    let has_it =
        |status: &HostStatus| status.facts.arch == arch && is_present(status, image, digest);
    let mut hosts = desired.hosts.iter().map(|host| &host.name);
    hosts.find(|host| observed.get(*host).is_some_and(has_it))
}

/// Whether a host has an image. Without a digest, a registry may have another one under its name.
#[must_use]
pub fn is_present(status: &HostStatus, image: &ImageRef, digest: Option<&str>) -> bool {
    let DockerStatus::Up { images, .. } = &status.docker else {
        return false;
    };
    (digest.is_some() || image.recipe_hash().is_some())
        && images.iter().any(|here| here.provides(image, digest))
}

/// Whether a host other than this one has an image that is pinned to a digest, so that it is not
/// needed from the registry.
#[must_use]
pub fn is_elsewhere(host: &HostName, image: &ImageRef, digest: &str, observed: &Observed) -> bool {
    let arch = observed.get(host).map(|status| &status.facts.arch);
    observed.iter().any(|(other, status)| {
        other != host && Some(&status.facts.arch) == arch && is_present(status, image, Some(digest))
    })
}

/// Whether a bundle has the image of this digest, not another one of the same name.
fn has_image(bundle: &BundleContents, image: &ImageRef, digest: Option<&str>) -> bool {
    digest.is_some() && bundle.digests.get(image).map(|has| &**has) == digest
}

fn is_for(bundle: &BundleContents, status: &HostStatus) -> bool {
    let platform = status.facts.platform();
    platform.is_some_and(|platform| bundle.platforms.contains(platform))
}

/// What keeps a host from loading images that it lacks from the bundle.
pub(super) fn check_bundle(
    host: &HostDesired,
    status: &HostStatus,
    desired: &Desired,
) -> Vec<Finding> {
    let Some(bundle) = &desired.bundle else {
        return Vec::new();
    };
    let images: BTreeMap<_, _> = host.components.iter().flat_map(|c| c.images()).collect();
    let missing = images
        .into_iter()
        .filter(|(image, digest)| !is_present(status, image, *digest));
    let (file, mut needs_platform) = (bundle.file.display(), false);
    let mut findings = Vec::new();
    for (image, digest) in missing {
        if has_image(bundle, image, digest) {
            needs_platform = true;
        } else if let (Some(has), Some(digest)) = (bundle.digests.get(image), digest) {
            findings.push(Finding {
                host: host.name.clone(),
                fatal: false,
                why: format!("{file} has {image} with {has}, the cluster uses {digest}"),
                hint: "the image is pulled; set it with its digest to use the bundle's".into(),
            });
        }
    }
    if needs_platform && !is_for(bundle, status) {
        let arch = &status.facts.arch;
        let platform = status.facts.platform().unwrap_or(arch);
        let platforms = bundle.platforms.iter().map(String::as_str);
        findings.push(Finding {
            host: host.name.clone(),
            fatal: true,
            why: format!("{file} has no images for {platform}"),
            hint: Remedy::CreateBundleFor {
                file: file.to_string(),
                platforms: platforms.chain([platform]).map(str::to_owned).collect(),
            },
        });
    }
    findings
}

/// The first Engine that reports what a recipe must not use, instead of ignoring it.
const OLDEST_BUILDER: (u64, u64, u64) = (20, 10, 10);

/// Leaves each image to the first of these hosts that lacks it and can bring it; the others of the
/// same architecture load it from there.
pub(super) fn bring_once(
    plan: &mut Plan,
    spread: bool,
    observed: &Observed,
    may_change: impl Fn(&HostName) -> bool,
) {
    // The image that a step makes or gets from outside.
    let source = |step: &Step| match step {
        Step::Build { recipe, .. } => Some((recipe.image(), None)),
        Step::Pull {
            image,
            digest: Some(digest),
        } if spread => Some((image.clone(), Some(digest.clone()))),
        _ => None,
    };
    let may_build = |host| !observed.get(host).is_some_and(is_too_old);
    let mut first: BTreeMap<(ImageRef, Option<&str>), HostName> = BTreeMap::new();
    for host in plan.hosts.iter().filter(|host| may_change(&host.host)) {
        for (image, digest) in host.images.iter().filter_map(source) {
            if digest.is_some() || may_build(&host.host) {
                let key = (image, arch(observed, &host.host));
                first.entry(key).or_insert_with(|| host.host.clone());
            }
        }
    }
    for host in &mut plan.hosts {
        for step in &mut host.images {
            if let Some((image, digest)) = source(step)
                && let Some(from) = first.get(&(image.clone(), arch(observed, &host.host)))
                && *from != host.host
            {
                let from = LoadSource::Host(from.clone());
                *step = Step::Load {
                    image,
                    digest,
                    from,
                };
            }
        }
    }
}

fn arch<'a>(observed: &'a Observed, host: &HostName) -> Option<&'a str> {
    observed.get(host).map(|status| status.facts.arch.as_str())
}

pub(super) fn builds(steps: &[Step]) -> impl Iterator<Item = ImageRef> {
    steps.iter().filter_map(|step| match step {
        Step::Build { recipe, .. } => Some(recipe.image()),
        _ => None,
    })
}

fn is_too_old(status: &HostStatus) -> bool {
    match &status.docker {
        DockerStatus::Up { engine, .. } => !can_build(&engine.version),
        _ => false,
    }
}

/// Whether an Engine of this version builds images. A version that cannot be read is tried.
#[must_use]
pub fn can_build(version: &str) -> bool {
    numbers(version).is_none_or(|version| version >= OLDEST_BUILDER)
}

/// Images that no host can build, with the hosts that would have to.
#[must_use]
pub fn find_unbuildable(plan: &Plan, observed: &Observed) -> Vec<Finding> {
    let old = plan
        .hosts
        .iter()
        .filter(|host| observed.get(&host.host).is_some_and(is_too_old));
    old.flat_map(|host| {
        builds(&host.images).map(|image| Finding {
            host: host.host.clone(),
            fatal: true,
            why: format!("no host can build {image}: Docker must be 20.10.10 or later"),
            hint: Remedy::BuildElsewhere,
        })
    })
    .collect()
}
