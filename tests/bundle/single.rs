//! The archive of one image that is cut out of a bundle for an Engine.

use std::io::Read as _;

use serde_json::Value;
use toots::bundle::{Bundle, BundlePart};
use toots::spec::digest;

use super::*;

/// The bytes that an Engine gets.
fn assemble(bundle: &Bundle, parts: &[BundlePart]) -> Vec<u8> {
    let file = bundle.file();
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            BundlePart::Bytes(piece) => bytes.extend(piece),
            BundlePart::File(range) => {
                let mut piece = vec![0; usize::try_from(range.end - range.start).unwrap()];
                file.fill_from(&mut piece, range.start).unwrap();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

fn entries(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_cut_out_for_a_platform() {
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    let platforms = ["linux/amd64", "linux/arm64"].map(|p| p.parse().unwrap());
    let request = CreateRequest {
        platforms: platforms.to_vec(),
        ..request(&file, &images[..1])
    };
    create_bundle(request).await.unwrap();
    let bundle = open(&file).unwrap();
    let [image] = bundle.images() else {
        panic!("{:?}", bundle.images());
    };
    for variant in &image.variants {
        let archive = |shared| {
            let parts = bundle.image_archive(image, variant, shared).unwrap();
            entries(&assemble(&bundle, &parts))
        };
        let whole = archive(0);
        for (name, content) in &whole {
            if let Some(hex) = name
                .strip_prefix("blobs/sha256/")
                .filter(|hex| !hex.is_empty())
            {
                assert_eq!(digest(content), hex);
            }
        }
        let blob = |digest: &toots::bundle::BlobDigest| format!("blobs/sha256/{}", digest.hex());
        let manifest: Value = serde_json::from_slice(&whole["manifest.json"]).unwrap();
        let layers: Vec<String> = variant.layers.iter().map(|l| blob(&l.digest)).collect();
        assert_eq!(
            manifest,
            serde_json::json!([{
                "Config": blob(&variant.config.digest),
                "RepoTags": null,
                "Layers": layers,
            }])
        );
        let index: Value = serde_json::from_slice(&whole["index.json"]).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        let root = &index["manifests"][0];
        assert_eq!(root["digest"], image.root.digest.to_string());
        assert_eq!(root["annotations"], serde_json::json!({}), "no name");
        // Nothing of the other platform.
        let blobs = whole
            .keys()
            .filter(|name| name.len() > 13 && name.starts_with("blobs/"));
        assert_eq!(blobs.count(), 3 + layers.len());

        let delta = archive(1);
        let left_out: Vec<&String> = whole.keys().filter(|n| !delta.contains_key(*n)).collect();
        assert_eq!(left_out, [&layers[0]]);
        assert_eq!(archive(9).len(), whole.len() - layers.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_occurs_twice_is_sent_while_it_is_needed() {
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    create(&file, &images[1..]).await.unwrap();
    let bundle = open(&file).unwrap();
    let image = &bundle.images()[0];
    let variant = &image.variants[0];
    assert_eq!(variant.layers[1].digest, variant.layers[2].digest);
    let sent = |shared| {
        let parts = bundle.image_archive(image, variant, shared).unwrap();
        let name = format!("blobs/sha256/{}", variant.layers[2].digest.hex());
        entries(&assemble(&bundle, &parts)).contains_key(&name)
    };
    assert_eq!([0, 2, 3].map(sent), [true, true, false]);

    // Another bundle does not have its blobs.
    let other = dir.path().join("other.tar");
    create(&other, &images[..1]).await.unwrap();
    assert!(
        open(&other)
            .unwrap()
            .image_archive(image, variant, 0)
            .is_none()
    );
}
