//! One component on one host.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{ComponentDesired, Recorded};
use crate::inventory::Inventory;
use crate::playbook::{Component, PlaybookError, Renderer, Values};
use crate::spec::{ComponentName, ContainerSpec, DirSpec, FileSpec, ImageRef, Place};

pub(super) fn desired(
    component: &Component,
    inventory: &Inventory,
    renderer: &Renderer,
    values: &Values,
    recorded: &Recorded,
    used: &BTreeSet<ComponentName>,
) -> Result<ComponentDesired, PlaybookError> {
    let source = format!("{}/component.toml", component.name);
    let extra: BTreeMap<&String, ImageRef> = component
        .extra_images
        .iter()
        .map(|(key, default)| (key, image(inventory, key, default)))
        .collect();
    let values = &{
        let mut values = values.clone();
        values.insert("image".to_owned(), serde_json::json!(extra));
        values.insert(
            "params".to_owned(),
            serde_json::json!(params(component, inventory)),
        );
        values
    };
    let text = |text: &String| renderer.text(&source, text, values);
    let texts = |list: &[String]| list.iter().map(text).collect::<Result<Vec<_>, _>>();
    let files = files(component, renderer, values)?;
    let image = image(
        inventory,
        component
            .image_key
            .as_deref()
            .unwrap_or(component.name.as_str()),
        &component.image,
    );
    let digest = |image: &ImageRef| {
        image
            .digest()
            .map(str::to_owned)
            .or_else(|| recorded.digests.get(image).cloned())
    };
    let reload: BTreeMap<String, String> = component
        .files
        .iter()
        .filter_map(|file| Some((file.path.clone(), file.reload.clone()?)))
        .collect();
    // A file that is taken up by a signal, that is only ever put down once, or that the container does not see, calls for no new container.
    let seen = |file: &FileSpec| {
        component
            .mounts
            .iter()
            .any(|mount| std::path::Path::new(&file.path).starts_with(&mount.source))
    };
    let watched = files.iter().filter(|file| {
        file.place == Place::Always && !reload.contains_key(&file.path) && seen(file)
    });
    let mut labels = BTreeMap::new();
    for (key, value) in &component.labels {
        let value = text(value)?;
        if !value.is_empty() {
            labels.insert(key.clone(), value);
        }
    }
    let container = ContainerSpec {
        component: component.name.clone(),
        digest: digest(&image),
        entrypoint: component.entrypoint.as_deref().map(texts).transpose()?,
        command: texts(&component.command)?
            .into_iter()
            .filter(|argument| !argument.is_empty())
            .collect(),
        env: component
            .env
            .iter()
            .map(|(key, value)| Ok((key.clone(), text(value)?)))
            .collect::<Result<_, PlaybookError>>()?,
        user: component.user.clone(),
        mounts: component.mounts.clone(),
        tmpfs: component.tmpfs.clone(),
        cap_add: component.cap_add.clone(),
        devices: component.devices.clone(),
        privileged: component.privileged,
        pid_host: component.pid_host,
        expose: component.expose.clone(),
        stop_signal: component.stop_signal.clone(),
        stop_timeout_s: component.stop_timeout_s,
        nofile: component.nofile,
        labels,
        files: watched
            .map(|file| (file.path.clone(), file.digest()))
            .collect(),
        image,
    };
    let extra = extra
        .into_values()
        .map(|image| {
            let digest = digest(&image);
            (image, digest)
        })
        .collect();
    let requires = component
        .requires
        .iter()
        .filter(|requirement| requirement.concerns(&container.image))
        .cloned()
        .collect();
    Ok(ComponentDesired {
        requires,
        name: component.name.clone(),
        after: component
            .after
            .iter()
            .filter(|after| used.contains(*after))
            .cloned()
            .collect(),
        quorum: component.quorum,
        gate: component.gate.clone(),
        container,
        extra_images: extra,
        dirs: component
            .dirs
            .iter()
            .map(|dir| DirSpec {
                path: dir.path.clone(),
                mode: bits(&dir.mode),
                uid: dir.uid,
                gid: dir.gid,
            })
            .collect(),
        files,
        units: component.units.clone(),
        reload,
        ports: component
            .ports
            .iter()
            .map(|port| (port.port, port.protocol.clone(), port.purpose.clone()))
            .collect(),
        probes: component.probes.clone(),
        web: component.web.clone(),
        data_dir: component.data_dir.clone(),
    })
}

/// The component's parameters: the inventory's values, which were checked, else the defaults.
fn params<'a>(component: &'a Component, inventory: &'a Inventory) -> BTreeMap<&'a str, &'a str> {
    let own = inventory.params.get(component.name.as_str());
    let value = |name: &String| own.and_then(|own| own.get(name)).map(String::as_str);
    component
        .params
        .iter()
        .map(|(name, param)| (name.as_str(), value(name).unwrap_or(&param.default)))
        .collect()
}

fn image(inventory: &Inventory, key: &str, default: &str) -> ImageRef {
    inventory
        .images
        .get(key)
        .cloned()
        .unwrap_or_else(|| ImageRef(default.to_owned()))
}

/// Checked when the playbook was loaded.
fn bits(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8).unwrap_or(0o600)
}

fn files(
    component: &Component,
    renderer: &Renderer,
    values: &Values,
) -> Result<Vec<FileSpec>, PlaybookError> {
    component
        .files
        .iter()
        .map(|file| {
            Ok(FileSpec {
                path: file.path.clone(),
                mode: bits(&file.mode),
                uid: file.uid,
                gid: file.gid,
                content: renderer
                    .file(&format!("{}/{}", component.name, file.template), values)?
                    .into_bytes(),
                secret: file.secret,
                place: file.place,
            })
        })
        .collect()
}
