//! Creations that meet broken connections, wrong content, and earlier attempts.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use toots::bundle::{ArchiveError, CreateError, RegistryError, create_bundle};
use toots::event::EventSink;

use super::registry::TestRegistry;
use super::{Recorder, blobs_in, create, file_in, names, open, reason, request, two_images};

/// A registry with an image of one large layer; also the layer's digest.
pub async fn large_image() -> (TestRegistry, String, String) {
    let registry = TestRegistry::start().await;
    let layer: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    registry.add_image("large", Some("1"), "amd64", &[&layer]);
    let digest = format!("sha256:{}", toots::spec::digest(&layer));
    let image = registry.image("large:1");
    (registry, image, digest)
}

pub fn break_at(registry: &TestRegistry, digest: &str, places: impl IntoIterator<Item = usize>) {
    let places: VecDeque<usize> = places.into_iter().collect();
    registry.content().breaks.insert(digest.to_owned(), places);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_resumed() {
    let (registry, image, digest) = large_image().await;
    let dir = tempfile::tempdir().unwrap();
    let undisturbed = dir.path().join("undisturbed.tar");
    create(&undisturbed, std::slice::from_ref(&image))
        .await
        .unwrap();
    registry.content().seen.clear();
    // More breaks than attempts without progress are allowed.
    break_at(
        &registry,
        &digest,
        [500_000, 0, 300_000, 16_384, 1, 200_000, 100_000, 50_000],
    );
    create(&file_in(&dir), &[image]).await.unwrap();
    let ranges: Vec<_> = registry.blob_requests();
    let ranges: Vec<u64> = ranges
        .iter()
        .filter(|(blob, _)| *blob == digest)
        .map(|(_, range)| {
            let first = range.as_deref().unwrap_or("bytes=0-");
            first[6..first.len() - 1].parse().unwrap()
        })
        .collect();
    assert_eq!(ranges.len(), 9, "{ranges:?}");
    assert!(ranges.is_sorted() && ranges[8] > 900_000, "{ranges:?}");
    let (a, b) = (std::fs::read(undisturbed), std::fs::read(file_in(&dir)));
    assert!(a.unwrap() == b.unwrap(), "the archives differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_without_ranges_are_read_again() {
    let (registry, image, digest) = large_image().await;
    registry.content().ignores_ranges = true;
    break_at(&registry, &digest, [500_000, 700_000]);
    let dir = tempfile::tempdir().unwrap();
    create(&file_in(&dir), &[image]).await.unwrap();
    open(&file_in(&dir)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_that_never_completes_ends_the_run() {
    let (registry, image, digest) = large_image().await;
    break_at(&registry, &digest, [500_000].into_iter().chain([0; 20]));
    let dir = tempfile::tempdir().unwrap();
    let error = reason(create(&file_in(&dir), std::slice::from_ref(&image)).await);
    let RegistryError::ConnectionLost {
        blob, done, size, ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!((blob, *size), (&digest, 1_600_000));
    assert!((1..=500_000).contains(done), "{done}");
    assert!(error.to_string().contains(&image), "{error}");
    assert!(!file_in(&dir).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_creation_is_resumed_from_complete_blobs() {
    let (registry, image, digest) = large_image().await;
    let dir = tempfile::tempdir().unwrap();
    let (other, mut images) = two_images().await;
    images.push(image);
    let undisturbed = dir.path().join("undisturbed.tar");
    create(&undisturbed, &images).await.unwrap();
    let blobs = blobs_in(&undisturbed);

    break_at(&registry, &digest, [500_000].into_iter().chain([0; 20]));
    let file = file_in(&dir);
    create(&file, &images).await.unwrap_err();
    registry.content().breaks.clear();
    // What a disk or a crash did to it is not kept either.
    let part = dir.path().join("dc1.tar.part");
    let damaged = other
        .blob_requests()
        .iter()
        .map(|(blob, _)| blob.clone())
        .max();
    let damaged = damaged.unwrap();
    damage(&part, &damaged[7..]);
    for registry in [&registry, &other] {
        registry.content().seen.clear();
    }
    let bundle = create(&file, &images).await.unwrap();
    let asked = |registry: &TestRegistry| -> Vec<String> {
        registry
            .blob_requests()
            .into_iter()
            .map(|(blob, _)| blob)
            .collect()
    };
    // Configurations are asked for to know the rest.
    let mut layers: Vec<String> = [asked(&registry), asked(&other)].concat();
    let configurations = open(&file).unwrap();
    let configurations: Vec<String> = configurations
        .images()
        .iter()
        .map(|image| image.variants[0].config.digest.to_string())
        .collect();
    layers.retain(|blob| !configurations.contains(blob));
    let mut expected = vec![digest.clone(), damaged.clone()];
    expected.retain(|blob| !configurations.contains(blob));
    layers.sort();
    expected.sort();
    assert_eq!(layers, expected);
    assert_eq!(bundle.fetched, blobs[&digest] + blobs[&damaged]);
    assert!(std::fs::read(&undisturbed).unwrap() == std::fs::read(&file).unwrap());
    assert!(!part.exists());
}

/// Changes the first byte of a blob's content.
fn damage(file: &std::path::Path, hex: &str) {
    use std::os::unix::fs::FileExt as _;
    let content = std::fs::read(file).unwrap();
    let name = format!("blobs/sha256/{hex}");
    let at = content
        .windows(name.len())
        .position(|window| window == name.as_bytes())
        .unwrap();
    let file = File::options().write(true).open(file).unwrap();
    let at = at as u64 + 512;
    file.write_all_at(&[content[at as usize] ^ 1], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_kept_when_a_tag_moved() {
    let (registry, image, digest) = large_image().await;
    let other = TestRegistry::start().await;
    other.add_image("second", Some("2.0"), "amd64", &[&[2; 20_000]]);
    other.content().pause = Duration::from_secs(60);
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    let wanted = vec![image, other.image("second:2.0")];
    let recorder = Arc::new(Recorder::default());
    let mut request = request(&file, &wanted);
    request.events = Arc::clone(&recorder) as Arc<dyn EventSink>;
    let large_is_complete = async {
        while !names(&recorder.events())
            .iter()
            .any(|name| name.starts_with("fetched"))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        result = create_bundle(request) => panic!("{result:?}"),
        () = large_is_complete => {}
    }
    other.content().pause = Duration::ZERO;
    other.add_image("second", Some("2.0"), "amd64", &[b"moved"]);
    registry.content().seen.clear();
    create(&file, &wanted).await.unwrap();
    let asked = registry.blob_requests();
    assert!(asked.iter().all(|(blob, _)| *blob != digest), "{asked:?}");
    open(&file).unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// The digest of a layer of the second image.
fn second_layer() -> String {
    format!("sha256:{}", toots::spec::digest(b"second"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_is_replaced_and_its_blobs_are_kept() {
    let (registry, image, digest) = large_image().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    create(&file, std::slice::from_ref(&image)).await.unwrap();
    let (_other, images) = two_images().await;
    registry.content().seen.clear();
    let wanted = vec![image, images[0].clone()];
    let bundle = create(&file, &wanted).await.unwrap();
    let asked = registry.blob_requests();
    assert!(asked.iter().all(|(blob, _)| *blob != digest), "{asked:?}");
    assert!(bundle.fetched < 10_000, "{}", bundle.fetched);
    assert_eq!(open(&file).unwrap().images().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_are_never_replaced() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    std::fs::write(&file, "masters = []").unwrap();
    let error = create(&file, &images).await.unwrap_err();
    assert!(
        matches!(error, CreateError::Archive(ArchiveError::NotReplaceable(_))),
        "{error:?}"
    );
    for wrong in [dir.path().join("absent/dc1.tar"), dir.path().to_owned()] {
        let error = create(&wrong, &images).await.unwrap_err();
        let is_write = matches!(error, CreateError::Archive(ArchiveError::Write { .. }));
        assert!(is_write, "{error:?}");
    }
    assert!(registry.content().seen.is_empty());
    assert_eq!(std::fs::read(&file).unwrap(), b"masters = []");
    // A name in a shared folder may be a link to something of value.
    let target = dir.path().join("value");
    std::fs::write(&target, "value").unwrap();
    let linked = dir.path().join("linked.tar");
    std::os::unix::fs::symlink(&target, dir.path().join("linked.tar.part")).unwrap();
    create(&linked, &images).await.unwrap_err();
    assert_eq!(std::fs::read(&target).unwrap(), b"value");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creations_exclude_each_other() {
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let part = File::create(dir.path().join("dc1.tar.part")).unwrap();
    part.lock().unwrap();
    let error = create(&file_in(&dir), &images).await.unwrap_err();
    assert!(
        matches!(error, CreateError::Archive(ArchiveError::InUse(_))),
        "{error:?}"
    );
    part.unlock().unwrap();
    create(&file_in(&dir), &images).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_is_named() {
    let (registry, images) = two_images().await;
    let layer = second_layer();
    let dir = tempfile::tempdir().unwrap();
    for (content, what, got) in [
        (
            &b"2econd"[..],
            "digest of a blob",
            toots::spec::digest(b"2econd"),
        ),
        (b"second and more", "6 bytes", "at least 15".to_owned()),
    ] {
        let served = bytes::Bytes::copy_from_slice(content);
        registry.content().blobs.insert(layer.clone(), served);
        let error = reason(create(&file_in(&dir), &images[1..]).await).to_string();
        for part in [&images[1], &layer, what, &got] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    // A short answer looks like a broken connection.
    let served = bytes::Bytes::from_static(b"sec");
    registry.content().blobs.insert(layer.clone(), served);
    registry.content().ignores_ranges = true;
    let error = reason(create(&file_in(&dir), &images[1..]).await);
    assert!(
        matches!(
            error,
            RegistryError::ConnectionLost {
                done: 3,
                size: 6,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!file_in(&dir).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_manifests_are_named() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<String> = registry.content().manifests.keys().cloned().collect();
    let pinned = keys
        .iter()
        .find(|key| key.starts_with("second:sha256:"))
        .unwrap();
    let digest = pinned.split_once(':').unwrap().1;
    let text = registry.content().manifests[pinned].clone();
    let mut other = text.clone();
    other.1 = [&other.1[..], b"\n"].concat().into();
    registry.content().manifests.insert(pinned.clone(), other);
    let image = registry.image(&format!("second@{digest}"));
    let error = reason(create(&file_in(&dir), &[image]).await);
    let is_content =
        matches!(&error, RegistryError::Content { expected, .. } if expected == digest);
    assert!(is_content, "{error:?}");

    for (manifest, why) in [
        ("{\"schemaVersion\":1}", "schema must be 2, got 1"),
        ("{", "unexpected JSON"),
        ("{\"schemaVersion\":2}", "must be an index or an image"),
    ] {
        registry.add_manifest("wrong", Some("1"), "application/json", manifest);
        let error = reason(create(&file_in(&dir), &[registry.image("wrong:1")]).await);
        assert!(error.to_string().contains(why), "{error}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20));
    registry.add_manifest("wrong", Some("1"), "application/json", &long);
    let error = reason(create(&file_in(&dir), &[registry.image("wrong:1")]).await);
    assert!(
        error.to_string().contains("longer than 4194304 bytes"),
        "{error}"
    );
    drop(images);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_images_and_platforms_are_reported_together() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let absent = registry.image("absent:1");
    let mut request = request(&file_in(&dir), &[&images[..], &[absent]].concat());
    request.platforms = vec!["linux/riscv64".parse().unwrap()];
    let error = create_bundle(request).await.unwrap_err().to_string();
    let error = error.replace(&registry.address.to_string(), "r");
    assert_eq!(
        error,
        "3 errors:\n  cannot fetch r/absent:1: r does not have it\n  \
         r/second:2.0 has no linux/riscv64, only linux/amd64\n  \
         r/team/first:1.0 has no linux/riscv64, only linux/amd64, linux/arm64, linux/s390x"
    );
    assert!(!dir.path().join("dc1.tar.part").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_old_engines_cannot_load_are_named() {
    let registry = TestRegistry::start().await;
    registry.add_image("a", Some("1"), "amd64", &[b"layer"]);
    let (_, text) = registry.content().manifests["a:1"].clone();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let text = text.replace("tar+gzip", "tar+zstd");
    registry.add_manifest("a", Some("1"), super::registry::OCI_MANIFEST, &text);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let mut request = request(&file_in(&dir), &[registry.image("a:1")]);
    request.events = Arc::clone(&recorder) as Arc<dyn EventSink>;
    create_bundle(request).await.unwrap();
    let events = names(&recorder.events());
    let warning = events.iter().find(|text| text.starts_with("warning: "));
    assert!(
        warning.is_some_and(|text| text.contains("before 23.0")),
        "{events:?}"
    );
}
