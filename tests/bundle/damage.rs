//! Archives that were changed, cut off, or written by something else.

use std::path::Path;

use toots::bundle::ArchiveError;

use super::{create, file_in, open, output, two_images, with_changed_byte};

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_byte_is_noticed() {
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    let bundle = create(&file, &images).await.unwrap();
    for at in 0..bundle.length {
        let error = with_changed_byte(&file, at, || open(&file).err());
        match error {
            Some(ArchiveError::Damaged { .. } | ArchiveError::Truncated { .. }) => {}
            // The first header and the annotations are what a bundle is known by.
            Some(ArchiveError::NotABundle { .. } | ArchiveError::Format { .. }) => {}
            other => panic!("byte {at} of {}: {other:?}", bundle.length),
        }
    }
    open(&file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_length_but_its_own_is_refused() {
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, cut) = (file_in(&dir), dir.path().join("cut.tar"));
    create(&file, &images).await.unwrap();
    let content = std::fs::read(&file).unwrap();
    std::fs::write(&cut, &content).unwrap();
    let shorter = std::fs::File::options().write(true).open(&cut).unwrap();
    for length in (0..content.len()).rev() {
        shorter.set_len(length as u64).unwrap();
        match open(&cut) {
            Err(ArchiveError::NotABundle { .. }) if length < 512 => {}
            Err(ArchiveError::Truncated { .. }) if length >= 512 => {}
            other => panic!("{length} of {} bytes: {other:?}", content.len()),
        }
    }
    for more in [1, 511, 512, 9216] {
        let longer = [&content[..], &vec![0; more]].concat();
        std::fs::write(&cut, longer).unwrap();
        assert!(
            matches!(open(&cut), Err(ArchiveError::Damaged { .. })),
            "{more}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_blobs_and_names_are_noticed() {
    let (_registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    create(&file, &images).await.unwrap();
    // Packed again by another program, even with the same content.
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    output("tar", &["-xf", "../dc1.tar"], &out);
    let packed = dir.path().join("packed.tar");
    let pack = |format: &str| {
        let args = [
            format,
            "-cf",
            "../packed.tar",
            "blobs",
            "index.json",
            "manifest.json",
        ];
        output("tar", &[&args[..], &["oci-layout"]].concat(), &out);
        open(&packed).unwrap_err().to_string()
    };
    for format in ["--format=gnu", "--format=ustar", "--format=pax"] {
        let error = pack(format);
        assert!(error.contains("is not a bundle"), "{error}");
    }
}

#[test]
fn other_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    for content in [
        &b""[..],
        b"hello",
        &[0; 512],
        &[0; 10_240],
        &[b'x'; 100_000],
    ] {
        std::fs::write(&file, content).unwrap();
        let error = open(&file).unwrap_err();
        assert!(
            matches!(error, ArchiveError::NotABundle { .. }),
            "{error:?}"
        );
    }
    let absent = open(&dir.path().join("absent")).unwrap_err();
    assert!(matches!(absent, ArchiveError::Read { .. }), "{absent:?}");
    let folder = open(dir.path()).unwrap_err();
    assert!(
        matches!(
            folder,
            ArchiveError::Read { .. } | ArchiveError::NotABundle { .. }
        ),
        "{folder:?}"
    );
    assert!(open(Path::new("/dev/null")).is_err());
}
