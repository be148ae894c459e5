//! An image as an Engine saved it.

use std::io::{Read as _, Seek as _, SeekFrom, Take};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::archive::{ArchivePart, ImageArchive};
use super::content::{ImageContent, ImageSettings};
use crate::env::{FileReader, ReadAt};
use crate::spec::Recipe;

/// Two empty blocks end a tar.
pub(super) const END_OF_ARCHIVE: [u8; 1024] = [0; 1024];

/// Largest manifest or configuration that is read.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// One image as an Engine saved it, in a file without a name: nothing stays when this process ends, in
/// whatever way.
#[derive(Debug)]
pub struct SavedImage {
    file: Arc<dyn ReadAt>,
    content: ImageContent,
    config: Bytes,
    /// Every entry, in order.
    entries: Vec<SavedEntry>,
    /// The entries of the layers, the lowest first.
    layers: Vec<String>,
    /// Entries are links to others, so none may be left out.
    has_links: bool,
}

/// A file, and where the layers are in it, the lowest first.
pub type SavedLayers = (Arc<dyn ReadAt>, Vec<Range<u64>>);

/// An entry of the archive.
#[derive(Debug)]
struct SavedEntry {
    name: String,
    /// With its header and what precedes it.
    whole: Range<u64>,
    content: Range<u64>,
    /// What a link points to, by its name in the archive.
    link: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    layers: Vec<String>,
}

/// `index.json` of an OCI layout.
#[derive(Deserialize)]
struct ArchiveIndex {
    manifests: Vec<ArchiveIndexEntry>,
}

#[derive(Deserialize)]
struct ArchiveIndexEntry {
    digest: String,
}

#[derive(Deserialize)]
struct SavedConfig {
    os: String,
    architecture: String,
    rootfs: RootFs,
    #[serde(default)]
    config: Option<ImageSettings>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

fn invalid(why: &str) -> std::io::Error {
    std::io::Error::other(why.to_owned())
}

impl SavedImage {
    /// Reads the structure of an archive with one image.
    pub(super) fn read(file: Arc<dyn ReadAt>) -> std::io::Result<Self> {
        let mut entries: Vec<SavedEntry> = Vec::new();
        let mut has_links = false;
        let mut manifest: Option<Vec<Manifest>> = None;
        let mut index: Option<ArchiveIndex> = None;
        let length = file.length()?;
        {
            let mut archive = tar::Archive::new(FileReader::new(&*file));
            for entry in archive.entries_with_seek()? {
                let mut entry = entry?;
                let name = entry.path()?.to_string_lossy().into_owned();
                let link = link_target(&name, &entry)?;
                has_links |= link.is_some();
                // A host may claim any size.
                let size = entry.size().checked_next_multiple_of(512);
                let end = size.and_then(|size| entry.raw_file_position().checked_add(size));
                let end = end
                    .filter(|end| *end <= length)
                    .ok_or_else(|| invalid("the archive is truncated"))?;
                // Long names have blocks of their own before the header.
                let start = entries.last().map_or(0, |entry| entry.whole.end);
                let content = entry.raw_file_position();
                entries.push(SavedEntry {
                    name: name.clone(),
                    whole: start..end,
                    content: content..content + entry.size(),
                    link,
                });
                match name.as_str() {
                    "manifest.json" => {
                        manifest = Some(serde_json::from_slice(&read_document(&mut entry)?)?);
                    }
                    "index.json" => {
                        index = Some(serde_json::from_slice(&read_document(&mut entry)?)?);
                    }
                    _ => {}
                }
            }
        }
        let [image] = <[Manifest; 1]>::try_from(manifest.unwrap_or_default())
            .map_err(|_| invalid("the archive must have one image"))?;
        let config = entries.iter().find(|entry| entry.name == image.config);
        let config = config.ok_or_else(|| invalid("the archive has no configuration"))?;
        let mut config = tar::Archive::new(section(&*file, &config.whole)?);
        let mut config = config
            .entries()?
            .next()
            .ok_or_else(|| invalid("the archive has no configuration"))??;
        let text = read_document(&mut config)?;
        let config: SavedConfig = serde_json::from_slice(&text)?;
        if config.rootfs.diff_ids.len() != image.layers.len() {
            return Err(invalid("the archive lacks layers"));
        }
        let target = index.and_then(|index| {
            <[ArchiveIndexEntry; 1]>::try_from(index.manifests)
                .ok()
                .map(|[entry]| entry.digest)
        });
        Ok(Self {
            content: ImageContent {
                config: format!("sha256:{}", crate::spec::digest(&text)),
                target,
                layers: config.rootfs.diff_ids,
                platform: format!("{}/{}", config.os, config.architecture),
                settings: Some(config.config.unwrap_or_default().without_empty()),
            },
            config: text.into(),
            entries,
            layers: image.layers,
            has_links,
            file,
        })
    }

    /// What identifies it.
    #[must_use]
    pub fn content(&self) -> &ImageContent {
        &self.content
    }

    /// The hash of its recipe.
    #[must_use]
    pub fn recipe(&self) -> Option<&str> {
        let labels = self.content.settings.as_ref()?.labels.as_ref()?;
        labels.get(Recipe::LABEL).map(String::as_str)
    }

    /// The bytes of its configuration.
    #[must_use]
    pub fn config(&self) -> Bytes {
        self.config.clone()
    }

    /// The file, and where the layers are in it, the lowest first.
    ///
    /// # Errors
    /// When the archive has a layer neither as a file nor as a link to one.
    pub fn layers(&self) -> std::io::Result<SavedLayers> {
        let find = |name: &String| self.entries.iter().find(|entry| entry.name == *name);
        let layers = self.layers.iter().map(|name| {
            let found = find(name).and_then(|entry| match &entry.link {
                Some(target) => find(target).filter(|target| target.link.is_none()),
                None => Some(entry),
            });
            let found = found.map(|entry| entry.content.clone());
            found.ok_or_else(|| invalid("the archive lacks layers"))
        });
        let layers = layers.collect::<std::io::Result<_>>()?;
        Ok((Arc::clone(&self.file), layers))
    }

    /// The archive for a host that has this many of its lowest layers.
    #[must_use]
    pub fn archive(&self, shared: usize) -> ImageArchive {
        let shared = if self.has_links { 0 } else { shared };
        let (known, needed) = self.layers.split_at(shared.min(self.layers.len()));
        let is_left_out = |name: &String| known.contains(name) && !needed.contains(name);
        let entries = self.entries.iter();
        let entries = entries.filter(|entry| !is_left_out(&entry.name));
        let mut parts: Vec<ArchivePart> = entries
            .map(|entry| ArchivePart::File(entry.whole.clone()))
            .collect();
        parts.push(ArchivePart::Bytes(Bytes::from_static(&END_OF_ARCHIVE)));
        ImageArchive::new(Arc::clone(&self.file), parts)
    }
}

/// The entry to which a link points; `None` for other entries.
fn link_target<R: std::io::Read>(
    name: &str,
    entry: &tar::Entry<'_, R>,
) -> std::io::Result<Option<String>> {
    let kind = entry.header().entry_type();
    if !kind.is_symlink() && !kind.is_hard_link() {
        return Ok(None);
    }
    let target = entry.link_name()?.unwrap_or_default();
    // A hard link names its target from the root of the archive.
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if kind.is_symlink() { folder } else { "" };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    let target = target.to_string_lossy();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(Some(parts.join("/")))
}

fn read_document(entry: &mut impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(invalid("a document of the archive is too large"));
    }
    Ok(text)
}

/// A part of a file as a reader.
fn section<'a>(file: &'a dyn ReadAt, range: &Range<u64>) -> std::io::Result<Take<FileReader<'a>>> {
    let mut reader = FileReader::new(file);
    reader.seek(SeekFrom::Start(range.start))?;
    Ok(reader.take(range.end - range.start))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::StreamExt as _;
    use tempfile::tempfile;

    use super::*;

    /// An archive as `docker save` of Engine 20.10 writes it.
    fn archive(links: bool) -> SavedImage {
        let file = tempfile().unwrap();
        let mut tar = tar::Builder::new(&file);
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, name, content).unwrap();
        };
        add("a/layer.tar", &[1; 700]);
        add("b/layer.tar", &[2; 10]);
        let config = r#"{"os":"linux","architecture":"amd64","config":{"Labels":{"toots.recipe":"abc"},"User":""},"rootfs":{"diff_ids":["sha256:1","sha256:2"]}}"#;
        add("c.json", config.as_bytes());
        let manifest = r#"[{"Config":"c.json","RepoTags":["toots/x:abc"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;
        add("manifest.json", manifest.as_bytes());
        if links {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_cksum();
            tar.append_link(&mut header, "d/layer.tar", "../a/layer.tar")
                .unwrap();
        }
        tar.finish().unwrap();
        drop(tar);
        SavedImage::read(Arc::new(file)).unwrap()
    }

    async fn sent(image: &SavedImage, shared: usize) -> Vec<String> {
        let chunks = image.archive(shared).chunks();
        let chunks: Vec<Bytes> = chunks.map(Result::unwrap).collect().await;
        let bytes = chunks.concat();
        assert!(bytes.ends_with(&END_OF_ARCHIVE));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[tokio::test]
    async fn layers_that_a_host_has_are_not_sent() {
        let image = archive(false);
        assert_eq!(image.recipe(), Some("abc"));
        assert_eq!(image.content().layers, ["sha256:1", "sha256:2"]);
        assert_eq!(image.content().platform, "linux/amd64");
        let names = ["a/layer.tar", "b/layer.tar", "c.json", "manifest.json"];
        assert_eq!(sent(&image, 0).await, names);
        assert_eq!(sent(&image, 1).await, names[1..]);
        assert_eq!(sent(&image, 2).await, names[2..]);
        assert_eq!(
            sent(&archive(true), 2).await.len(),
            5,
            "links may point to any of them"
        );
    }

    #[test]
    fn layers_are_found_behind_links() {
        let image = archive(false);
        let (file, layers) = image.layers().unwrap();
        let read = |range: &Range<u64>| {
            let mut bytes = Vec::new();
            let mut section = section(&*file, range).unwrap();
            section.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let layers: Vec<Vec<u8>> = layers.iter().map(read).collect();
        assert_eq!(layers, [vec![1; 700], vec![2; 10]]);
        assert!(image.config().starts_with(b"{\"os\""));
        let mut linked = archive(true);
        linked.layers[1] = "d/layer.tar".into();
        let (_, layers) = linked.layers().unwrap();
        assert_eq!(layers[0], layers[1]);
        linked.layers[1] = "e/layer.tar".into();
        assert!(linked.layers().is_err());
    }

    #[test]
    fn an_archive_without_an_image_is_an_error() {
        let mut header = tar::Header::new_ustar();
        header.set_path("layer.tar").unwrap();
        header.set_size(u64::MAX - 1000);
        header.set_cksum();
        let endless = [header.as_bytes(), &[0; 512][..]].concat();
        for content in [&[0; 1024][..], b"not found", &endless] {
            let mut file = tempfile().unwrap();
            file.write_all(content).unwrap();
            assert!(SavedImage::read(Arc::new(file)).is_err());
        }
    }
}
