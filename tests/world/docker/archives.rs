//! Images as archives: saved and loaded.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Engine;
use super::EngineState;
use super::image::{Image, append, digest, hex};
use super::images::{StoreKind, StoredImage};
use super::references::Reference;
use super::reply::{Body, Lines, Reply, no_space};

type Entries = BTreeMap<String, Bytes>;

impl Engine {
    /// An archive of images, each with the name under which it was asked for.
    pub(super) fn save(&self, names: &[String]) -> Reply {
        let state = self.lock();
        let mut tar = tar::Builder::new(Vec::new());
        let (mut manifest, mut index) = (Vec::new(), Vec::new());
        for name in names {
            let Some(stored) = state.images.find(name) else {
                return Reply::failed(404, "reference does not exist");
            };
            let tag = Some(Reference::parse(name).text()).filter(|tag| stored.tags.contains(tag));
            let files = match state.images.kind {
                StoreKind::Graph => save_to_graph_archive(&mut tar, stored),
                StoreKind::Containerd => save_to_layout(&mut tar, stored),
            };
            let (config, layers) = files;
            let tags = tag.as_ref().map(|tag| vec![tag.clone()]);
            manifest.push(json!({ "Config": config, "RepoTags": tags, "Layers": layers }));
            index.push(index_entry(stored, tag.as_deref()));
        }
        append(
            &mut tar,
            "manifest.json",
            Value::from(manifest).to_string().as_bytes(),
        );
        if state.images.kind == StoreKind::Containerd {
            let index = json!({ "schemaVersion": 2, "manifests": index });
            append(&mut tar, "index.json", index.to_string().as_bytes());
            append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        }
        let bytes = tar.into_inner().expect("an archive");
        Reply {
            status: 200,
            body: Body::Bytes("application/x-tar", bytes.into()),
        }
    }

    /// Loads the images of an archive. The status says nothing: errors are lines, and in containerd's
    /// store even text.
    ///
    /// A client that goes away after its last byte does not end it: the archive is there as a whole,
    /// and the Engine looks at the client no more until it answers.
    pub(super) async fn load(&self, body: &[u8]) -> Reply {
        let loaded = self.load_archive(body);
        let (lines, reply) = Lines::new();
        self.spawn_request(async move {
            match loaded {
                Ok(texts) => {
                    for text in texts {
                        lines.send(json!({ "stream": text })).await;
                    }
                }
                Err(why) => lines.error(&why).await,
            }
        });
        reply
    }

    fn load_archive(&self, body: &[u8]) -> Result<Vec<String>, String> {
        let entries = read(body)?;
        let mut state = self.lock();
        if state.is_disk_full && state.images.kind == StoreKind::Graph {
            return Err(format!(
                "Error processing tar file(exit status 1): {}",
                no_space("tmp")
            ));
        }
        let manifest = entries.get("manifest.json");
        let layout = entries.get("index.json");
        match (state.images.kind, manifest, layout) {
            (StoreKind::Containerd, _, Some(index)) => {
                self.load_layout(&mut state, index, &entries)
            }
            (_, Some(manifest), _) => self.load_manifest(&mut state, manifest, &entries),
            (_, None, _) => Err(
                "open /var/lib/docker/tmp/docker-import/manifest.json: no such file or directory"
                    .into(),
            ),
        }
    }

    fn load_manifest(
        &self,
        state: &mut EngineState,
        manifest: &[u8],
        entries: &Entries,
    ) -> Result<Vec<String>, String> {
        let images: Vec<Value> = serde_json::from_slice(manifest).map_err(|e| e.to_string())?;
        let mut texts = Vec::new();
        for entry in images {
            let config = entry["Config"].as_str().unwrap_or_default();
            let config = entries.get(config).ok_or_else(|| missing(config))?;
            let files = entry["Layers"].as_array().into_iter().flatten();
            let files: Vec<&str> = files.filter_map(Value::as_str).collect();
            let image = assemble(state, config, &files, entries)?;
            let tags = entry["RepoTags"].as_array().into_iter().flatten();
            let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
            texts.extend(self.keep(state, image, None, &tags));
        }
        Ok(texts)
    }

    fn load_layout(
        &self,
        state: &mut EngineState,
        index: &[u8],
        entries: &Entries,
    ) -> Result<Vec<String>, String> {
        let index: Value = serde_json::from_slice(index).map_err(|e| e.to_string())?;
        let mut texts = Vec::new();
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let target = entry["digest"].as_str().unwrap_or_default();
            let blob = |digest: &str| {
                let path = format!("blobs/{}", digest.replace(':', "/"));
                let known = state.images.images.iter();
                let mut known = known.filter_map(|stored| stored.documents.get(digest));
                let found = entries.get(&path).or_else(|| known.next());
                found
                    .cloned()
                    .ok_or_else(|| format!("content digest {digest}: not found"))
            };
            let document = blob(target)?;
            let mut manifest: Value = serde_json::from_slice(&document).unwrap_or_default();
            if let Some(inner) = manifest["manifests"][0]["digest"].as_str() {
                manifest = serde_json::from_slice(&blob(inner)?).unwrap_or_default();
            }
            let config = blob(manifest["config"]["digest"].as_str().unwrap_or_default())?;
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let paths = layers.filter_map(|layer| layer["digest"].as_str());
            let paths: Vec<String> = paths
                .map(|digest| format!("blobs/{}", digest.replace(':', "/")))
                .collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let name = entry["annotations"]["io.containerd.image.name"].as_str();
            let names: Vec<&str> = name.into_iter().collect();
            match assemble(state, &config, &paths, entries) {
                Ok(image) => {
                    texts.extend(self.keep(state, image, Some(document), &names));
                    if state.is_disk_full {
                        // It is listed all the same, only not unpacked.
                        let (name, why) = (name.unwrap_or(target), no_space("containerd"));
                        texts.push(format!("Error unpacking image {name}: {why}\n"));
                    }
                }
                Err(why) => texts.push(format!("Error unpacking image {target}: {why}\n")),
            }
        }
        Ok(texts)
    }

    /// Stores a loaded image under its names; returns what the Engine says of it.
    fn keep(
        &self,
        state: &mut EngineState,
        image: Image,
        target: Option<Bytes>,
        names: &[&str],
    ) -> Vec<String> {
        let id = state.images.add(image, target, self.now());
        self.tell_of_image(state, &id, "load", &id);
        if names.is_empty() {
            return vec![format!("Loaded image ID: {id}\n")];
        }
        let name = |name: &&str| {
            let reference = Reference::parse(name);
            state.images.name(&id, &reference);
            format!("Loaded image: {}\n", reference.text())
        };
        names.iter().map(name).collect()
    }
}

/// An image of its parts. Layers that the store has on the same lower ones need no file.
fn assemble(
    state: &EngineState,
    config: &Bytes,
    files: &[&str],
    entries: &Entries,
) -> Result<Image, String> {
    let mut image = Image {
        config: config.clone(),
        layers: Vec::new(),
    };
    let diff_ids = image.diff_ids();
    if diff_ids.len() != files.len() {
        let (expected, got) = (diff_ids.len(), files.len());
        return Err(format!(
            "invalid manifest, layers length mismatch: expected {expected}, got {got}"
        ));
    }
    for (n, (file, diff_id)) in files.iter().zip(&diff_ids).enumerate() {
        let layer = match state.images.layer(&diff_ids[..=n]) {
            Some(layer) => layer,
            None => {
                let layer = entries.get(*file).ok_or_else(|| missing(file))?;
                let is_compressed = layer.starts_with(&[0x1f, 0x8b]);
                if !is_compressed && digest(layer) != *diff_id {
                    return Err(format!(
                        "invalid diffID for layer {n}: expected {diff_id:?}"
                    ));
                }
                layer.clone()
            }
        };
        image.layers.push(layer);
    }
    Ok(image)
}

fn missing(file: &str) -> String {
    format!("open /var/lib/docker/tmp/docker-import/{file}: no such file or directory")
}

fn read(body: &[u8]) -> Result<Entries, String> {
    let broken = || "Error processing tar file(exit status 1): unexpected EOF".to_owned();
    let mut entries = Entries::new();
    for entry in tar::Archive::new(body).entries().map_err(|_| broken())? {
        let mut entry = entry.map_err(|_| broken())?;
        let name = entry.path().map_err(|_| broken())?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|_| broken())?;
        entries.insert(name, bytes.into());
    }
    Ok(entries)
}

/// As Engines up to 24 save: a folder for each layer, with its plain content.
fn save_to_graph_archive(
    tar: &mut tar::Builder<Vec<u8>>,
    stored: &StoredImage,
) -> (String, Vec<String>) {
    let mut layers = Vec::new();
    let mut chain = String::new();
    for layer in &stored.image.layers {
        chain = hex(format!("{chain} {}", digest(layer)).as_bytes());
        let file = format!("{chain}/layer.tar");
        append(tar, &format!("{chain}/VERSION"), b"1.0");
        append(tar, &file, layer);
        layers.push(file);
    }
    let config = format!("{}.json", hex(&stored.image.config));
    append(tar, &config, &stored.image.config);
    (config, layers)
}

/// As containerd's store saves: blobs by their digest.
fn save_to_layout(tar: &mut tar::Builder<Vec<u8>>, stored: &StoredImage) -> (String, Vec<String>) {
    let mut add = |bytes: &Bytes| {
        let path = format!("blobs/sha256/{}", hex(bytes));
        append(tar, &path, bytes);
        path
    };
    for document in stored.documents.values() {
        add(document);
    }
    let layers = stored.image.layers.iter().map(&mut add).collect();
    (add(&stored.image.config), layers)
}

fn index_entry(stored: &StoredImage, tag: Option<&str>) -> Value {
    let size = stored.documents.get(&stored.id).map_or(0, Bytes::len);
    let mut entry = json!({ "digest": stored.id, "size": size });
    if let Some(tag) = tag {
        let is_short = !tag.contains('/');
        let prefix = if is_short { "docker.io/library/" } else { "" };
        let name = format!("{prefix}{tag}");
        entry["annotations"] = json!({ "io.containerd.image.name": name });
    }
    entry
}
