//! `/etc/toots/compose.yaml`: the host's containers in docker-compose's format, so that its `ps`,
//! `logs`, `restart` and `up -d` work there. It mirrors what toots does and decides nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::types::ComponentDesired;
use crate::spec::{ClusterName, ContainerSpec, FileSpec, Mount, Placement};

/// Its folder's name is the compose project.
const PATH: &str = "/etc/toots/compose.yaml";

pub(super) fn file(components: &[ComponentDesired], cluster: &ClusterName) -> FileSpec {
    let services: Map<String, Value> = components
        .iter()
        .map(|c| (c.name.to_string(), service(&c.container, cluster)))
        .collect();
    let text = serde_saphyr::to_string(&json!({ "services": services })).unwrap_or_default();
    let head = "# Written by toots. The containers of this host, for docker-compose; a change here is undone by the next toots cluster up.\n";
    FileSpec {
        path: PATH.into(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: format!("{head}{}\n", text.trim_end()).into_bytes(),
        secret: false,
        place: Placement::Always,
    }
}

/// The same as the Engine's request (`docker::create`), labels included, so that a container
/// created by docker-compose equals that of toots.
fn service(spec: &ContainerSpec, cluster: &ClusterName) -> Value {
    let mount = |mount: &Mount| {
        let propagation = mount
            .propagation
            .iter()
            .map(|how| format!(",{how}"))
            .collect::<String>();
        format!(
            "{}:{}:{}{propagation}",
            mount.source,
            mount.target,
            if mount.read_only { "ro" } else { "rw" }
        )
    };
    let texts = |list: &[String]| list.iter().map(|text| literal(text)).collect::<Vec<_>>();
    let map = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(key, value)| (key.clone(), json!(literal(value))))
            .collect::<Map<_, _>>()
    };
    let mut out = json!({
        "container_name": spec.name(),
        "image": spec.image_to_run(),
        "network_mode": "host",
        "restart": "unless-stopped",
        "stop_grace_period": format!("{}s", spec.stop_timeout_s),
        "logging": { "driver": "json-file", "options": { "max-size": "10m", "max-file": "3" } },
    });
    let optional = [
        (
            "entrypoint",
            json!(spec.entrypoint.as_deref().map(texts)),
            spec.entrypoint.is_some(),
        ),
        (
            "command",
            json!(texts(&spec.command)),
            !spec.command.is_empty(),
        ),
        ("environment", json!(map(&spec.env)), !spec.env.is_empty()),
        ("labels", json!(map(&spec.all_labels(cluster))), true),
        ("user", json!(spec.user), spec.user.is_some()),
        (
            "volumes",
            json!(spec.mounts.iter().map(mount).collect::<Vec<_>>()),
            !spec.mounts.is_empty(),
        ),
        ("tmpfs", json!(spec.tmpfs), !spec.tmpfs.is_empty()),
        ("cap_add", json!(spec.cap_add), !spec.cap_add.is_empty()),
        (
            "devices",
            json!(
                spec.devices
                    .iter()
                    .map(|path| format!("{path}:{path}"))
                    .collect::<Vec<_>>()
            ),
            !spec.devices.is_empty(),
        ),
        ("privileged", json!(true), spec.privileged),
        ("pid", json!("host"), spec.pid_host),
        // The first docker-compose refuses the whole file for the key that sets the cgroup namespace.
        ("init", json!(true), spec.init),
        (
            "expose",
            json!(
                spec.expose
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            ),
            !spec.expose.is_empty(),
        ),
        (
            "stop_signal",
            json!(spec.stop_signal),
            spec.stop_signal.is_some(),
        ),
        (
            "ulimits",
            json!({ "nofile": { "soft": spec.nofile, "hard": spec.nofile } }),
            spec.nofile.is_some(),
        ),
    ];
    if let Some(out) = out.as_object_mut() {
        out.extend(
            optional
                .into_iter()
                .filter(|(_, _, there)| *there)
                .map(|(key, value, _)| (key.to_owned(), value)),
        );
    }
    out
}

/// Escapes a text so that docker-compose substitutes nothing.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}
