//! The healthy base cluster, from which a scenario begins: proven, and brought up where it differs.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, address, force_leave, http, on};

/// Programs that were restarted look like a crash loop for a minute.
const SETTLING: Duration = Duration::from_secs(90);

/// Containers that run and are none of toots', and what a scenario wrote into the configuration of sshd.
const FOREIGN: &str = "docker ps --format '{{.Names}}' | grep -v '^toots-' || true; \
                       find /etc/ssh/sshd_config.d -name limits.conf -size +0";

/// What differs from the healthy base cluster, in short; each question is asked at the same time.
pub fn find_differences(lab: &Lab) -> Vec<String> {
    let mut found = find_machines_in_wrong_state(lab);
    if !found.is_empty() {
        return found;
    }
    thread::scope(|scope| {
        let mut asked = vec![
            scope.spawn(|| find_changes(lab)),
            scope.spawn(|| find_unhealthy(lab)),
            scope.spawn(|| find_work(lab)),
        ];
        asked.extend(lab.machines.iter().map(|machine| {
            scope.spawn(move || {
                let lines = on(machine, FOREIGN);
                let lines = lines.lines().map(|line| format!("{machine}: {line}"));
                lines.collect()
            })
        }));
        for answer in asked {
            found.extend(answer.join().expect("an answer"));
        }
    });
    found
}

/// Waits until nothing differs; what still does.
pub fn settle(lab: &Lab) -> Vec<String> {
    let began = Instant::now();
    loop {
        let differences = find_differences(lab);
        if differences.is_empty() || began.elapsed() > SETTLING {
            let took = began.elapsed().as_secs_f32();
            if took > 5.0 && differences.is_empty() {
                println!("  the base was proven after {took:.1} s");
            }
            return differences;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// Brings the base cluster up where it differs, on new machines where that does not help.
pub fn restore(lab: &Lab, differences: &[String]) {
    let (began, mut left) = (Instant::now(), differences.to_vec());
    for is_renewed in [false, true] {
        if is_renewed {
            remove_machines(lab);
        }
        tidy(lab);
        let up = ["cluster", "up", "--yes", "--timeout", "5m"];
        let up = lab.toots(&[&up[..], &["--output", "json"]].concat());
        remove_work(lab);
        if up.code == 0 {
            left = settle(lab);
        }
        if up.code == 0 && left.is_empty() {
            println!(
                "  the base was restored in {:.1} s; it differed: {}",
                began.elapsed().as_secs_f32(),
                shorten(differences)
            );
            return;
        }
    }
    panic!("the base cannot be restored: {}", shorten(&left));
}

/// Makes machines without anything of toots', unless they are.
pub fn renew(lab: &Lab) {
    let is_used = |machine: &&str| {
        let names = on(
            machine,
            "ls -A /etc/toots /var/lib/toots 2> /dev/null || true",
        );
        !names.is_empty()
    };
    if !find_machines_in_wrong_state(lab).is_empty() || lab.machines.iter().any(is_used) {
        remove_machines(lab);
        lab.start(lab.machines);
    }
}

/// Removes every machine of the cluster, and those that scenarios added.
pub fn remove_machines(lab: &Lab) {
    lab.demo(&[&["remove"], lab.guests, lab.machines].concat());
    remove_clients(lab);
}

/// Some may not exist.
fn remove_clients(lab: &Lab) {
    let names = lab.clients.iter();
    let names = names.map(|client| format!("toots-lab-{client}"));
    let remove = ["rm", "-fv"].map(str::to_owned).into_iter().chain(names);
    drop(Command::new("docker").args(remove).output());
}

pub fn shorten(differences: &[String]) -> String {
    differences.join("; ").chars().take(300).collect()
}

/// Lets the machines run, and only them, with nothing on them that is not of the base cluster.
fn tidy(lab: &Lab) {
    let states = states();
    let guests = lab.guests.iter().copied();
    let guests: Vec<&str> = guests.filter(|guest| states.contains_key(*guest)).collect();
    if !guests.is_empty() {
        lab.remove(&guests);
    }
    remove_clients(lab);
    if !find_machines_in_wrong_state(lab).is_empty() {
        lab.start(lab.machines);
    }
    for machine in lab.machines {
        on(
            machine,
            "docker ps -a --format '{{.Names}}' 2> /dev/null | grep -v '^toots-' | xargs -r docker rm -f; \
             rm -f /etc/ssh/sshd_config.d/limits.conf; systemctl reload ssh",
        );
    }
}

/// Machine → its state.
fn states() -> BTreeMap<String, String> {
    let list = crate::lab::local(&[
        "docker",
        "ps",
        "-a",
        "--filter",
        "label=toots-lab",
        "--format",
        "{{.Names}} {{.State}}",
    ]);
    let pairs = list.lines().filter_map(|line| line.split_once(' '));
    let pairs = pairs.filter_map(|(name, state)| {
        let machine = name.strip_prefix("toots-lab-")?;
        Some((machine.to_owned(), state.to_owned()))
    });
    pairs.collect()
}

fn find_machines_in_wrong_state(lab: &Lab) -> Vec<String> {
    let states = states();
    let needed = lab.machines.iter().chain(&["registry"]);
    let away = needed.filter_map(|machine| match states.get(*machine) {
        Some(state) if state == "running" => None,
        Some(state) => Some(format!("machine {machine} is {state}")),
        None => Some(format!("machine {machine} is missing")),
    });
    let guests = lab.guests.iter().chain(lab.clients);
    let guests = guests.filter(|guest| states.contains_key(**guest));
    away.chain(guests.map(|guest| format!("machine {guest} is left")))
        .collect()
}

fn find_changes(lab: &Lab) -> Vec<String> {
    let plan = lab.toots(&["cluster", "plan", "--exit-code", "--output", "plain"]);
    match plan.code {
        0 => Vec::new(),
        code => vec![format!(
            "plan ends with {code}: {}",
            last_lines(&plan.stdout)
        )],
    }
}

fn find_unhealthy(lab: &Lab) -> Vec<String> {
    let status = lab.toots(&["cluster", "status", "--output", "plain"]);
    let left = status
        .stdout
        .lines()
        .find(|line| line.contains("still run"));
    match (status.code, left) {
        (0, None) => Vec::new(),
        (0, Some(left)) => vec![format!("status: {}", left.trim())],
        (code, _) => vec![format!(
            "status ends with {code}: {}",
            last_lines(&status.stdout)
        )],
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

/// What runs on a cluster, or is known to it, and is none of the base.
enum Work {
    /// A node of Consul that is no machine of the cluster.
    Node(String),
    Application(String),
    Job(String),
}

fn list_work(lab: &Lab) -> Vec<Work> {
    let list = |path: &str, key: &str| -> Vec<String> {
        let url = format!("http://{}:{path}", address(lab.masters[0]));
        let (_, text) = http(&["-L", &url]);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let list = value.as_array().or(value["apps"].as_array());
        let names = list.into_iter().flatten().map(|entry| &entry[key]);
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut nodes = list("8500/v1/catalog/nodes", "Node");
    nodes.retain(|node| !lab.machines.contains(&node.as_str()));
    let applications = list("8080/v2/apps", "id");
    let jobs = list("4400/v1/scheduler/jobs", "name");
    let work = nodes.into_iter().map(Work::Node);
    let work = work.chain(applications.into_iter().map(Work::Application));
    work.chain(jobs.into_iter().map(Work::Job)).collect()
}

fn find_work(lab: &Lab) -> Vec<String> {
    let text = |work| match work {
        Work::Node(name) => format!("node {name}"),
        Work::Application(name) => format!("application {name}"),
        Work::Job(name) => format!("job {name}"),
    };
    list_work(lab).into_iter().map(text).collect()
}

fn remove_work(lab: &Lab) {
    let master = address(lab.masters[0]);
    for work in list_work(lab) {
        match work {
            Work::Node(name) => {
                force_leave(&name, &master);
                let body = serde_json::json!({ "Node": name }).to_string();
                let url = format!("http://{master}:8500/v1/catalog/deregister");
                http(&["-X", "PUT", "-d", &body, &url]);
            }
            Work::Application(name) => {
                let url = format!("http://{master}:8080/v2/apps{name}?force=true");
                http(&["-L", "-X", "DELETE", &url]);
            }
            Work::Job(name) => {
                let url = format!("http://{master}:4400/v1/scheduler/job/{name}");
                http(&["-L", "-X", "DELETE", &url]);
            }
        }
    }
}
