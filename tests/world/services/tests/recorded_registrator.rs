//! Registrator's recording: each container that was run, and what Consul held then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::services::edge::{Settings, services_of};
use crate::services::engine::{Container, Published};

const RECORDED: &str = include_str!("../../../standins/testdata/registrator/recorded.txt");

/// Reads the arguments of `docker run`; tags and names with spaces reach to the next option.
fn container(name: &str, line: &str) -> Container {
    let mut container = Container {
        name: name.to_owned(),
        image: "debian:12".to_owned(),
        ..Container::default()
    };
    let rest = line.trim_start_matches("docker run ");
    let (options, _) = rest.split_once("debian:12").expect("an image");
    for option in format!(" {options}").split(" -").skip(1) {
        let (flag, value) = option.split_once(' ').unwrap_or((option, ""));
        let value = value.strip_suffix(' ').unwrap_or(value);
        let pair = value
            .split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        match (flag, pair) {
            ("e", Some((key, value))) => drop(container.env.insert(key, value)),
            ("l", Some((key, value))) => drop(container.labels.insert(key, value)),
            ("p", _) => publish(&mut container, value),
            ("-expose", _) => container.exposed.push(value.parse().expect("a port")),
            ("-network", _) => container.is_on_host_network = value == "host",
            other => panic!("{other:?} in {line}"),
        }
    }
    container
}

fn publish(container: &mut Container, value: &str) {
    let (value, is_udp) = match value.strip_suffix("/udp") {
        Some(value) => (value, true),
        None => (value, false),
    };
    let ports: Vec<&str> = value.split(':').collect();
    let range = |text: &str| -> (u16, u16) {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (
            first.parse().expect("a port"),
            last.parse().expect("a port"),
        )
    };
    let (outside, inside) = match ports.as_slice() {
        // The Engine chose this one.
        [inside] => ((32769, 32769), range(inside)),
        [.., outside, inside] => (range(outside), range(inside)),
        [] => panic!("no port"),
    };
    for (n, container_port) in (inside.0..=inside.1).enumerate() {
        container.published.push(Published {
            container_port,
            host_port: outside.0 + u16::try_from(n).expect("a port"),
            is_udp,
        });
    }
}

/// What toots and the edges read of a service. Registrator gives tags in no fixed order.
type Read = (
    String,
    String,
    u16,
    BTreeSet<String>,
    BTreeMap<String, String>,
);

fn read(service: &Value) -> (String, Read) {
    let text = |key: &str| service[key].as_str().unwrap_or_default().to_owned();
    let tags = service["Tags"].as_array().into_iter().flatten();
    let tags = tags.map(|tag| tag.as_str().unwrap_or_default().to_owned());
    let meta = service["Meta"].as_object().into_iter().flatten();
    let meta = meta.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()));
    let port = service["Port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    let read = (
        text("Service"),
        text("Address"),
        port.unwrap_or(0),
        tags.collect(),
        meta.collect(),
    );
    (text("ID"), read)
}

/// Sections that ran Registrator in another way, which toots does not.
const OTHER_FLAGS: [&str; 2] = ["i-port", "g-tags"];

#[test]
pub fn containers_are_registered_as_recorded() {
    let (mut replayed, mut listed) = (0, 0);
    for section in RECORDED.split("\n=== ") {
        let section = section.trim_start_matches("=== ");
        let mut lines = section.lines();
        let (Some(name), Some(run)) = (lines.next(), lines.next()) else {
            continue;
        };
        if !run.starts_with("docker run ") {
            continue;
        }
        if OTHER_FLAGS.contains(&name) {
            listed += 1;
            continue;
        }
        let services = lines.filter(|line| line.starts_with('{'));
        let recorded: BTreeMap<String, Read> = services
            .map(|line| read(&serde_json::from_str(line).expect("JSON")))
            .collect();
        let settings = Settings {
            ip: (name != "n-ip").then(|| "10.1.2.3".to_owned()),
            explicit: name.starts_with("e-"),
            ..Settings::default()
        };
        let simulated = services_of(&container(name, run), "host1", &settings);
        let simulated: BTreeMap<String, Read> = simulated
            .into_iter()
            .map(|s| {
                (
                    s.id,
                    (
                        s.name,
                        s.address,
                        s.port,
                        s.tags.into_iter().collect(),
                        s.meta,
                    ),
                )
            })
            .collect();
        assert_eq!(simulated, recorded, "{name}: {run}");
        replayed += 1;
    }
    println!(
        "registrator: {replayed} containers replayed, {listed} listed: other flags than toots'"
    );
    assert_eq!(replayed, 35);
}
