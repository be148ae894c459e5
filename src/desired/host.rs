//! Builds what a host has besides its components.

use std::collections::BTreeMap;

use super::types::{ComponentDesired, HostDesired};
use crate::inventory::{Host, Inventory};
use crate::spec::{
    DefaultImages, DirSpec, FileSpec, Membership, NodeRecord, Placement, Role, Secret,
};

/// What is the same on every host that has it.
pub(super) struct CommonFiles<'a> {
    pub membership: &'a Membership,
    pub default_images: Option<&'a DefaultImages>,
    pub secrets: &'a BTreeMap<String, Secret>,
    pub registry_ca: Option<Vec<u8>>,
}

pub(super) fn desired(
    inventory: &Inventory,
    host: &Host,
    node: NodeRecord,
    common: &CommonFiles<'_>,
    components: Vec<ComponentDesired>,
) -> HostDesired {
    let dir = |path: &str, mode| DirSpec {
        path: path.to_owned(),
        mode,
        uid: 0,
        gid: 0,
    };
    let mut dirs = vec![
        dir("/etc/toots", 0o755),
        dir("/etc/toots/containers", 0o700),
        dir("/etc/toots/proven", 0o755),
        dir("/var/lib/toots", 0o755),
    ];
    let mut content = serde_json::to_vec_pretty(&node).unwrap_or_default();
    content.push(b'\n');
    let record = |path, content| FileSpec {
        place: Placement::Record,
        ..file(path, 0o644, content, false)
    };
    let mut files = vec![record(NodeRecord::PATH, content)];
    if host.roles.contains(&Role::Master) {
        files.push(record(Membership::PATH, common.membership.content()));
        if let Some(record_of_images) = common.default_images {
            files.push(record(DefaultImages::PATH, record_of_images.content()));
        }
        dirs.push(dir("/etc/toots/secrets", 0o700));
        for (name, secret) in common.secrets {
            files.push(file(
                &format!("/etc/toots/secrets/{name}"),
                0o600,
                format!("{}\n", secret.expose()).into_bytes(),
                true,
            ));
        }
    }
    let mut hosts_entries = Vec::new();
    if let Some(registry) = &inventory.registry {
        let name = registry.server.split(':').next().unwrap_or_default();
        if let Some(address) = registry.address
            && name.parse::<std::net::IpAddr>().is_err()
        {
            hosts_entries.push((address.to_string(), name.to_owned()));
        }
        if let Some(ca) = &common.registry_ca {
            let folder = format!("/etc/docker/certs.d/{}", registry.server);
            dirs.push(dir(&folder, 0o755));
            files.push(file(&format!("{folder}/ca.crt"), 0o644, ca.clone(), false));
        }
    }
    let nfs = inventory
        .nfs
        .as_ref()
        .filter(|_| host.persistent)
        .map(|nfs| nfs.export.clone());
    let mut units = Vec::new();
    if let Some(export) = &nfs {
        files.push(file(
            &format!("/etc/systemd/system/{STORE_UNIT}"),
            0o644,
            store(export).into_bytes(),
            false,
        ));
        units.push(STORE_UNIT.to_owned());
    }
    files.push(super::compose::file(&components, &inventory.cluster));
    let (name, address, roles, listen_all) = (
        host.name.clone(),
        host.address,
        host.roles.clone(),
        host.listen_ip.is_unspecified(),
    );
    HostDesired {
        name,
        address,
        roles,
        node,
        dirs,
        files,
        hosts_entries,
        units,
        nfs,
        listen_all,
        components,
    }
}

/// systemd names a mount unit after its path, /var/store.
const STORE_UNIT: &str = "var-store.mount";

/// The host boots without its NFS server: a mount that fails is skipped. A mounted export waits for
/// a server that is away, because an error in the middle of a write would cost data.
fn store(export: &str) -> String {
    format!(
        "# Written by toots.
[Unit]
Description=Storage of persistent applications
After=network-online.target
Wants=network-online.target

[Mount]
What={export}
Where=/var/store
Type=nfs
Options=_netdev,nofail,retry=0
TimeoutSec=30

[Install]
WantedBy=remote-fs.target
"
    )
}

fn file(path: &str, mode: u32, content: Vec<u8>, secret: bool) -> FileSpec {
    FileSpec {
        path: path.to_owned(),
        mode,
        uid: 0,
        gid: 0,
        content,
        secret,
        place: Placement::Always,
    }
}
