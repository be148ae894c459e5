//! Runs the scripts with which hosts give and take images, against a `docker` of the test.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ssh::{GIVE_IMAGE as GIVE, TAKE_IMAGE as TAKE};

const IMAGE: &[u8] = &[7; 700_000];

/// A folder with a `docker` that saves a file and loads into another one; `None` without Perl.
fn docker() -> Option<tempfile::TempDir> {
    let perl = Command::new("perl")
        .arg("-v")
        .stdout(Stdio::null())
        .status();
    if perl.is_err() {
        println!("skipped: perl is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker");
    let script = "#!/bin/sh\ncd \"${0%/*}\" && case $1 in\n  save) cat \"$2\" ;;\n  \
                  load) cat > loaded && echo 'Loaded image ID: sha256:1' ;;\nesac\n";
    crate::testing::write_program(&path, script);
    fs::write(folder.path().join("image"), IMAGE).unwrap();
    Some(folder)
}

fn start(folder: &Path, script: &str, arguments: &[&str], token: &str) -> Child {
    let path = std::env::var("PATH").unwrap();
    let mut child = Command::new("perl")
        .args(["-e", script])
        .args(arguments)
        .env("PATH", format!("{}:{path}", folder.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{token}").unwrap();
    child
}

fn read_port(giver: &mut Child) -> String {
    let mut line = String::new();
    let mut output = BufReader::new(giver.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
fn an_image_is_given_and_taken() {
    let Some(folder) = docker() else { return };
    let local = "127.0.0.1";
    let mut giver = start(folder.path(), GIVE, &[local, local, "image"], "t0ken");
    let port = read_port(&mut giver);
    // Neither silence nor another token gets anything, and both do not end it.
    for words in ["\n", "another\n"] {
        let mut stranger = TcpStream::connect(format!("{local}:{port}")).unwrap();
        stranger.write_all(words.as_bytes()).unwrap();
        let mut got = Vec::new();
        stranger.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"");
    }
    let taker = start(folder.path(), TAKE, &[local, &port], "t0ken");
    let output = taker.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("Loaded image ID: sha256:1\n"), "{text}");
    assert_eq!(fs::read(folder.path().join("loaded")).unwrap(), IMAGE);
    assert!(giver.wait().unwrap().success());
}

#[test]
fn another_address_gets_nothing() {
    let Some(folder) = docker() else { return };
    let local = "127.0.0.1";
    let mut giver = start(folder.path(), GIVE, &[local, "127.0.0.2", "image"], "t0ken");
    let port = read_port(&mut giver);
    let taker = start(folder.path(), TAKE, &[local, &port], "t0ken");
    let output = taker.wait_with_output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "127.0.0.1 sent nothing\n");
    giver.kill().unwrap();
    giver.wait().unwrap();
}

#[test]
fn what_cannot_be_saved_is_an_error_on_both_sides() {
    let Some(folder) = docker() else { return };
    let local = "127.0.0.1";
    let mut giver = start(folder.path(), GIVE, &[local, local, "absent"], "t0ken");
    let port = read_port(&mut giver);
    let taker = start(folder.path(), TAKE, &[local, &port], "t0ken");
    assert!(!taker.wait_with_output().unwrap().status.success());
    let output = giver.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.ends_with("docker save failed\n"), "{text}");
}
