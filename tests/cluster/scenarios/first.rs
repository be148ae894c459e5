//! From fresh machines to a cluster, also when the run is interrupted.

use std::time::{Duration, Instant};

use crate::lab::{Lab, MASTERS, on};

pub fn untrusted(lab: &Lab) {
    let inventory = lab.changed("untrusted", |text| {
        text.replace(".lab/known_hosts", ".lab/no-such-keys")
    });
    let keys = inventory.with_file_name("no-such-keys");
    std::fs::write(&keys, "").expect("an empty file");
    let run = lab
        .toots_with(&inventory, &["cluster", "up", "--output", "plain"])
        .expect(3);
    assert!(
        run.stderr.contains("SHA256:"),
        "the fingerprints are named: {}",
        run.stderr
    );
    assert_eq!(
        std::fs::read_to_string(&keys).expect("the file"),
        "",
        "nothing was recorded"
    );
}

pub fn plan_fresh(lab: &Lab) {
    let before: Vec<String> = MASTERS
        .iter()
        .map(|m| on(m, "find /etc/toots /var/lib/toots 2>/dev/null | wc -l"))
        .collect();
    let run = lab
        .toots(&["cluster", "plan", "--exit-code", "--output", "plain"])
        .expect(10);
    assert!(
        run.stdout.contains("toots-zookeeper") && run.stdout.contains("zoo.cfg"),
        "{}",
        run.stdout
    );
    assert!(
        !run.stdout.contains("\"encrypt\": \""),
        "secrets are not shown"
    );
    let after: Vec<String> = MASTERS
        .iter()
        .map(|m| on(m, "find /etc/toots /var/lib/toots 2>/dev/null | wc -l"))
        .collect();
    assert_eq!(before, after);
}

/// Killed with SIGKILL while images are pulled and while components start; then run to its end.
pub fn killed_then_up(lab: &Lab) {
    for (phase, after_phase) in [
        ("images", Duration::from_secs(3)),
        ("zookeeper", Duration::from_millis(400)),
    ] {
        let mut command = lab.command(
            &lab.inventory,
            &["cluster", "up", "--yes", "--output", "json"],
        );
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("toots runs");
        let out = std::io::BufReader::new(child.stdout.take().expect("its output"));
        let wanted = format!("\"phase\":\"{phase}\"");
        for line in std::io::BufRead::lines(out).map_while(Result::ok) {
            if line.contains("phase-started") && line.contains(&wanted) {
                std::thread::sleep(after_phase);
                break;
            }
        }
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
    }
    let began = Instant::now();
    let run = lab
        .toots(&["cluster", "up", "--yes", "--output", "plain"])
        .expect(0);
    println!(
        "  up after two kills: {:.1} s\n{}",
        began.elapsed().as_secs_f32(),
        run.stdout
    );
    for master in MASTERS {
        assert_eq!(
            on(master, "ls -A /etc/toots | grep -c stage || true").trim(),
            "0",
            "nothing staged is left"
        );
        assert_eq!(
            on(
                master,
                "find /etc/toots /var/lib/toots/zookeeper -name '*.toots-new' | wc -l"
            )
            .trim(),
            "0"
        );
        assert_eq!(
            on(master, "stat -c %a /etc/toots/secrets/consul_gossip").trim(),
            "600"
        );
    }
}
