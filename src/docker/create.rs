//! The Engine's creation request for a container specification.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, PortBinding, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use crate::spec::{ClusterName, ContainerSpec};

/// Automatic restarts, bounded logs, and host networking unless ports are published.
pub(super) fn body(
    spec: &ContainerSpec,
    image: &str,
    cluster: &ClusterName,
    more: &BTreeMap<String, String>,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: spec.entrypoint.clone(),
        cmd: Some(spec.command.clone()).filter(|command| !command.is_empty()),
        env: Some(
            spec.env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        user: spec.user.clone(),
        labels: Some(
            spec.all_labels(cluster)
                .into_iter()
                .chain(more.clone())
                .collect(),
        ),
        exposed_ports: Some(
            spec.expose
                .iter()
                .map(|port| format!("{port}/tcp"))
                .collect(),
        ),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: Some(i64::from(spec.stop_timeout_s)),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let bind = |mount: &crate::spec::Mount| {
        let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
        options.extend(mount.propagation.as_deref());
        format!("{}:{}:{}", mount.source, mount.target, options.join(","))
    };
    let device = |path: &String| DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path.clone()),
        cgroup_permissions: Some("rwm".into()),
    };
    let nofile = spec.nofile.and_then(|limit| i64::try_from(limit).ok());
    let publish = |address: IpAddr| {
        let ports = spec.expose.iter().map(|port| {
            let binding = PortBinding {
                host_ip: Some(address.to_string()),
                host_port: Some(port.to_string()),
            };
            (format!("{port}/tcp"), Some(vec![binding]))
        });
        ports.collect()
    };
    let network = spec.published.map_or("host", |_| "bridge");
    HostConfig {
        network_mode: Some(network.into()),
        port_bindings: spec.published.map(publish),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        binds: Some(spec.mounts.iter().map(bind).collect()),
        tmpfs: Some(
            spec.tmpfs
                .iter()
                .map(|path| (path.clone(), String::new()))
                .collect(),
        ),
        cap_add: Some(spec.cap_add.clone()),
        devices: Some(spec.devices.iter().map(device).collect()),
        privileged: Some(spec.privileged),
        pid_mode: spec.pid_host.then(|| "host".to_owned()),
        cgroupns_mode: spec
            .cgroupns_host
            .then_some(HostConfigCgroupnsModeEnum::HOST),
        init: spec.init.then_some(true),
        ulimits: nofile.map(|limit| {
            vec![ResourcesUlimits {
                name: Some("nofile".into()),
                soft: Some(limit),
                hard: Some(limit),
            }]
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(
                [
                    ("max-size".to_owned(), "10m".to_owned()),
                    ("max-file".to_owned(), "3".to_owned()),
                ]
                .into(),
            ),
        }),
        ..HostConfig::default()
    }
}
