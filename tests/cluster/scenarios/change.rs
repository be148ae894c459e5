//! Changes of a running cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, MASTERS, containers, image, on, until};

/// Only Consul's servers and clients are replaced, the servers one at a time with the leader last.
pub fn parameter(lab: &Lab) {
    let inventory = lab.changed("parameter", |text| {
        format!("{text}\n[consul]\nraft_multiplier = 2\n")
    });
    let before: Vec<_> = MASTERS.iter().map(|m| containers(m)).collect();
    let leader = crate::lab::http(&["http://10.42.7.11:8500/v1/status/leader"]).1;
    let run = lab
        .toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    let steps: Vec<String> = run
        .events()
        .iter()
        .filter(|event| {
            event["type"] == "step-finished"
                && event["step"]
                    .as_str()
                    .is_some_and(|step| step.starts_with("replace "))
        })
        .map(|event| event["host"].as_str().unwrap_or("").to_owned())
        .collect();
    assert_eq!(steps.len(), 3, "three servers are replaced: {steps:?}");
    let last = ["10.42.7.11", "10.42.7.12", "10.42.7.13"]
        .iter()
        .position(|ip| leader.contains(ip))
        .map(|n| MASTERS[n]);
    assert_eq!(
        steps.last().map(String::as_str),
        last,
        "the leader is the last: {steps:?}, {leader}"
    );
    for (machine, before) in MASTERS.iter().zip(before) {
        let after = containers(machine);
        for (name, id) in &before {
            let same = after.get(name).map(|now| &now.0) == Some(&id.0);
            assert_eq!(same, name != "toots-consul-server", "{machine}: {name}");
        }
    }
    lab.toots_with(&inventory, &["cluster", "up", "--output", "json"])
        .expect(0);
}

pub fn kept_plan(lab: &Lab) {
    let plan = lab.inventory.with_file_name(".lab/kept.plan");
    let plan = plan.to_str().expect("a path");
    lab.toots(&["cluster", "plan", "--out", plan, "--output", "plain"])
        .expect(0);
    // The inventory changed since: refused. Then as it was: done.
    let other = lab.changed("other", |text| {
        format!("{text}\n[consul]\nraft_multiplier = 3\n")
    });
    lab.toots_with(
        &other,
        &["cluster", "up", "--plan", plan, "--output", "plain"],
    )
    .expect(4);
    let run = lab
        .toots(&["cluster", "up", "--plan", plan, "--output", "json"])
        .expect(0);
    assert!(
        run.result()["changed"].as_u64().is_some_and(|n| n > 0),
        "the multiplier is back to what the inventory says"
    );
    lab.toots(&["cluster", "up", "--plan", plan, "--output", "plain"])
        .expect(4);
}

pub fn locked(lab: &Lab) {
    let slow = lab.changed("slow", |text| {
        format!("{text}\n[consul]\nraft_multiplier = 2\n")
    });
    let mut first = lab
        .command(&slow, &["cluster", "up", "--yes", "--output", "plain"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("toots runs");
    std::thread::sleep(Duration::from_secs(4));
    let other = lab.changed("second", |text| {
        format!("{text}\n[consul]\nraft_multiplier = 3\n")
    });
    let second = lab.toots_with(&other, &["cluster", "up", "--yes", "--output", "plain"]);
    let code = first.wait().expect("it ends").code();
    assert_eq!(code, Some(0));
    let second = second.expect(7);
    assert!(second.stderr.contains("held by"), "{}", second.stderr);
    lab.toots(&["cluster", "up", "--yes", "--output", "plain"])
        .expect(0);
}

/// A connection that ends in the middle of a replacement, without the host's knowledge: the host is looked at again and the run goes on.
pub fn cut_off(lab: &Lab) {
    use std::io::BufRead as _;
    let proxies = crate::lab::proxies(lab, Duration::from_millis(100), |text| {
        format!("{text}\n[consul]\nraft_multiplier = 2\n")
    });
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
            // By then the former container is stopped, and no more.
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
        said.iter().any(|text| text.starts_with("connected again")),
        "{said:#?}"
    );
    lab.toots_with(&proxies.inventory, &["cluster", "up", "--output", "json"])
        .expect(0);
    for machine in MASTERS {
        let names: Vec<String> = containers(machine).into_keys().collect();
        assert!(
            names.iter().any(|name| name == "toots-consul-server")
                && !names.iter().any(|name| name.ends_with(".old")),
            "{names:?}"
        );
    }
    lab.toots(&["cluster", "up", "--yes", "--output", "plain"])
        .expect(0);
}

/// What the private registry refuses is said before the first change.
pub fn registry(lab: &Lab) {
    let (own, other) = (image(lab, "haproxy"), image(lab, "haproxy-other"));
    let nothing = other.replace("haproxy-other", "nothing");
    std::fs::write(
        lab.inventory.with_file_name(".lab/wrong-password"),
        "wrong\n",
    )
    .expect("a password");
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

/// The host's own docker-compose knows the containers, in both its implementations, and its file describes them: what it would make of the
/// file is what runs.
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
                "Image",
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
            serde_json::json!([own, hosts, lists, labels.collect::<BTreeMap<_, _>>()])
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

/// What an operator does on a host.
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
        "restarted, not made anew"
    );
    // One that it makes is the one that toots wants.
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
