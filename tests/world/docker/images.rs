//! The images of an Engine, in one of two kinds of store. They differ in what an image's id is, and in
//! which names it has (facts: shared/facts/images.md, section 2).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::filters::Filters;
use super::image::{Image, digest};
use super::references::{Reference, id_digits, shown};
use super::reply::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// An image's id is the digest of its configuration. It has a registry's digest only after a pull.
    #[default]
    Graph,
    /// An image's id is the digest of its index or manifest, and so are its digests.
    Containerd,
}

#[derive(Clone)]
pub struct StoredImage {
    pub id: String,
    pub image: Image,
    /// Index and manifests by their digest; containerd's store alone keeps them.
    pub documents: BTreeMap<String, Bytes>,
    /// `repository:tag`
    pub tags: BTreeSet<String>,
    /// `repository@digest`, as a pull left it.
    pub pulled: BTreeSet<String>,
    pub created: Timestamp,
}

#[derive(Default)]
pub struct ImageStore {
    pub kind: StoreKind,
    pub images: Vec<StoredImage>,
}

/// Which container uses an image.
pub struct User {
    pub container: String,
    pub image: String,
    pub is_running: bool,
}

impl StoredImage {
    /// `repository@digest` of each name.
    pub fn digests(&self, kind: StoreKind) -> BTreeSet<String> {
        let mut digests = self.pulled.clone();
        if kind == StoreKind::Containerd {
            let digest_name =
                |tag: &String| format!("{}@{}", Reference::parse(tag).repository, self.id);
            digests.extend(self.tags.iter().map(digest_name));
        }
        digests
    }

    fn short_id(&self) -> &str {
        self.id.get(7..19).unwrap_or(&self.id)
    }

    pub fn labels(&self) -> Value {
        self.image.settings()["Labels"].take()
    }

    /// Whether all its names are one tag, and digests of the same repository.
    fn has_single_name(&self) -> bool {
        let repositories = |names: &BTreeSet<String>| -> BTreeSet<String> {
            let names = names.iter();
            names
                .map(|name| Reference::parse(name).repository)
                .collect()
        };
        let (tags, pulled) = (repositories(&self.tags), repositories(&self.pulled));
        self.tags.len() + self.pulled.len() <= 1
            || self.tags.len() <= 1 && tags.union(&pulled).count() <= 1
    }
}

impl ImageStore {
    /// Stores an image without a name; returns its id. `target` is its index, when it came with one.
    pub fn add(&mut self, image: Image, target: Option<Bytes>, created: Timestamp) -> String {
        let mut documents = BTreeMap::new();
        let id = match self.kind {
            StoreKind::Graph => image.config_digest(),
            StoreKind::Containerd => {
                let manifest = image.manifest();
                let target = target.unwrap_or_else(|| manifest.clone());
                documents.insert(digest(&manifest), manifest);
                let id = digest(&target);
                documents.insert(id.clone(), target);
                id
            }
        };
        if !self.images.iter().any(|other| other.id == id) {
            self.images.push(StoredImage {
                id: id.clone(),
                image,
                documents,
                tags: BTreeSet::new(),
                pulled: BTreeSet::new(),
                created,
            });
        }
        id
    }

    /// Gives an image a name, which another one loses.
    pub fn name(&mut self, id: &str, reference: &Reference) {
        let name = reference.text();
        for image in &mut self.images {
            if reference.digest.is_none() {
                image.tags.remove(&name);
            }
            if image.id == id {
                let names = match reference.digest {
                    Some(_) => &mut image.pulled,
                    None => &mut image.tags,
                };
                names.insert(name.clone());
            }
        }
    }

    /// The image of a name, or of an id or its beginning.
    pub fn find(&self, text: &str) -> Option<&StoredImage> {
        let reference = Reference::parse(text);
        let name = reference.text();
        let is_named = |image: &&StoredImage| match &reference.digest {
            None => image.tags.contains(&name),
            Some(_) => image.digests(self.kind).contains(&name),
        };
        if !text.starts_with("sha256:")
            && let Some(image) = self.images.iter().find(is_named)
        {
            return Some(image);
        }
        let digits = id_digits(text)?;
        let mut found = self.images.iter().filter(|image| {
            let id = image.id.strip_prefix("sha256:");
            id.is_some_and(|id| id.starts_with(digits))
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// A layer that some image has on the same lower layers.
    pub fn layer(&self, diff_ids: &[String]) -> Option<Bytes> {
        let mut images = self.images.iter();
        images.find_map(|stored| {
            let has_all = stored.image.diff_ids().starts_with(diff_ids);
            let layer = stored.image.layers.get(diff_ids.len().checked_sub(1)?);
            layer.filter(|_| has_all).cloned()
        })
    }

    pub fn inspect(&self, name: &str) -> Reply {
        let Some(stored) = self.find(name) else {
            let why = format!("no such image: {name}: No such image: {}", shown(name));
            return Reply::failed(404, why);
        };
        let config = stored.image.description();
        let body = json!({
            "Id": stored.id,
            "RepoTags": stored.tags,
            "RepoDigests": stored.digests(self.kind),
            "Parent": "",
            "Comment": "",
            "Created": config["created"],
            "Author": "",
            "Config": config["config"],
            "Architecture": config["architecture"],
            "Os": config["os"],
            "Size": stored.image.size(),
            "RootFS": { "Type": "layers", "Layers": stored.image.diff_ids() },
        });
        Reply::json(200, body)
    }

    /// Those that match, the youngest first.
    pub fn list(&self, filters: &Filters) -> Reply {
        let matches = |stored: &&StoredImage| self.matches(stored, filters);
        let mut found: Vec<&StoredImage> = self.images.iter().filter(matches).collect();
        found.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        let list: Vec<Value> = found.iter().map(|stored| self.listed(stored)).collect();
        Reply::json(200, list.into())
    }

    fn matches(&self, stored: &StoredImage, filters: &Filters) -> bool {
        let is_dangling = stored.tags.is_empty() && stored.digests(self.kind).is_empty();
        filters.has_labels(&stored.labels())
            && filters.any("dangling", |wish| {
                matches!(wish, "1" | "true") == is_dangling
            })
            && filters.any("reference", |wish| {
                let repositories = stored
                    .tags
                    .iter()
                    .map(|tag| Reference::parse(tag).repository);
                stored.tags.contains(wish) || repositories.into_iter().any(|name| name == wish)
            })
    }

    fn listed(&self, stored: &StoredImage) -> Value {
        let digests = stored.digests(self.kind);
        let is_nameless = stored.tags.is_empty() && digests.is_empty();
        // As former Engines list an image without a name.
        let (tags, digests) = match self.kind {
            StoreKind::Graph if is_nameless => (json!(["<none>:<none>"]), json!(["<none>@<none>"])),
            StoreKind::Graph if digests.is_empty() => (json!(stored.tags), Value::Null),
            _ => (json!(stored.tags), json!(digests)),
        };
        json!({
            "Containers": -1,
            "Created": stored.created.as_second(),
            "Id": stored.id,
            "Labels": stored.labels(),
            "ParentId": "",
            "RepoDigests": digests,
            "RepoTags": tags,
            "SharedSize": -1,
            "Size": stored.image.size(),
        })
    }

    pub fn tag(&mut self, name: &str, reference: &Reference) -> Result<String, Reply> {
        let Some(id) = self.find(name).map(|stored| stored.id.clone()) else {
            return Err(Reply::failed(
                404,
                format!("No such image: {}", shown(name)),
            ));
        };
        if let Some(fault) = reference.fault() {
            return Err(Reply::failed(500, fault));
        }
        self.name(&id, reference);
        Ok(id)
    }

    /// Removes a name, and with the last one the image.
    pub fn remove(&mut self, name: &str, force: bool, users: &[User]) -> Result<Vec<Value>, Reply> {
        let Some(stored) = self.find(name) else {
            return Err(Reply::failed(
                404,
                format!("No such image: {}", shown(name)),
            ));
        };
        let id = stored.id.clone();
        let is_by_id = !stored.tags.contains(&Reference::parse(name).text()) && !name.contains('@');
        let users: Vec<&User> = users.iter().filter(|user| user.image == id).collect();
        let mut removed = Vec::new();
        let is_single = stored.has_single_name();
        if is_by_id {
            if is_single {
                if let Some(conflict) = self.conflict(&id, force, false, &users) {
                    return Err(conflict);
                }
                removed.extend(self.untag(&id, None));
            }
        } else {
            if let (false, true, Some(user)) = (force, is_single, users.first()) {
                let why = format!(
                    "conflict: unable to remove repository reference {name:?} (must force) - container {} is using its referenced image {}",
                    user.container.get(..12).unwrap_or_default(),
                    stored.short_id(),
                );
                return Err(Reply::failed(409, why));
            }
            removed.extend(self.untag(&id, Some(&Reference::parse(name))));
            let rest = self.images.iter().find(|stored| stored.id == id);
            if rest.is_some_and(|stored| !stored.tags.is_empty() || !stored.pulled.is_empty()) {
                return Ok(removed);
            }
        }
        match self.conflict(&id, force, !is_by_id, &users) {
            // The name is gone, what is still in use stays without one.
            Some(_) if !is_by_id => Ok(removed),
            Some(conflict) => Err(conflict),
            None => {
                removed.extend(self.untag(&id, None));
                self.images.retain(|stored| stored.id != id);
                removed.push(json!({ "Deleted": id }));
                Ok(removed)
            }
        }
    }

    /// Why an image cannot be deleted: by force, only a container that runs protects it.
    fn conflict(&self, id: &str, force: bool, quiet: bool, users: &[&User]) -> Option<Reply> {
        let stored = self.images.iter().find(|stored| stored.id == id)?;
        let refuse = |why: &str| {
            let why = format!("conflict: unable to delete {} {why}", stored.short_id());
            Some(Reply::failed(409, why))
        };
        let short = |user: &User| user.container.get(..12).unwrap_or_default().to_owned();
        if let Some(user) = users.iter().find(|user| user.is_running) {
            return refuse(&format!(
                "(cannot be forced) - image is being used by running container {}",
                short(user)
            ));
        }
        if force {
            return None;
        }
        if !stored.has_single_name() && !quiet {
            return refuse("(must be forced) - image is referenced in multiple repositories");
        }
        let user = users.first()?;
        refuse(&format!(
            "(must be forced) - image is being used by stopped container {}",
            short(user)
        ))
    }

    /// Takes one name or all from an image.
    fn untag(&mut self, id: &str, reference: Option<&Reference>) -> Vec<Value> {
        let Some(stored) = self.images.iter_mut().find(|stored| stored.id == id) else {
            return Vec::new();
        };
        let mut gone: Vec<String> = match reference {
            Some(reference) => vec![reference.text()],
            None => stored.tags.iter().chain(&stored.pulled).cloned().collect(),
        };
        stored.tags.retain(|tag| !gone.contains(tag));
        stored.pulled.retain(|name| !gone.contains(name));
        // With the last tag of a repository go the digests that it had there.
        if let Some(reference) = reference {
            let is_sibling =
                |name: &String| Reference::parse(name).repository == reference.repository;
            if !stored.tags.iter().any(is_sibling) {
                gone.extend(
                    stored
                        .pulled
                        .iter()
                        .filter(|name| is_sibling(name))
                        .cloned(),
                );
                stored.pulled.retain(|name| !is_sibling(name));
            }
        }
        gone.iter()
            .map(|name| json!({ "Untagged": name }))
            .collect()
    }

    /// Removes images that match, have no name, and that nothing uses.
    pub fn prune(&mut self, filters: &Filters, users: &[User]) -> Reply {
        let is_used = |stored: &StoredImage| users.iter().any(|user| user.image == stored.id);
        let gone: Vec<String> = self
            .images
            .iter()
            .filter(|stored| stored.tags.is_empty() && stored.pulled.is_empty())
            .filter(|stored| filters.has_labels(&stored.labels()) && !is_used(stored))
            .map(|stored| stored.id.clone())
            .collect();
        self.images.retain(|stored| !gone.contains(&stored.id));
        let deleted: Vec<Value> = gone.iter().map(|id| json!({ "Deleted": id })).collect();
        let deleted = (!deleted.is_empty()).then_some(deleted);
        Reply::json(
            200,
            json!({ "ImagesDeleted": deleted, "SpaceReclaimed": 0 }),
        )
    }
}
