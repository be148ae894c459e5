//! The seam: above it, nothing of the machine is used but what `env` gives, so that a run can be
//! repeated from a seed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{MAY_IMPORT, sources, without_comments};

/// The rooms below the seam, in which a run's order may depend on the machine.
const BELOW_THE_SEAM: &[&str] = &["transport", "tunnel"];

/// Files of the other rooms that reach the machine past `env`, each with its reason.
const REACH_THE_MACHINE: &[&str] = &[
    "bundle/mod.rs",
    "cli/run.rs",
    "cli/tunnel.rs",
    "docker/local.rs",
    "host/fake.rs",
    "host/mod.rs",
];

#[test]
fn rooms_above_the_seam_reach_the_machine_through_env() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lints = ["methods", "types", "macros"].map(|kind| format!("clippy::disallowed_{kind}"));
    for (room, _) in MAY_IMPORT
        .iter()
        .filter(|(r, _)| !BELOW_THE_SEAM.contains(r))
    {
        let head = fs::read_to_string(src.join(room).join("mod.rs")).unwrap();
        let head = head.split("mod ").next().unwrap();
        let is_warned = lints.iter().all(|lint| head.contains(lint));
        assert!(
            is_warned && head.contains("warn("),
            "{room} warns of {lints:?}"
        );
    }
    let mut found = BTreeSet::new();
    for path in sources(&src) {
        let file = path.strip_prefix(&src).unwrap().display().to_string();
        let code = without_comments(&fs::read_to_string(&path).unwrap());
        let excepts = ["#[expect(", "#[allow("].iter().any(|level| {
            code.split(level).skip(1).any(|rest| {
                let attribute = rest.split(")]").next().unwrap();
                attribute.contains("clippy::disallowed")
            })
        });
        if excepts && !file.starts_with("env/") {
            found.insert(file);
        }
    }
    assert_eq!(
        found,
        REACH_THE_MACHINE.iter().map(|f| (*f).to_owned()).collect()
    );
}

#[test]
fn select_branches_have_an_order() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for path in sources(&src) {
        let file = path.strip_prefix(&src).unwrap();
        let room = file.iter().next().unwrap().to_str().unwrap();
        if BELOW_THE_SEAM.contains(&room) {
            continue;
        }
        let code = without_comments(&fs::read_to_string(&path).unwrap());
        for (at, found) in code.match_indices("select! {") {
            seen += 1;
            // Without it tokio asks the branches in an order of its own random numbers.
            let rest = code[at + found.len()..].trim_start();
            assert!(
                rest.starts_with("biased;"),
                "{}: {rest:.80}",
                file.display()
            );
        }
    }
    assert!(seen > 8, "the scan finds them, got {seen}");
}
