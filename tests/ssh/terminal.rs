//! Text from a host on the operator's terminal: the program itself in a pseudo-terminal, against
//! hosts that answer with control sequences.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::fake::{Behaviour, Fake, Script};
use super::lab::ready;

/// Sequences that clear the screen, write to the clipboard, set the title, make the terminal type,
/// hide text, and overwrite a line.
const NASTY: &str = "\x1b[31337m\x1b]52;c;eA==\x07\x1b]0;title\x1b\\\x1bP$q\x1b\\\x1b[6n\x1b[8mhidden\u{9b}31337m\u{9d}0;x\u{9c}\u{202e}\u{2066}\rOVERWRITTEN\n";

/// Runs toots in a pseudo-terminal of 120 columns; returns what the terminal received.
async fn captured(dir: &Path, words: &str) -> Vec<u8> {
    let line = format!(
        "stty cols 120 rows 40; exec '{}' {words}",
        env!("CARGO_BIN_EXE_toots")
    );
    let run = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("XDG_STATE_HOME", dir)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .output();
    tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .unwrap()
        .unwrap()
        .stdout
}

fn inventory(dir: &Path, fakes: &[Fake]) -> String {
    let mut text =
        "masters = [\"m1\", \"m2\", \"m3\"]\n[network]\nnic = \"lo\"\n[ssh]\nuser = \"root\"\n"
            .to_owned();
    let list = |paths: Vec<String>| format!("[{}]", paths.join(", "));
    text += &format!(
        "identity_files = {}\n",
        list(
            fakes
                .iter()
                .map(|f| format!("{:?}", f.at("id").display().to_string()))
                .collect()
        )
    );
    text += &format!(
        "known_hosts_files = {}\n",
        list(
            fakes
                .iter()
                .map(|f| format!("{:?}", f.known().display().to_string()))
                .collect()
        )
    );
    for (n, fake) in fakes.iter().enumerate() {
        text += &format!(
            "[hosts.m{}]\naddress = \"10.0.0.{}\"\nssh = \"127.0.0.1\"\nport = {}\n",
            n + 1,
            n + 1,
            fake.address.port()
        );
    }
    let path = dir.join("inventory.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn host_text_never_reaches_the_terminal_raw() {
    if !ready() {
        return;
    }
    let every_byte: Vec<u8> = [(0..=255).collect::<Vec<u8>>(), NASTY.as_bytes().to_vec()].concat();
    for (name, script) in [
        (
            "output",
            Script::Output(every_byte.clone(), every_byte.clone(), 1),
        ),
        ("a failing command", Script::Failing(every_byte.clone())),
        ("a farewell", Script::Farewell(NASTY.to_owned())),
    ] {
        let mut fakes = Vec::new();
        for _ in 0..3 {
            fakes.push(
                Fake::start(Behaviour {
                    script: script.clone(),
                    ..Behaviour::default()
                })
                .await,
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let inventory = inventory(dir.path(), &fakes);
        for words in [
            "cluster status",
            "cluster plan",
            "cluster up --yes",
            "cluster up --yes --output plain",
        ] {
            let bytes = captured(dir.path(), &format!("{words} -i '{inventory}'")).await;
            let text = String::from_utf8(bytes)
                .unwrap_or_else(|error| panic!("{name}, {words}: bytes that are no text: {error}"));
            let shown = text.contains("31337m") || name == "output";
            assert!(
                text.contains("m1") && shown,
                "{name}, {words}: the words are told\n{text:?}"
            );
            for raw in [
                "\x1b[31337",
                "\x1b]",
                "\x1bP",
                "\x1b[6n",
                "\x1b[8m",
                "\rOVERWRITTEN",
            ] {
                assert!(
                    !text.contains(raw),
                    "{name}, {words}: {raw:?} is raw\n{text:?}"
                );
            }
            let raw = |c: char| {
                (c.is_control() && !matches!(c, '\n' | '\r' | '\x1b'))
                    || ('\u{202a}'..='\u{202e}').contains(&c)
                    || ('\u{2066}'..='\u{2069}').contains(&c)
            };
            assert!(
                !text.contains(raw),
                "{name}, {words}: {:?} is raw\n{text:?}",
                text.chars().find(|c| raw(*c))
            );
        }
    }
}
