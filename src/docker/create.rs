//! A container's specification as the Engine's creation request.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};

use crate::spec::{ClusterName, ContainerSpec};

/// Host networking, restarts by itself, logs bounded.
pub(super) fn body(
    spec: &ContainerSpec,
    cluster: &ClusterName,
    more: &BTreeMap<String, String>,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image_to_run()),
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
    HostConfig {
        network_mode: Some("host".into()),
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
