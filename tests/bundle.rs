//! Bundles: fetched from registries that behave and misbehave, written, interrupted, read, damaged.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use toots::bundle::{
    ArchiveError, Bundle, CreateError, CreateRequest, CreatedBundle, ImagePlatform, OwnRegistry,
    RegistryError, RegistryOptions, create_bundle,
};
use toots::event::{Event, EventSink};
use toots::spec::{ImageRef, Secret};

#[path = "bundle/access.rs"]
mod access;
#[path = "bundle/command.rs"]
mod command;
#[path = "bundle/damage.rs"]
mod damage;
#[path = "bundle/engine.rs"]
mod engine;
#[path = "bundle/recipes.rs"]
mod recipes;
#[path = "bundle/recorded.rs"]
mod recorded;
#[path = "bundle/registry.rs"]
mod registry;
#[path = "bundle/single.rs"]
mod single;
#[path = "bundle/trouble.rs"]
mod trouble;

use registry::{DOCKER_MANIFEST, TestRegistry};

#[derive(Default)]
pub struct Recorder(Mutex<Vec<Event>>);

impl EventSink for Recorder {
    fn send(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

/// A creation whose parts a test may change.
pub fn request(file: &Path, images: &[String]) -> CreateRequest {
    CreateRequest {
        file: file.to_owned(),
        images: images.iter().map(|image| ImageRef(image.clone())).collect(),
        local: Vec::new(),
        platforms: vec![ImagePlatform::linux_amd64()],
        registries: RegistryOptions {
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            retry_delay: Duration::from_millis(1),
            own: None,
        },
        events: Arc::new(Recorder::default()),
    }
}

pub async fn create(file: &Path, images: &[String]) -> Result<CreatedBundle, CreateError> {
    create_bundle(request(file, images)).await
}

pub fn own(registry: &TestRegistry, login: Option<(&str, &str)>) -> Option<OwnRegistry> {
    Some(OwnRegistry {
        server: registry.address.to_string(),
        address: None,
        ca: None,
        login: login.map(|(user, password)| (user.to_owned(), Secret::new(password))),
    })
}

/// The reason of a creation that one image failed.
pub fn reason(result: Result<CreatedBundle, CreateError>) -> RegistryError {
    match result {
        Err(CreateError::Registry(errors)) if errors.len() == 1 => errors[0].clone(),
        other => panic!("{other:?}"),
    }
}

pub fn open(file: &Path) -> Result<Bundle, ArchiveError> {
    let bundle = Bundle::open(&toots::env::MachineFiles, file)?;
    bundle.verify(|_| {})?;
    Ok(bundle)
}

/// Two images with a common layer: `one` behind an index, `two` without.
pub async fn two_images() -> (TestRegistry, Vec<String>) {
    let registry = TestRegistry::start().await;
    let base = vec![7; 700];
    let amd64 = registry.add_image("team/first", None, "amd64", &[&base, b"first"]);
    let arm64 = registry.add_image("team/first", None, "arm64", &[b"arm", b"first"]);
    let s390x = registry.add_image("team/first", None, "s390x", &[b"s390x"]);
    let images = [("s390x", &s390x), ("amd64", &amd64), ("arm64", &arm64)];
    registry.add_index("team/first", "1.0", &images);
    registry.add_image(
        "second",
        Some("2.0"),
        "amd64",
        &[&base, b"second", b"second"],
    );
    let images = vec![
        registry.image("team/first:1.0"),
        registry.image("second:2.0"),
    ];
    (registry, images)
}

pub fn file_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("dc1.tar")
}

/// The standard output of a program that succeeds.
fn output(program: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    // GNU tar warns of everything unusual.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_is_an_oci_layout_for_other_programs() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    let bundle = create(&file, &images).await.unwrap();
    let port = registry.address.to_string();
    let listing = output("tar", &["--numeric-owner", "-tvf", "dc1.tar"], dir.path());
    // The port is in the names of images, and with them in the length of the documents.
    let listing: Vec<String> = listing
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[5] {
                "index.json" | "manifest.json" => line.replace(words[2], "[length]"),
                _ => line.to_owned(),
            }
        })
        .collect();
    insta::assert_snapshot!("archive", listing.join("\n"));

    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    output("tar", &["-xf", "../dc1.tar"], &out);
    for entry in std::fs::read_dir(out.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(name, toots::spec::digest(&content));
        // Byte for byte what the registry served.
        let served = registry
            .content()
            .blobs
            .get(&format!("sha256:{name}"))
            .cloned();
        assert!(served.is_none_or(|served| served == content));
    }
    let mut documents = String::new();
    for name in ["oci-layout", "index.json", "manifest.json"] {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        // It covers the port.
        if let Some(checksum) = value.pointer_mut("/annotations/toots.bundle.checksum") {
            *checksum = "[checksum]".into();
        }
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        documents += &format!("{name}\n{}\n", pretty.replace(&port, "[registry]"));
    }
    insta::assert_snapshot!("documents", documents);

    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(bundle.length, file.metadata().unwrap().len());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_fetched_once_for_wanted_platforms() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let bundle = create(&file_in(&dir), &images).await.unwrap();
    let requests = registry.blob_requests();
    let unique: BTreeSet<_> = requests.iter().collect();
    assert_eq!(requests.len(), unique.len(), "{requests:?}");
    // Two configurations, the common layer, and one layer of each image.
    assert_eq!(unique.len(), 5, "{requests:?}");
    let read = open(&file_in(&dir)).unwrap();
    assert_eq!(read.images(), bundle.images);
    let first = &read.images()[1];
    assert_eq!(first.variants.len(), 1);
    assert_eq!(
        first.variants[0].layers.len(),
        first.variants[0].diff_ids.len()
    );
    // The pin is what the registry calls the image: the index.
    assert_ne!(first.root.digest, first.variants[0].manifest.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_platforms_share_an_archive() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    let mut request = request(&file, &images[..1]);
    request.platforms = vec![
        "linux/arm64".parse().unwrap(),
        "linux/amd64".parse().unwrap(),
    ];
    create_bundle(request).await.unwrap();
    let bundle = open(&file).unwrap();
    let variants = &bundle.images()[0].variants;
    let platforms: Vec<String> = variants.iter().map(|v| v.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/arm64", "linux/amd64"]);
    let manifest = output("tar", &["-xOf", "dc1.tar", "manifest.json"], dir.path());
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let name = format!("{}/team/first:1.0", registry.address);
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!([name]));
    assert_eq!(manifest[1]["RepoTags"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_found_by_tag_and_digest() {
    let registry = TestRegistry::start().await;
    let (old, _) = registry.add_image("a", Some("1"), "amd64", &[b"old"]);
    let (new, _) = registry.add_image("a", Some("1"), "amd64", &[b"new"]);
    let (other, _) = registry.add_image("b", Some("1"), "amd64", &[b"other"]);
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    let images = [
        registry.image("a:1"),
        registry.image(&format!("a:1@{old}")),
        registry.image(&format!("b:1@{other}")),
        registry.image(&format!("b@{other}")),
    ];
    create(&file, &images).await.unwrap();
    let bundle = open(&file).unwrap();
    let names: Vec<String> = bundle.images().iter().map(|i| i.name.to_string()).collect();
    let expected = [
        format!("a@{old}"),
        "a:1".to_owned(),
        format!("b@{other}"),
        "b:1".to_owned(),
    ];
    assert_eq!(names, expected.map(|name| registry.image(&name)));
    let digest = |name: &str| {
        let image = bundle.find(&ImageRef(registry.image(name)));
        image.map(|image| image.root.digest.to_string())
    };
    assert_eq!(digest("a:1"), Some(new.clone()));
    assert_eq!(digest(&format!("a:1@{old}")), Some(old.clone()));
    assert_eq!(digest(&format!("a@{new}")), Some(new));
    assert_eq!(digest(&format!("b:9@{other}")), Some(other));
    assert_eq!(digest("b:2"), None);
    assert_eq!(digest(&format!("b@{old}")), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_can_be_read() {
    use std::io::Read as _;
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    create(&file_in(&dir), &images).await.unwrap();
    let bundle = open(&file_in(&dir)).unwrap();
    let layer = &bundle.images()[0].variants[0].layers[1];
    let mut content = String::new();
    let mut reader = bundle.blob(&layer.digest).unwrap();
    reader.read_to_string(&mut content).unwrap();
    assert_eq!(content, "second");
    let absent = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    assert!(bundle.blob(&absent).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_need_no_media_type() {
    let registry = TestRegistry::start().await;
    let (digest, _) = registry.add_image("a", Some("1"), "amd64", &[b"layer"]);
    let manifest = |media_type: &str| {
        let mut content = registry.content();
        for (key, (known, _)) in &mut content.manifests {
            if key.starts_with("a:") {
                media_type.clone_into(known);
            }
        }
    };
    let dir = tempfile::tempdir().unwrap();
    for (served, kept) in [
        ("text/plain", registry::OCI_MANIFEST),
        (DOCKER_MANIFEST, DOCKER_MANIFEST),
        (
            &*format!("{DOCKER_MANIFEST}; charset=utf-8"),
            DOCKER_MANIFEST,
        ),
    ] {
        manifest(served);
        let bundle = create(&file_in(&dir), &[registry.image("a:1")])
            .await
            .unwrap();
        assert_eq!(bundle.images[0].root.media_type, kept);
        assert_eq!(bundle.images[0].root.digest.to_string(), digest);
        open(&file_in(&dir)).unwrap();
    }
}

/// Names of the events, without those of progress, which depend on the clock.
fn names(events: &[Event]) -> Vec<String> {
    let shown = events.iter().filter_map(|event| match event {
        Event::PhaseStarted { phase } => Some(phase.to_string()),
        Event::ImageResolved { image, .. } => Some(format!("resolved {image}")),
        Event::ImageFetched { image, .. } => Some(format!("fetched {image}")),
        Event::Warning { text, .. } => Some(format!("warning: {text}")),
        _ => None,
    });
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_how_far_a_creation_is() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let mut request = request(&file_in(&dir), &images);
    request.events = Arc::clone(&recorder) as Arc<dyn EventSink>;
    create_bundle(request).await.unwrap();
    let events = recorder.events();
    let mut seen = names(&events);
    // Two at a time: which is first is open.
    seen[1..3].sort();
    seen[5..7].sort();
    let port = registry.address.to_string();
    let seen = seen.join("\n").replace(&port, "r");
    assert_eq!(
        seen,
        "resolve\nresolved r/second:2.0\nresolved r/team/first:1.0\nprepare\ndownload\n\
         fetched r/second:2.0\nfetched r/team/first:1.0\nfinish"
    );
    let last = events.iter().rev().find_map(|event| match event {
        Event::TransferProgress { bytes, total } => Some((*bytes, *total)),
        _ => None,
    });
    let (bytes, total) = last.unwrap();
    assert!(bytes == total && total > 2000, "{bytes} of {total}");
}

/// Every blob that a file holds completely.
pub fn blobs_in(file: &Path) -> BTreeMap<String, u64> {
    let bundle = open(file).unwrap();
    let mut blobs = BTreeMap::new();
    for image in bundle.images() {
        blobs.insert(image.root.digest.to_string(), image.root.size);
        for variant in &image.variants {
            for blob in variant
                .layers
                .iter()
                .chain([&variant.config, &variant.manifest])
            {
                blobs.insert(blob.digest.to_string(), blob.size);
            }
        }
    }
    blobs
}

/// Changes one byte of a file, and back.
pub fn with_changed_byte<T>(file: &Path, at: u64, check: impl FnOnce() -> T) -> T {
    let open = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).unwrap();
    open.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
    let result = check();
    open.write_all_at(&byte, at).unwrap();
    result
}
