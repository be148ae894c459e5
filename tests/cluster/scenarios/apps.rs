//! Applications and jobs, deployed with toots and verified through an edge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Edge, Lab, Run, image, until};

const EDGE: &str = "10.42.7.31";

fn example(name: &str) -> String {
    format!(
        "{}/tests/examples/{name}/webapp.yaml",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// Runs toots with the variable that the examples need.
fn toots(lab: &Lab, words: &[&str]) -> Run {
    let mut command: Command = lab.command(&lab.inventory, words);
    command.env("WEBAPP_IMAGE", image(lab, "webapp"));
    Run::start(command)
}

/// Writes a definition beside the inventory.
fn written(lab: &Lab, name: &str, text: &str) -> String {
    let path: PathBuf = lab.folder.join(format!(".lab/{name}"));
    std::fs::write(&path, text).expect("a definition");
    path.display().to_string()
}

/// The number of requests that each version answered, and the tasks that answered.
fn shares(n: usize) -> (BTreeMap<String, usize>, BTreeSet<String>) {
    let mut edge = Edge::new(EDGE, "python.service.consul");
    let (mut versions, mut tasks) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..n {
        let (status, body) = edge.get("/").expect("an answer");
        assert_eq!(status, 200, "{body}");
        let me: Value = serde_json::from_str(&body).expect("JSON");
        *versions
            .entry(me["version"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
        tasks.insert(me["task"].as_str().unwrap_or_default().to_owned());
    }
    (versions, tasks)
}

fn four_tasks_answer() {
    let four = || {
        Edge::new(EDGE, "python.service.consul")
            .get("/")
            .is_ok_and(|(status, _)| status == 200)
            && shares(50).1.len() == 4
    };
    until("all four instances answer", Duration::from_secs(60), four);
}

#[track_caller]
fn canary_share(expected: f64) {
    // HAProxy follows the weights in each round.
    const N: usize = 2_000;
    let share = shares(N).0["canary"] as f64 / N as f64;
    println!(
        "  the canary's share of {N} requests: {:.2} %, {:.2} % expected",
        share * 100.0,
        expected * 100.0
    );
    assert!(
        (share - expected).abs() < 0.02,
        "{share} in place of {expected}"
    );
}

pub fn canaries(lab: &Lab) {
    let file = example("SimpleWebappPython");
    let undefined = lab.toots(&["app", "deploy", &file]).expect(2);
    assert!(
        undefined
            .stderr
            .contains("webapp.yaml:14:13: variable WEBAPP_IMAGE of %%WEBAPP_IMAGE%% is not set"),
        "{}",
        undefined.stderr
    );
    let dry = toots(lab, &["app", "deploy", &file, "--dry-run"]).expect(0);
    assert!(
        dry.stdout.contains("/python-stable: new") && dry.stdout.contains("/python-canary: new"),
        "{}",
        dry.stdout
    );
    toots(lab, &["app", "show", "python-stable"]).expect(4);

    let deployed = toots(lab, &["app", "deploy", &file, "--wait", "--timeout", "2m"]).expect(0);
    assert!(
        deployed.stdout.contains("/python-canary: 2 of 2 run"),
        "{}",
        deployed.stdout
    );
    four_tasks_answer();
    canary_share(0.2);
    assert!(
        crate::lab::http(&[&format!("http://{EDGE}/python/x")])
            .1
            .contains("\"path\": \"/python/x\""),
        "by its route, not rewritten"
    );
    let again = toots(lab, &["app", "deploy", &file]).expect(0);
    assert_eq!(
        again.stdout,
        "/python-stable: up to date\n/python-canary: up to date\n"
    );

    let before = shares(50).1;
    toots(
        lab,
        &[
            "app",
            "weight",
            "python-canary",
            "100",
            "--wait",
            "--timeout",
            "2m",
        ],
    )
    .expect(0);
    four_tasks_answer();
    until("the old canaries are gone", Duration::from_secs(60), || {
        shares(50).1.intersection(&before).count() == 2
    });
    canary_share(0.5);
    toots(
        lab,
        &[
            "app",
            "rollback",
            "/python-canary",
            "--wait",
            "--timeout",
            "2m",
        ],
    )
    .expect(0);
    let list: Value = serde_json::from_str(
        &toots(lab, &["app", "list", "--output", "json"])
            .expect(0)
            .stdout,
    )
    .expect("JSON");
    let canary = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|app| app["id"] == "/python-canary")
        .expect("the canary");
    assert!(
        canary["env"]["SERVICE_TAGS"]
            .as_str()
            .is_some_and(|tags| tags.contains("weight=25")),
        "{canary}"
    );

    toots(
        lab,
        &[
            "app",
            "restart",
            "python-stable",
            "--wait",
            "--timeout",
            "2m",
        ],
    )
    .expect(0);
    let shown = toots(lab, &["app", "show", "python-stable"]).expect(0);
    assert!(
        shown.stdout.contains("is running: 2 of 2 run") && shown.stdout.contains("s1"),
        "{}",
        shown.stdout
    );
    toots(
        lab,
        &[
            "app",
            "delete",
            "python-stable",
            "python-canary",
            "--yes",
            "--wait",
        ],
    )
    .expect(0);
    assert!(
        !toots(lab, &["app", "list"])
            .expect(0)
            .stdout
            .contains("python")
    );
}

/// An instance is removed from the load balancer before it ends.
pub fn smooth(lab: &Lab) {
    toots(
        lab,
        &[
            "app",
            "deploy",
            &example("SmoothWebappPython"),
            "--wait",
            "--timeout",
            "2m",
        ],
    )
    .expect(0);
    until("the app answers", Duration::from_secs(60), || {
        Edge::new(EDGE, "smooth.service.consul")
            .get("/")
            .is_ok_and(|(status, _)| status == 200)
    });
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let (mut edge, mut answers) = (
                    Edge::new(EDGE, "smooth.service.consul"),
                    BTreeMap::<u16, usize>::new(),
                );
                while !over.load(Ordering::SeqCst) {
                    let status = edge.get("/").map_or(0, |(status, _)| status);
                    *answers.entry(status).or_default() += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                answers
            })
        })
        .collect();
    let scaled = toots(
        lab,
        &["app", "scale", "smooth", "1", "--wait", "--timeout", "2m"],
    );
    // The last instance ends after the deployment.
    std::thread::sleep(Duration::from_secs(10));
    over.store(true, Ordering::SeqCst);
    let answers: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().expect("a client"))
        .collect();
    scaled.expect(0);
    let total: usize = answers.iter().flat_map(BTreeMap::values).sum();
    println!("  scaled from 4 to 1 under {total} requests: {answers:?}");
    assert!(
        total > 1000
            && answers
                .iter()
                .all(|by| by.keys().all(|status| *status == 200)),
        "{answers:?}"
    );
    toots(lab, &["app", "delete", "smooth", "--yes", "--wait"]).expect(0);
}

/// A failure is reported with its reason and the last output.
pub fn failing(lab: &Lab) {
    let file = written(
        lab,
        "failing.json",
        r#"{"id":"failing","cmd":"echo these are my last words; exit 3","cpus":0.1,"mem":16,"instances":1}"#,
    );
    let run = lab
        .toots(&["app", "deploy", &file, "--wait", "--timeout", "2m"])
        .expect(6);
    for part in [
        "3 tasks failed since the change",
        "| these are my last words",
        &format!("toots app rollback /failing -i {}", lab.inventory.display()),
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    lab.toots(&["app", "delete", "failing", "--yes", "--wait", "--force"])
        .expect(0);
    let file = written(
        lab,
        "large.json",
        r#"{"id":"large","cmd":"sleep 1000","cpus":500,"mem":16,"instances":1}"#,
    );
    let run = lab
        .toots(&["app", "deploy", &file, "--wait", "--timeout", "8s"])
        .expect(8);
    assert!(
        run.stderr.contains("0 of 1 instances run") && run.stderr.contains("Cpus"),
        "{}",
        run.stderr
    );
    let locked = lab.toots(&["app", "scale", "large", "2"]).expect(4);
    assert!(locked.stderr.contains("--force"), "{}", locked.stderr);
    lab.toots(&["app", "delete", "large", "--yes", "--wait", "--force"])
        .expect(0);
    let refused = written(lab, "refused.yaml", "id: refused\ncmd: x\ninstances: -1\n");
    assert!(
        lab.toots(&["app", "deploy", &refused])
            .expect(4)
            .stderr
            .contains("instances")
    );
}

pub fn jobs(lab: &Lab) {
    let text = "name: %%NAME%%\ncommand: \"exit %%CODE%%\"\nschedule: R/2036-01-01T00:00:00Z/P1Y\ncpus: 0.1\nmem: 16\nretries: 0\n";
    let file = written(lab, "job.yaml", text);
    let job = |name: &str, code: &str, words: &[&str]| {
        let mut command = lab.command(&lab.inventory, words);
        command.env("NAME", name).env("CODE", code);
        Run::start(command)
    };
    assert!(
        job("nightly", "0", &["job", "deploy", &file, "--dry-run"])
            .expect(0)
            .stdout
            .contains("nightly: new")
    );
    assert!(
        !lab.toots(&["job", "list"])
            .expect(0)
            .stdout
            .contains("nightly")
    );
    job("nightly", "0", &["job", "deploy", &file]).expect(0);
    job("broken", "7", &["job", "deploy", &file]).expect(0);
    assert_eq!(
        job("nightly", "0", &["job", "deploy", &file])
            .expect(0)
            .stdout,
        "nightly: up to date\n"
    );
    lab.toots(&["job", "run", "nightly", "--wait", "--timeout", "1m"])
        .expect(0);
    let failed = lab
        .toots(&["job", "run", "broken", "--wait", "--timeout", "1m"])
        .expect(6);
    assert!(failed.stderr.contains("failed"), "{}", failed.stderr);
    assert!(
        lab.toots(&["job", "list"])
            .expect(0)
            .stdout
            .contains("1 succeeded, 0 failed")
    );
    lab.toots(&["job", "delete", "nightly", "broken", "--yes"])
        .expect(0);
    lab.toots(&["job", "delete", "nightly", "--yes"]).expect(4);
}
