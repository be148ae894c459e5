//! Chooses the image of every component: the inventory's, else the one that the cluster was made
//! with, else the playbook's default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::types::Recorded;
use crate::inventory::Inventory;
use crate::playbook::{Component, ImageSource, Playbook, RecipeSource};
use crate::spec::{
    ComponentName, DefaultImage, DefaultImages, ImageDigest, ImageRef, LocalFile, Recipe,
};

/// A default that is newer than the image that a cluster keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerDefault {
    /// Its key in `[images]`.
    pub key: String,
    pub kept: ImageRef,
    pub default: ImageRef,
}

impl fmt::Display for NewerDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stays at {}, the default of the toots that made the cluster; the default is now {}",
            self.key, self.kept, self.default
        )
    }
}

/// How to build an image.
#[derive(Debug, Clone)]
pub struct RecipeDesired {
    pub recipe: Recipe,
    /// The digest to which its base is pinned, once known.
    pub base_digest: Option<ImageDigest>,
    /// The arguments that are not those of the recorded image.
    pub changed: BTreeSet<String>,
}

/// The images of a cluster.
#[derive(Debug, Default)]
pub(super) struct Images {
    chosen: BTreeMap<String, ImageRef>,
    /// How to build those that are built.
    pub(super) recipes: BTreeMap<ImageRef, RecipeDesired>,
    pub(super) newer: Vec<NewerDefault>,
    /// The defaults in use.
    pub(super) defaults: BTreeMap<String, DefaultImage>,
}

impl Images {
    pub(super) fn choose(
        inventory: &Inventory,
        playbook: &Playbook,
        recorded: &Recorded,
        used: &BTreeSet<ComponentName>,
    ) -> Self {
        let mut images = Self::default();
        let components = playbook.components.values();
        for component in components.filter(|component| used.contains(&component.name)) {
            let own = std::iter::once((key(component), &component.image));
            let extra = component.extra_images.iter();
            for (key, source) in own.chain(extra.map(|(key, source)| (key.as_str(), source))) {
                if !images.chosen.contains_key(key) {
                    images.choose_one(inventory, playbook, recorded, component, key, source);
                }
            }
        }
        images
    }

    fn choose_one(
        &mut self,
        inventory: &Inventory,
        playbook: &Playbook,
        recorded: &Recorded,
        component: &Component,
        key: &str,
        source: &ImageSource,
    ) {
        if let Some(image) = inventory.images.get(key) {
            self.chosen.insert(key.to_owned(), image.clone());
            return;
        }
        let (default, arguments) = match source {
            ImageSource::Reference(reference) => (ImageRef(reference.clone()), BTreeMap::new()),
            ImageSource::Recipe { recipe } => {
                let arguments = inventory.recipe_arguments.get(recipe);
                let mut arguments = arguments.cloned().unwrap_or_default();
                let recipe = Recipe {
                    local_files: local_files(inventory, playbook, recipe, &arguments),
                    ..recipe_with(playbook, recipe, &arguments)
                };
                // Another operator has them elsewhere; their digests are arguments as well.
                arguments.retain(|name, _| !recipe.local_files.contains_key(name));
                let image = recipe.image();
                let base_digest = super::component::digest(&recipe.base, recorded);
                let mut changed = changed_arguments(recorded.default_images.get(key), &arguments);
                // The other keys of one recipe have the same image, but maybe another record.
                if let Some(known) = self.recipes.get(&image) {
                    changed.extend(known.changed.iter().cloned());
                }
                let recipe = RecipeDesired {
                    recipe,
                    base_digest,
                    changed,
                };
                self.recipes.insert(image.clone(), recipe);
                (image, arguments)
            }
        };
        // An image whose first build failed was recorded and never used.
        let was_used = |image: &ImageRef| {
            image.recipe_hash().is_none()
                || recorded.proven.contains(&component.name)
                || recorded.running_images.contains(image)
        };
        let by_record = recorded
            .default_images
            .get(key)
            .filter(|kept| kept.arguments == arguments && was_used(&kept.image))
            .map(|kept| kept.image.clone());
        let by_former = || {
            let former = component.former_images.get(key).into_iter().flatten();
            let former = former.map(|reference| ImageRef(reference.clone()));
            former.filter(|_| arguments.is_empty()).find(|former| {
                // Without a digest where no registry could be asked.
                recorded.digests.contains_key(former) || recorded.running_images.contains(former)
            })
        };
        let kept = by_record.or_else(by_former);
        if let Some(kept) = kept.as_ref().filter(|kept| **kept != default) {
            self.newer.push(NewerDefault {
                key: key.to_owned(),
                kept: kept.clone(),
                default: default.clone(),
            });
        }
        let image = kept.unwrap_or(default);
        let record = DefaultImage {
            image: image.clone(),
            arguments,
        };
        self.defaults.insert(key.to_owned(), record);
        self.chosen.insert(key.to_owned(), image);
    }

    /// The image of a component.
    pub(super) fn own(&self, component: &Component) -> ImageRef {
        self.get(key(component))
    }

    /// Additional images of a component, by key.
    pub(super) fn extra<'a>(&self, component: &'a Component) -> BTreeMap<&'a String, ImageRef> {
        let keys = component.extra_images.keys();
        keys.map(|key| (key, self.get(key))).collect()
    }

    /// Every key of a used component was chosen.
    fn get(&self, key: &str) -> ImageRef {
        let image = self.chosen.get(key).cloned();
        image.unwrap_or_else(|| ImageRef(String::new()))
    }

    /// The record for the masters; `None` when there is no default to keep.
    pub(super) fn record(&self) -> Option<DefaultImages> {
        (!self.defaults.is_empty()).then(|| DefaultImages {
            format: DefaultImages::FORMAT,
            images: self.defaults.clone(),
        })
    }
}

/// The names of arguments that an image was built without, or with another value.
fn changed_arguments(
    former: Option<&DefaultImage>,
    arguments: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let Some(former) = former.filter(|former| former.image.recipe_hash().is_some()) else {
        return BTreeSet::new();
    };
    let names: BTreeSet<&String> = former.arguments.keys().chain(arguments.keys()).collect();
    let is_other = |name: &&String| former.arguments.get(*name) != arguments.get(*name);
    names.into_iter().filter(is_other).cloned().collect()
}

/// The key of `[images]` for a component's own image.
pub(super) fn key(component: &Component) -> &str {
    let key = component.image_key.as_deref();
    key.unwrap_or(component.name.as_str())
}

/// A recipe of the playbook with the inventory's arguments. Names were checked before.
fn recipe_with(playbook: &Playbook, name: &str, arguments: &BTreeMap<String, String>) -> Recipe {
    let source = playbook.recipes.get(name);
    let base = arguments
        .get("base")
        .cloned()
        .or_else(|| source.map(|source| source.base.clone()));
    let mut merged = source
        .map(|source| source.arguments.clone())
        .unwrap_or_default();
    let is_file = |name: &String| source.is_some_and(|s| s.file_arguments.contains(name));
    let given = arguments
        .iter()
        .filter(|(name, _)| *name != "base" && !is_file(name));
    merged.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    Recipe {
        name: name.to_owned(),
        base: ImageRef(base.unwrap_or_default()),
        arguments: merged,
        files: source.map(|s| s.files.clone()).unwrap_or_default(),
        local_files: BTreeMap::new(),
    }
}

/// The files of this machine that arguments of a recipe name.
pub(super) fn local_files(
    inventory: &Inventory,
    playbook: &Playbook,
    recipe: &str,
    arguments: &BTreeMap<String, String>,
) -> BTreeMap<String, LocalFile> {
    let source = playbook.recipes.get(recipe);
    let names = source.into_iter().flat_map(|source| &source.file_arguments);
    names
        .filter_map(|name| {
            let path = arguments.get(name).filter(|path| !path.is_empty())?;
            let sha256 = arguments.get(&RecipeSource::digest_argument(name))?;
            let file = LocalFile {
                path: inventory.path(path),
                sha256: sha256.clone(),
            };
            Some((name.clone(), file))
        })
        .collect()
}
