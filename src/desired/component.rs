//! Builds the desired state of one component on one host.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::images::Images;
use super::types::{ComponentCommon, ComponentDesired, HostDesired, Recorded};
use crate::inventory::Inventory;
use crate::playbook::{Component, FileEntry, PlaybookError, Renderer, TemplateValues};
use crate::spec::{
    ContainerSpec, DirSpec, FileSpec, ImageDigest, ImageRef, Placement, Port, ProbeSpec,
};

/// The part that is the same on every host that runs the component.
pub(super) fn common(
    component: &Component,
    images: &Images,
    recorded: &Recorded,
    probes: Vec<ProbeSpec>,
) -> ComponentCommon {
    let extra_images = images
        .extra(component)
        .into_values()
        .map(|image| {
            let digest = digest(&image, recorded);
            (image, digest)
        })
        .collect();
    let image = images.own(component);
    let is_of_recipe = component.is_of_recipe(&image);
    let component = &*component.with_image(&image);
    let requires = component
        .requires
        .iter()
        .filter(|requirement| requirement.concerns(&image, is_of_recipe))
        .cloned()
        .collect();
    ComponentCommon {
        requires,
        name: component.name.clone(),
        quorum: component.quorum,
        gate: component.gate.clone(),
        extra_images,
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
        units: component.units.clone(),
        reload: component
            .files
            .iter()
            .filter_map(|file| Some((file.path.clone(), file.reload.clone()?)))
            .collect(),
        ports: component
            .ports
            .iter()
            .map(|port| Port {
                number: port.port,
                protocol: port.protocol,
                purpose: port.purpose.clone(),
                is_loopback: port.loopback,
            })
            .collect(),
        probes,
        versions: component.versions.clone(),
        web: component.web.clone(),
        data_dir: component.data_dir.clone(),
        rejoin_dirs: component.rejoin_dirs.clone(),
        empty_vote_command: component.empty_vote_command.clone(),
    }
}

/// Its ordinary probes, with the texts that are templates.
pub(super) fn probes(
    component: &Component,
    renderer: &Renderer,
    values: &TemplateValues,
) -> Result<Vec<ProbeSpec>, PlaybookError> {
    let source = format!("{}/component.toml", component.name);
    let mut probes = component.probes.clone();
    for probe in &mut probes {
        if let ProbeSpec::Https { ca, .. } = probe {
            *ca = renderer.text(&source, ca, values)?;
        }
    }
    Ok(probes)
}

/// Adds what a host needs to use a component.
pub(super) fn add_to_every_host(
    component: &Component,
    renderer: &Renderer,
    values: &TemplateValues,
    host: &mut HostDesired,
) -> Result<(), PlaybookError> {
    let source = format!("{}/component.toml", component.name);
    let text = |text: &str| renderer.text(&source, text, values);
    for (name, address) in &component.every_host.names {
        host.hosts_entries.push((text(address)?, text(name)?));
    }
    for mut file in files(component, &component.every_host.files, renderer, values)? {
        file.path = text(&file.path)?;
        if let Some((folder, _)) = file.path.rsplit_once('/') {
            host.dirs.push(DirSpec {
                path: folder.to_owned(),
                mode: 0o755,
                uid: 0,
                gid: 0,
            });
        }
        host.files.push(file);
    }
    Ok(())
}

pub(super) fn desired(
    component: &Component,
    common: &Arc<ComponentCommon>,
    inventory: &Inventory,
    images: &Images,
    renderer: &Renderer,
    values: &TemplateValues,
    recorded: &Recorded,
) -> Result<ComponentDesired, PlaybookError> {
    let image = images.own(component);
    let is_of_recipe = component.is_of_recipe(&image);
    let component = &*component.with_image(&image);
    let source = format!("{}/component.toml", component.name);
    let extra = images.extra(component);
    let values = &{
        let mut values = values.clone();
        values.insert("by_recipe", &is_of_recipe.into());
        values.insert("image", &serde_json::json!(extra));
        values.insert("params", &serde_json::json!(params(component, inventory)));
        values
    };
    let text = |text: &String| renderer.text(&source, text, values);
    let texts = |list: &[String]| list.iter().map(text).collect::<Result<Vec<_>, _>>();
    let files = files(component, &component.files, renderer, values)?;
    // A file that a signal reloads, that is written only once, or that the container does not see
    // requires no new container.
    let seen = |file: &FileSpec| {
        component
            .mounts
            .iter()
            .any(|mount| std::path::Path::new(&file.path).starts_with(&mount.source))
    };
    let watched = files.iter().filter(|file| {
        file.place == Placement::Always && !common.reload.contains_key(&file.path) && seen(file)
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
        digest: digest(&image, recorded),
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
        cgroupns_host: component.cgroupns_host,
        init: component.init,
        expose: component.expose.clone(),
        published: None,
        stop_signal: component.stop_signal.clone(),
        stop_timeout_s: component.stop_timeout_s,
        nofile: component.nofile,
        labels,
        files: watched
            .map(|file| (file.path.clone(), file.digest()))
            .collect(),
        image,
    };
    Ok(ComponentDesired {
        common: Arc::clone(common),
        container,
        files,
    })
}

/// The digest to which an image is pinned: by its reference, or by an earlier run. An image that toots
/// builds has another one after each build.
pub(super) fn digest(image: &ImageRef, recorded: &Recorded) -> Option<ImageDigest> {
    let recorded = || recorded.digests.get(image).cloned();
    image
        .digest()
        .map(ImageDigest::from)
        .or_else(|| image.recipe_hash().is_none().then(recorded).flatten())
}

/// The component's parameters: the inventory's validated values, else the defaults.
fn params<'a>(component: &'a Component, inventory: &'a Inventory) -> BTreeMap<&'a str, &'a str> {
    let own = inventory.params.get(component.name.as_str());
    let value = |name: &String| own.and_then(|own| own.get(name)).map(String::as_str);
    component
        .params
        .iter()
        .map(|(name, param)| (name.as_str(), value(name).unwrap_or(&param.default)))
        .collect()
}

/// Validated when the playbook was loaded.
fn bits(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8).unwrap_or(0o600)
}

fn files(
    component: &Component,
    entries: &[FileEntry],
    renderer: &Renderer,
    values: &TemplateValues,
) -> Result<Vec<FileSpec>, PlaybookError> {
    entries
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
