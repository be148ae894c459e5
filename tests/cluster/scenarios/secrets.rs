//! Places where passwords, passphrases and keys must not appear.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lab::{Lab, local, on};

const PASSPHRASE: &str = "sentinel-5f0c-passphrase";
const MACHINES: [&str; 5] = ["m1", "m2", "m3", "s1", "e1"];

/// Collects every command line and environment on the operator's machine while it exists.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<u8>>,
}

impl Watch {
    fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    for file in ["cmdline", "environ"] {
                        seen.extend(std::fs::read(entry.path().join(file)).unwrap_or_default());
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<u8> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the watch ends")
    }
}

/// A run that needs a passphrase, logs in to the registry for a pull and writes through every
/// service; then everything that it left or printed.
pub fn nowhere(lab: &Lab) {
    let folder = lab.folder.join(".lab");
    let key = folder.join("key.locked");
    drop(std::fs::remove_file(&key));
    std::fs::copy(folder.join("key"), &key).expect("a copy of the key");
    local(&[
        "ssh-keygen",
        "-q",
        "-p",
        "-P",
        "",
        "-N",
        PASSPHRASE,
        "-f",
        key.to_str().expect("a path"),
    ]);
    let inventory = lab.changed("locked-key", |text| {
        text.replace(".lab/key\"", ".lab/key.locked\"")
    });
    let state = tempfile::tempdir().expect("a folder");

    let mut secrets = BTreeMap::from([("the passphrase".to_owned(), PASSPHRASE.to_owned())]);
    let password =
        std::fs::read_to_string(folder.join("registry-password")).expect("the registry's password");
    secrets.insert("the registry's password".into(), password.trim().to_owned());
    for line in on("m1", "cd /etc/toots/secrets && grep -H . *").lines() {
        let (name, secret) = line.split_once(':').expect("a secret");
        secrets.insert(name.to_owned(), secret.trim().to_owned());
    }
    assert!(
        secrets.len() >= 4 && secrets.values().all(|secret| secret.len() >= 8),
        "{:?}",
        secrets.keys()
    );

    on(
        "s1",
        "docker rmi -f $(docker images -q --filter reference='*/*/http-echo') >/dev/null",
    );
    for machine in MACHINES {
        let watch = "rm -f /run/seen; touch /run/watch; while [ -e /run/watch ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; sleep 0.02; done > /run/seen 2>/dev/null";
        local(&[
            "docker",
            "exec",
            "-d",
            &format!("toots-lab-{machine}"),
            "sh",
            "-c",
            watch,
        ]);
    }
    let here = Watch::new();
    let plan = folder.join("secrets.plan");
    let mut said = Vec::new();
    for words in [
        &format!("cluster plan --out '{}'", plan.display()),
        "cluster up --yes --prove",
        "cluster up --yes --prove --output json",
        "cluster status --output json",
    ] {
        let line = format!(
            "exec '{}' {words} -i '{}'",
            env!("CARGO_BIN_EXE_toots"),
            inventory.display()
        );
        let mut run = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("XDG_STATE_HOME", state.path())
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut keyboard = run.stdin.take().expect("a keyboard");
        let mut screen = run.stdout.take().expect("a screen");
        let mut text = Vec::new();
        // Typed at the prompt, as a person does: earlier, the terminal itself would show it.
        while !text.ends_with(b".locked: ") {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).expect("a screen"), 1, "{words}");
            text.extend(byte);
        }
        writeln!(keyboard, "{PASSPHRASE}").expect("typed");
        screen.read_to_end(&mut text).expect("the rest");
        let status = run.wait().expect("it ends");
        drop(keyboard);
        assert!(
            status.success(),
            "{words}: {status}: {}",
            String::from_utf8_lossy(&text)
        );
        said.extend(text);
    }
    let render = lab.toots_with(&inventory, &["render"]).expect(0);

    let mut places: Vec<(String, Vec<u8>)> = vec![
        ("the terminal".into(), said),
        (
            "the kept plan".into(),
            std::fs::read(&plan).expect("the plan"),
        ),
        ("render".into(), render.stdout.into_bytes()),
        ("processes of the operator's machine".into(), here.end()),
        (
            "log files".into(),
            local(&[
                "sh",
                "-c",
                &format!("cat {}/toots/*.log", state.path().display()),
            ])
            .into_bytes(),
        ),
    ];
    for machine in MACHINES {
        on(machine, "rm /run/watch");
        places.push((
            format!("processes of {machine}"),
            on(machine, "cat /run/seen; rm /run/seen").into_bytes(),
        ));
        places.push((
            format!("docker inspect on {machine}"),
            on(machine, "docker inspect $(docker ps -aq)").into_bytes(),
        ));
        places.push((
            format!("the journal of {machine}"),
            on(
                machine,
                "journalctl --no-pager -o cat; cat /root/.docker/config.json 2>/dev/null || true",
            )
            .into_bytes(),
        ));
    }
    for (place, bytes) in &places {
        assert!(bytes.len() > 100, "{place} was looked at");
        let text = String::from_utf8_lossy(bytes);
        for (name, secret) in &secrets {
            assert!(!text.contains(secret), "{name} stands in {place}");
        }
    }
}
