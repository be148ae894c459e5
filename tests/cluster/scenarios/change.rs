//! Changes of a running cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, address, containers, image, on, until};
use crate::pty::{Terminal, WIDTHS};

/// Other elections of Consul: every server is replaced.
fn elections(lab: &Lab, multiplier: u8) -> std::path::PathBuf {
    lab.changed(&format!("elections-{multiplier}"), |text| {
        format!("{text}\n[consul]\nraft_multiplier = {multiplier}\n")
    })
}

/// The question before running containers are interrupted, on real terminals. The simulated world
/// tries every answer.
pub fn consent(lab: &Lab) {
    let inventory = lab.changed("consent", |text| {
        format!("{text}\n[params.chronos]\nheap = \"150m\"\n")
    });
    let question = "replace or remove these running containers? [y/N]";
    let state = tempfile::tempdir().expect("a folder");
    let [first, ..] = lab.masters;
    let before = lab.masters.map(containers);
    let ask = |width: u16| {
        let words = format!("cluster up --output live -i '{}'", inventory.display());
        let mut terminal = Terminal::start(state.path(), width, &words);
        terminal.assert_question_stays(question);
        let text = terminal.text();
        for master in lab.masters {
            assert!(
                text.contains(&format!("{master}: replace toots-chronos")),
                "{text}"
            );
        }
        terminal
    };
    let [narrow, wide] = WIDTHS;
    let mut terminal = ask(narrow);
    terminal.enter("n\n");
    terminal.wait_for("code 4");
    let text = terminal.finish("sentinel");
    assert!(text.contains("nothing was changed"), "{text}");
    let mut terminal = ask(wide);
    terminal.enter("\x03");
    terminal.wait_for("code 130");
    terminal.finish("sentinel");
    assert_eq!(before, lab.masters.map(containers));
    let mut terminal = ask(narrow);
    terminal.enter("yes\n");
    terminal.wait_for("code 0");
    terminal.finish("sentinel");
    let run = lab.toots(&["cluster", "up", "--yes", "--output", "json"]);
    assert_eq!(run.expect(0).result()["hosts"][first]["outcome"], "changed");
}

/// Only Consul's servers are replaced, one at a time with the leader last. Another run at the same time
/// is refused. The way back goes on over a lost connection.
pub fn parameter(lab: &Lab) {
    let inventory = elections(lab, 2);
    let before = lab.masters.map(containers);
    let refused = lab
        .toots_with(&inventory, &["cluster", "up", "--output", "plain"])
        .expect(4);
    assert!(
        refused.stderr.contains(&format!(
            "run again with --yes: {}: replace toots-consul-server",
            lab.masters[0]
        )),
        "{}",
        refused.stderr
    );
    let after = lab.masters.map(containers);
    assert_eq!(before, after, "nothing is interrupted without consent");
    let leader_of = format!("http://{}:8500/v1/status/leader", address(lab.masters[0]));
    let leaders = std::sync::Mutex::new(Vec::new());
    let done = std::sync::atomic::AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let leader = crate::lab::http(&[&leader_of]).1;
                let now = jiff::Timestamp::now();
                leaders.lock().expect("the leaders").push((now, leader));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(4));
            let up = ["cluster", "up", "--yes", "--output", "plain"];
            let second = lab.toots_with(&elections(lab, 3), &up).expect(7);
            assert!(second.stderr.contains("held by"), "{}", second.stderr);
        });
        let run = lab.toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        run
    })
    .expect(0);
    let leaders = leaders.into_inner().expect("the leaders");
    let replaced: Vec<(jiff::Timestamp, String)> = run
        .events()
        .iter()
        .filter(|event| {
            event["type"] == "step-started"
                && event["step"]
                    .as_str()
                    .is_some_and(|step| step.starts_with("replace "))
        })
        .map(|event| {
            let at = event["ts"].as_str().and_then(|ts| ts.parse().ok());
            let host = event["host"].as_str().unwrap_or("").to_owned();
            (at.expect("a time"), host)
        })
        .collect();
    assert_eq!(
        replaced.len(),
        3,
        "three servers are replaced: {replaced:?}"
    );
    // On a busy machine the leadership may move between the guard's question and the replacement.
    for (at, host) in &replaced[..2] {
        let address = format!("{}:", address(host));
        let mut before = leaders
            .iter()
            .filter(|(seen, _)| seen <= at && *seen >= *at - jiff::SignedDuration::from_secs(3))
            .map(|(_, leader)| leader.contains(&address));
        assert!(
            !before.all(|leads| leads),
            "{host} leads and is not the last: {replaced:?}, {leaders:?}"
        );
    }
    for (machine, before) in lab.masters.iter().zip(before) {
        let after = containers(machine);
        for (name, id) in &before {
            let same = after.get(name).map(|now| &now.0) == Some(&id.0);
            assert_eq!(same, name != "toots-consul-server", "{machine}: {name}");
        }
    }
    lab.toots_with(&inventory, &["cluster", "up", "--output", "json"])
        .expect(0);
    return_over_a_lost_connection(lab);
}

/// A connection is cut in the middle of a replacement, without the host's knowledge: the host is
/// observed again and the run continues.
fn return_over_a_lost_connection(lab: &Lab) {
    use std::io::BufRead as _;
    let proxies = crate::proxies::proxies(lab, Duration::from_millis(100), str::to_owned);
    let mut run = lab
        .command(
            &proxies.inventory,
            &["cluster", "up", "--yes", "--output", "json"],
        )
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("toots runs");
    let mut events = Vec::new();
    for line in std::io::BufReader::new(run.stdout.take().expect("its output")).lines() {
        let event: serde_json::Value =
            serde_json::from_str(&line.expect("a line")).expect("an event");
        let replacing =
            event["type"] == "step-started" && event["step"] == "replace toots-consul-server";
        if replacing && !events.iter().any(|(cut, _)| *cut) {
            // By then the old container is stopped, and nothing more.
            std::thread::sleep(Duration::from_millis(250));
            proxies.cut(event["host"].as_str().expect("a host"));
            events.push((true, event));
        } else {
            events.push((false, event));
        }
    }
    let said: Vec<&str> = events
        .iter()
        .filter_map(|(_, event)| event["text"].as_str())
        .collect();
    assert_eq!(
        run.wait().expect("it ends").code(),
        Some(0),
        "{said:#?}\n{:#?}",
        events.last()
    );
    assert!(
        said.iter()
            .any(|text| text.contains("its result is unknown")),
        "{said:#?}"
    );
    assert!(
        said.iter().any(|text| text.starts_with("reconnected")),
        "{said:#?}"
    );
    lab.toots_with(&proxies.inventory, &["cluster", "up", "--output", "json"])
        .expect(0);
    for machine in lab.masters {
        let names: Vec<String> = containers(machine).into_keys().collect();
        assert!(
            names.iter().any(|name| name == "toots-consul-server")
                && !names.iter().any(|name| name.ends_with(".old")),
            "{names:?}"
        );
    }
}

/// A refusal of the private registry is reported before the first change.
pub fn registry(lab: &Lab) {
    let (own, other) = (image(lab, "haproxy"), image(lab, "haproxy-other"));
    let nothing = other.replace("haproxy-other", "nothing");
    std::fs::write(lab.folder.join(".lab/wrong-password"), "wrong\n").expect("a password");
    let login = lab.changed("wrong-login", |text| {
        text.replace(&own, &other)
            .replace(".lab/registry-password", ".lab/wrong-password")
    });
    let absent = lab.changed("absent-image", |text| text.replace(&own, &nothing));
    let before = containers("e1");
    for (inventory, image, why) in [
        (&login, &other, "unauthorized"),
        (&absent, &nothing, "manifest unknown"),
    ] {
        let run = lab
            .toots_with(inventory, &["cluster", "up", "--yes", "--output", "json"])
            .expect(4);
        assert!(
            run.stdout.contains(image.as_str()) && run.stdout.contains(why),
            "{}",
            run.stdout
        );
        assert_eq!(
            (
                &run.result()["changed"],
                &run.result()["hosts"]["e1"]["outcome"]
            ),
            (&0.into(), &"failed".into())
        );
    }
    assert_eq!(containers("e1"), before);
}

/// The host's own docker-compose, in both implementations, knows the containers, and its file
/// describes exactly what runs.
pub fn compose(lab: &Lab) {
    on(
        "s1",
        "docker-compose version --short 2>/dev/null | grep -q ^1 || {
           ! command -v docker-compose || apt-get remove -qy docker-compose
           apt-get update -q && apt-get install -qy --no-install-recommends docker-compose; }",
    );
    let before = known_to(lab, "docker-compose");
    on(
        "s1",
        "mkdir -p /tmp/other && sed 's/container_name: toots-/container_name: other-/' /etc/toots/compose.yaml > /tmp/other/compose.yaml",
    );
    on(
        "s1",
        "cd /tmp/other && docker-compose -p other -f compose.yaml up --no-start",
    );
    for name in before.keys() {
        let shape = |container: &str| -> Value {
            let text = on("s1", &format!("docker inspect {container}"));
            let mut value: Value = serde_json::from_str(&text).expect("JSON");
            let container = value[0].take();
            let (config, host) = (&container["Config"], &container["HostConfig"]);
            let sorted = |value: &Value| {
                let mut list: Vec<String> = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(ToString::to_string)
                    .collect();
                list.sort();
                list
            };
            let own = [
                "Cmd",
                "Entrypoint",
                "User",
                "ExposedPorts",
                "StopSignal",
                "StopTimeout",
            ]
            .map(|key| config[key].clone());
            let hosts = [
                "NetworkMode",
                "RestartPolicy",
                "PidMode",
                "Privileged",
                "LogConfig",
            ]
            .map(|key| host[key].clone());
            let lists = [
                &config["Env"],
                &host["Binds"],
                &host["CapAdd"],
                &host["Ulimits"],
                &host["Devices"],
            ]
            .map(sorted);
            let labels = config["Labels"]
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, _)| !key.starts_with("com.docker.compose."));
            // toots names the image by its id.
            let image = &container["Image"];
            serde_json::json!([image, own, hosts, lists, labels.collect::<BTreeMap<_, _>>()])
        };
        assert_eq!(
            shape(name),
            shape(&name.replace("toots-", "other-")),
            "{name}"
        );
    }
    on(
        "s1",
        "cd /tmp/other && docker-compose -p other -f compose.yaml rm -f && rm -r /tmp/other",
    );
    // The second implementation comes with the distribution's next release.
    on(
        "s1",
        "rm -rf /tmp/apt /tmp/docker-compose_* && cp -r /etc/apt /tmp/apt && sed -i s/bookworm/trixie/g $(ls /tmp/apt/sources.list /tmp/apt/sources.list.d/* 2>/dev/null) && mkdir -p /tmp/lists/partial
         apt='apt-get -q -o Dir::Etc=/tmp/apt -o Dir::State::lists=/tmp/lists'
         cd /tmp && $apt update && $apt download docker-compose/trixie && apt-get remove -qy docker-compose && dpkg -i docker-compose_*.deb",
    );
    known_to(lab, "docker compose");
    until("healthy", Duration::from_secs(60), || {
        lab.toots(&["cluster", "status", "--output", "json"]).code == 0
    });
    assert_eq!(
        lab.toots(&["cluster", "up", "--output", "json"])
            .expect(0)
            .result()["changed"],
        0
    );
}

/// The containers that docker-compose lists on a host.
fn known_to(lab: &Lab, compose: &str) -> BTreeMap<String, (String, String)> {
    let done = |words: &str| on("s1", &format!("cd /etc/toots && {compose} {words} 2>&1"));
    println!("  {}", done("version --short").trim());
    on("s1", "docker rm -f $(docker ps -q --filter name=^toots-)");
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    let before = containers("s1");
    let listed = done("ps");
    for name in before.keys() {
        assert!(listed.contains(name.as_str()), "{name}: {listed}");
    }
    let said = done("up -d");
    assert_eq!(
        containers("s1"),
        before,
        "{compose} up -d changes nothing: {said}"
    );
    assert!(done("logs --tail 3 registrator").contains("registrator"));
    done("restart registrator");
    let after = containers("s1");
    let (id, started) = &after["toots-registrator"];
    assert_eq!(
        (id, started == &before["toots-registrator"].1),
        (&before["toots-registrator"].0, false),
        "restarted, not recreated"
    );
    // A container that docker-compose creates is up to date for toots.
    on("s1", "docker rm -f toots-registrator");
    done("up -d");
    let after = containers("s1");
    assert!(before.keys().eq(after.keys()), "{after:?}");
    assert_eq!(
        lab.toots(&["cluster", "plan", "--exit-code"]).code,
        0,
        "nothing to change"
    );
    after
}
