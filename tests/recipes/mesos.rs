//! The script of the recipe mesos, against a repository on loopback.

use std::fs;

use super::apt::{Lab, Run};
use toots::spec::digest;

#[test]
fn the_package_is_installed() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(Some(&key));
    lab.serve_keys(&[&key]);
    let spaced = key.fingerprint.to_lowercase();
    let spaced = format!("{} {}", &spaced[..20], &spaced[20..]);
    let run = lab.install(&key, &[("key_fingerprint", &spaced)]);
    assert!(run.success, "{}", run.text);
    assert!(
        run.text.ends_with("Docker version 26.1.3\n"),
        "{}",
        run.text
    );
    assert_eq!(run.updates(), 2, "{:?}", run.calls);
    let dependencies = "ca-certificates libcurl4 libsasl2-modules libunwind8 docker.io";
    let package = "aventer-mesos=1.11.0-0.7.1*";
    assert_eq!(installs(&run), [dependencies, package]);
    // Nothing in the image trusts the repository any more.
    let folder = |path: &str| fs::read_dir(lab.path(path)).unwrap().count();
    assert_eq!(folder("apt/etc/apt/sources.list.d"), 0);
    assert!(!lab.path("apt/etc/apt/mesos.gpg").exists());
    assert_eq!(folder("apt/var/lib/apt/lists"), 0);
}

/// The packages of each installation.
fn installs(run: &Run) -> Vec<&str> {
    let calls = run.calls.iter();
    let installs =
        calls.filter_map(|call| call.split_once(" install -qy --no-install-recommends "));
    installs.map(|(_, packages)| packages).collect()
}

/// The tries to fetch packages, without those that only simulate.
fn fetches(run: &Run) -> usize {
    let is_fetch = |call: &&String| call.contains(" install ") && !call.contains("--simulate");
    run.calls.iter().filter(is_fetch).count()
}

#[test]
fn other_versions_are_installed_as_they_are() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(Some(&key));
    lab.serve_keys(&[&key]);
    let run = lab.install(&key, &[("needed_by", "2.*")]);
    assert!(run.success, "{}", run.text);
    assert_eq!(installs(&run), ["aventer-mesos=1.11.0-0.7.1*"]);
}

#[test]
fn another_key_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let (key, other) = (lab.key("vendor"), lab.key("other"));
    lab.publish(Some(&other));
    lab.serve_keys(&[&other]);
    let run = lab.install(&key, &[]);
    run.refused(&[
        "mesos: the key has another fingerprint",
        &format!("  repository: {}/vendor noble main", lab.address),
        &format!("  key: {}/key.asc", lab.address),
        &format!("  fingerprint expected: {}", key.fingerprint),
        &format!("  fingerprint found: {}", other.fingerprint),
        &format!(
            "  clock of this host: {}",
            jiff::Timestamp::now().strftime("%Y-%m-%d ")
        ),
        "  arguments to check: [images.mesos] key_fingerprint, key",
    ]);
    assert_eq!(
        run.updates(),
        1,
        "the repository is not asked: {:?}",
        run.calls
    );
}

#[test]
fn a_second_key_in_the_file_is_not_trusted() {
    let Some(lab) = Lab::new() else { return };
    let (key, other) = (lab.key("vendor"), lab.key("other"));
    lab.publish(Some(&other));
    lab.serve_keys(&[&key, &other]);
    lab.install(&key, &[]).refused(&[
        "mesos: cannot fetch or verify the lists of the repository",
        &format!("  fingerprint expected: {}", key.fingerprint),
        "  key expires: never",
        "[images.mesos] repository, suite, component, key, deb",
    ]);
    // It is the signature: with that key the same repository is accepted.
    assert!(lab.install(&other, &[]).success);
}

#[test]
fn an_expired_key_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.expired_key();
    lab.publish(Some(&key));
    lab.serve_keys(&[&key]);
    lab.install(&key, &[]).refused(&[
        "mesos: the key has expired",
        &format!("  fingerprint found: {}", key.fingerprint),
        "  key expires: 2024-09-28 ",
        "  clock of this host: ",
        "[images.mesos] key, deb",
    ]);
}

#[test]
fn a_revoked_key_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(Some(&key));
    lab.revoke(&key);
    lab.serve_keys(&[&key]);
    lab.install(&key, &[]).refused(&[
        "mesos: the key is revoked",
        "  key expires: revoked",
        "[images.mesos] key, deb",
    ]);
}

#[test]
fn no_key_and_no_answer_are_refused() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.install(&key, &[]).refused(&[
        "404",
        "mesos: cannot fetch the key",
        "  fingerprint found: none",
        "[images.mesos] key, deb",
    ]);
    fs::write(lab.path("www/key.asc"), "<html>sold</html>").unwrap();
    lab.install(&key, &[]).refused(&[
        "mesos: the file of the key has no key",
        "[images.mesos] key",
    ]);
}

#[test]
fn an_unsigned_repository_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(None);
    lab.serve_keys(&[&key]);
    lab.install(&key, &[]).refused(&[
        "is not signed",
        "mesos: cannot fetch or verify the lists of the repository",
        "[images.mesos] repository, ",
    ]);
}

#[test]
fn tampered_content_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(Some(&key));
    lab.serve_keys(&[&key]);
    // Of the same size.
    let mut package = fs::read(lab.package_file()).unwrap();
    let at = package.len() - 600;
    package[at] ^= 1;
    fs::write(lab.package_file(), package).unwrap();
    let run = lab.install(&key, &[]);
    run.refused(&[
        "Hash Sum mismatch",
        "mesos: cannot install aventer-mesos=1.11.0-0.7.1*",
        "[images.mesos] version, package, ",
    ]);
    assert_eq!(fetches(&run), 2 + 3, "{:?}", run.calls);
    let list = lab.path("www/vendor/dists/noble/main/binary-amd64/Packages");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(list, text.replace("0.7.1", "0.7.2")).unwrap();
    lab.install(&key, &[]).refused(&[
        "Hash Sum mismatch",
        "mesos: cannot fetch or verify the lists of the repository",
    ]);
}

#[test]
fn a_version_that_is_gone_is_named_with_those_that_are_there() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(Some(&key));
    lab.serve_keys(&[&key]);
    let run = lab.install(&key, &[("version", "1.11.0-0.4.0*")]);
    run.refused(&[
        "Version '1.11.0-0.4.0*' for 'aventer-mesos' was not found",
        "aventer-mesos | 1.11.0-0.7.1.ubuntu2404 |",
        "mesos: cannot install aventer-mesos=1.11.0-0.4.0*",
        "[images.mesos] version, ",
    ]);
    assert_eq!(fetches(&run), 2 + 1, "{:?}", run.calls);
}

#[test]
fn a_repository_is_asked_three_times() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.serve_keys(&[&key]);
    let run = lab.install(&key, &[]);
    run.refused(&[
        "mesos: cannot fetch or verify the lists of the repository",
        &format!("  repository: {}/vendor noble main", lab.address),
    ]);
    assert_eq!(run.updates(), 1 + 3, "{:?}", run.calls);
    // Nobody listens on the port of discard.
    let nowhere = ("repository", "http://127.0.0.1:9/vendor");
    let run = lab.install(&key, &[nowhere]);
    run.refused(&["  repository: http://127.0.0.1:9/vendor noble main"]);
    assert_eq!(run.updates(), 1 + 3, "{:?}", run.calls);
}

#[test]
fn a_program_that_does_not_start_is_shown() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    let program = "echo error while loading shared libraries: libunwind.so.8 >&2; exit 127";
    lab.publish_program(Some(&key), program);
    lab.serve_keys(&[&key]);
    lab.install(&key, &[("dependencies", "libcurl4")])
        .refused(&[
            "error while loading shared libraries: libunwind.so.8",
            "mesos: mesos-agent does not start",
            "[images.mesos] dependencies, version",
        ]);
}

#[test]
fn a_package_in_a_file_needs_no_repository() {
    let Some(lab) = Lab::new() else { return };
    let key = lab.key("vendor");
    lab.publish(None);
    let content = fs::read(lab.package_file()).unwrap();
    let deb = lab.path("script/deb");
    fs::write(&deb, &content).unwrap();
    let sha256 = digest(&content);
    let nowhere = ("repository", "http://127.0.0.1:9/");
    let run = lab.install(&key, &[nowhere, ("deb_sha256", &sha256)]);
    assert!(run.success, "{}", run.text);
    assert!(
        run.text.ends_with("Docker version 26.1.3\n"),
        "{}",
        run.text
    );

    fs::write(&deb, b"another").unwrap();
    lab.install(&key, &[("deb_sha256", &sha256)]).refused(&[
        &format!(
            "mesos: the package has another SHA-256: {}",
            digest(b"another")
        ),
        &format!("  package: deb of [images.mesos], SHA-256 {sha256}"),
        "[images.mesos] deb_sha256, deb",
    ]);
}
