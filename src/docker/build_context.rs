//! What the builder gets: the files of a recipe, and those of this machine that its arguments name.
//! The latter may be large, so that they are read while they are sent.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use super::archive::CHUNK_BYTES;
use super::saved::END_OF_ARCHIVE;
use crate::env::{self, FileAccess, ReadAt};
use crate::spec::{LocalFile, PackageVersions, Recipe};

/// The build argument with the versions that are asked for. No part of a recipe.
pub(super) const PACKAGES_ARGUMENT: &str = "toots_packages";

/// Lines of packages.sh that ask for them.
const RECORDED_VERSIONS: &str = include_str!("recorded_versions.sh");

/// What is sent to the builder, as one tar.
pub(super) struct BuildContext {
    /// The recipe's own files.
    own: Vec<u8>,
    local: Vec<LocalInput>,
}

/// A file of this machine: its header, and the rest as it is read.
struct LocalInput {
    header: [u8; 512],
    bytes: u64,
    reader: LocalReader,
}

/// How far a file was read.
struct LocalReader {
    file: Arc<dyn ReadAt>,
    wanted: LocalFile,
    offset: u64,
    bytes: u64,
    hash: Sha256,
}

impl BuildContext {
    /// Writes the recipe's own files, and opens those of this machine. Times are constant, because
    /// they would end up in layers. Each stage is labelled at its start, so that what a failed
    /// build leaves can be found.
    ///
    /// Versions of packages that are asked for are no part of the recipe: its hash names the image
    /// that the cluster has, whatever a later build installs. So what asks for them is added here.
    pub(super) fn open(
        recipe: &Recipe,
        packages: &PackageVersions,
        files: &dyn FileAccess,
    ) -> std::io::Result<Self> {
        let asks = !packages.is_empty();
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in &recipe.files {
            let content = match path.as_str() {
                "Dockerfile" => with_stage_lines(content, &recipe.hash(), asks),
                "packages.sh" if asks => with_recorded_versions(content),
                _ => content.clone(),
            };
            let mode = if content.starts_with("#!") {
                0o755
            } else {
                0o644
            };
            let header = header(path, content.len() as u64, mode)?;
            archive.append(&header, content.as_bytes())?;
        }
        let mut own = archive.into_inner()?;
        own.truncate(own.len() - END_OF_ARCHIVE.len());
        let open = |(name, wanted): (&String, &LocalFile)| {
            let file = files.open(&wanted.path).map_err(|error| {
                std::io::Error::other(format!("cannot read {}: {error}", wanted.path.display()))
            })?;
            let bytes = file.length()?;
            Ok(LocalInput {
                header: *header(name, bytes, 0o644)?.as_bytes(),
                bytes,
                reader: LocalReader {
                    file,
                    wanted: wanted.clone(),
                    offset: 0,
                    bytes,
                    hash: Sha256::new(),
                },
            })
        };
        let local = recipe.local_files.iter().map(open);
        Ok(Self {
            own,
            local: local.collect::<std::io::Result<_>>()?,
        })
    }

    pub(super) fn local_bytes(&self) -> u64 {
        self.local.iter().map(|input| input.bytes).sum()
    }

    /// All bytes in order. Files are read as they are sent, and never held as a whole.
    pub(super) fn stream(self) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        let ready = |bytes: Vec<u8>| stream::once(async { Ok(Bytes::from(bytes)) });
        let inputs = stream::iter(self.local).flat_map(move |input| {
            let blocks = input.bytes.div_ceil(512) * 512;
            let padding = usize::try_from(blocks - input.bytes).unwrap_or_default();
            ready(input.header.to_vec())
                .chain(stream::try_unfold(input.reader, LocalReader::next))
                .chain(ready(vec![0; padding]))
        });
        ready(self.own)
            .chain(inputs)
            .chain(ready(END_OF_ARCHIVE.to_vec()))
    }
}

fn header(path: &str, bytes: u64, mode: u32) -> std::io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

impl LocalReader {
    /// The next bytes; `None` at the end.
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        let read = move || {
            let left = self.bytes - self.offset;
            if left == 0 {
                return Ok(None);
            }
            let length = usize::try_from(left.min(CHUNK_BYTES)).unwrap_or_default();
            let mut bytes = vec![0; length];
            let changed = |path: &Path| {
                let path = path.display();
                std::io::Error::other(format!("{path} changed after its digest was checked"))
            };
            let path = &self.wanted.path;
            self.file
                .fill_from(&mut bytes, self.offset)
                .map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => changed(path),
                    _ => error,
                })?;
            self.offset += bytes.len() as u64;
            self.hash.update(&bytes);
            if self.offset == self.bytes {
                let digest = self.hash.clone().finalize();
                let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                if digest != self.wanted.sha256 {
                    return Err(changed(path));
                }
            }
            Ok(Some((Bytes::from(bytes), self)))
        };
        let stopped = || Err(std::io::Error::other("the file was not read to its end"));
        env::run_blocking(read).await.unwrap_or_else(stopped)
    }
}

/// Adds the label to each stage, and the argument with the versions of packages.
fn with_stage_lines(dockerfile: &str, hash: &str, asks: bool) -> String {
    let mut out = String::new();
    for line in dockerfile.lines() {
        out.push_str(line);
        out.push('\n');
        let instruction = line.split_whitespace().next().unwrap_or_default();
        if instruction.eq_ignore_ascii_case("FROM") {
            out.push_str(&format!("LABEL {}={hash}\n", Recipe::LABEL_BUILD));
            if asks {
                out.push_str(&format!("ARG {PACKAGES_ARGUMENT}\n"));
            }
        }
    }
    out
}

/// Adds what asks for the recorded versions, behind the function that installs. A script of the
/// recipe's own without this function gets the argument alone.
fn with_recorded_versions(script: &str) -> String {
    let mut out = String::new();
    for line in script.lines() {
        out.push_str(line);
        out.push('\n');
        if line.starts_with("install() {") {
            out.push_str(RECORDED_VERSIONS);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::env::MachineFiles;
    use crate::spec::{ImageRef, digest};

    fn recipe() -> Recipe {
        Recipe {
            name: "dnsmasq".into(),
            base: ImageRef("debian:13-slim".into()),
            arguments: [("version".to_owned(), "2.9*".to_owned())].into(),
            files: [
                (
                    "Dockerfile".to_owned(),
                    "ARG base\nFROM ${base}\nRUN true\n".to_owned(),
                ),
                ("packages.sh".to_owned(), "#!/bin/sh\n".to_owned()),
            ]
            .into(),
            local_files: BTreeMap::new(),
        }
    }

    async fn sent(recipe: &Recipe) -> std::io::Result<Vec<u8>> {
        let packages = PackageVersions::default();
        let mut stream =
            std::pin::pin!(BuildContext::open(recipe, &packages, &MachineFiles)?.stream());
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            assert!(chunk.len() as u64 <= CHUNK_BYTES, "read in pieces");
            bytes.extend(chunk);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn each_stage_is_labelled_and_times_are_constant() {
        let recipe = recipe();
        let built = sent(&recipe).await.unwrap();
        assert_eq!(built, sent(&recipe).await.unwrap());
        let mut archive = tar::Archive::new(built.as_slice());
        let mut entries = archive.entries().unwrap();
        let mut dockerfile = entries.next().unwrap().unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut dockerfile, &mut text).unwrap();
        let label = format!("LABEL toots.build={}", recipe.hash());
        assert_eq!(
            text,
            format!("ARG base\nFROM ${{base}}\n{label}\nRUN true\n")
        );
        let script = entries.next().unwrap().unwrap();
        let header = script.header();
        assert_eq!(
            (header.mode().unwrap(), header.mtime().unwrap()),
            (0o755, 0)
        );
        assert!(entries.next().is_none());
    }

    /// Larger than a piece, and no multiple of a block.
    #[tokio::test]
    async fn local_files_are_sent_as_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesos.deb");
        let content: Vec<u8> = (0..600_001_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let with = |sha256: String| {
            let path = path.clone();
            Recipe {
                local_files: [("deb".to_owned(), LocalFile { path, sha256 })].into(),
                ..recipe()
            }
        };
        let built = sent(&with(digest(&content))).await.unwrap();
        let mut archive = tar::Archive::new(built.as_slice());
        let mut file = archive.entries().unwrap().nth(2).unwrap().unwrap();
        assert_eq!(file.path().unwrap().to_str(), Some("deb"));
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut text).unwrap();
        assert!(text == content);

        let other = sent(&with(digest(b"another"))).await.unwrap_err();
        let expected = format!("{} changed after its digest was checked", path.display());
        assert_eq!(other.to_string(), expected);
        std::fs::remove_file(&path).unwrap();
        let gone = sent(&with(digest(&content))).await.unwrap_err();
        assert!(gone.to_string().starts_with("cannot read /"), "{gone}");
    }
}
