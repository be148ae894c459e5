//! What the images and containers of a host need of it.

use super::diff::recorded_spec;
use super::preflight::Checks;
use crate::desired::{ComponentDesired, HostDesired};
use crate::docker::ContainerStatus;
use crate::observe::{DockerStatus, Facts, HostStatus};
use crate::spec::{ContainerSpec, ImageRef};

impl Checks<'_> {
    pub(super) fn requirements(&mut self, host: &HostDesired, status: &HostStatus) {
        for component in &host.components {
            for requirement in &component.requires {
                let image = &component.container.image;
                if component
                    .data_dir
                    .as_ref()
                    .is_some_and(|dir| status.has_data.contains(dir))
                    && let Some(former) = recorded_spec(component, status)
                    && let Some((former, wanted)) =
                        requirement.changed_argument(&former, &component.container)
                {
                    let why = format!(
                        "{} has data with {former} and is to start with {wanted}: {}",
                        component.name, requirement.why
                    );
                    self.add(true, why, requirement.hint.as_str());
                }
                if requirement
                    .cgroup
                    .is_some_and(|version| version != status.facts.cgroup_version)
                {
                    let has = status.facts.cgroup_version;
                    let what = if requirement.warning {
                        "is limited"
                    } else {
                        "does not run"
                    };
                    let why = format!(
                        "{image} {what} on this host: {} (cgroup v{has} found)",
                        requirement.why
                    );
                    self.add(!requirement.warning, why, requirement.hint.as_str());
                }
                if let DockerStatus::Up { engine, .. } = &status.docker
                    && requirement.refuses_engine(&engine.min_api)
                {
                    let why = format!(
                        "{image} does not run on this host: {} (Docker {} supports API {} and later)",
                        requirement.why, engine.version, engine.min_api
                    );
                    self.add(true, why, requirement.hint.as_str());
                }
            }
        }
    }

    /// A change of version that the program does not support would cost its data.
    pub(super) fn versions(&mut self, host: &HostDesired, status: &HostStatus) {
        for component in &host.components {
            let data = component.data_dir.as_ref();
            let has_data = data.is_some_and(|dir| status.has_data.contains(dir));
            if !has_data && !component.versions.stores_elsewhere {
                continue;
            }
            let former = former_image(component, status);
            let wanted = &component.container.image;
            let changed = former.filter(|former| former != wanted);
            if let Some(refusal) = changed.and_then(|f| component.versions.judge(&f, wanted)) {
                self.add(true, refusal.why, refusal.hint);
            }
        }
    }

    /// The Engine refuses a mount whose propagation the host's own mount does not have.
    pub(super) fn propagation(&mut self, host: &HostDesired, facts: &Facts) {
        for component in &host.components {
            let shared = component.container.mounts.iter().filter(|mount| {
                let propagation = mount.propagation.as_deref();
                propagation.is_some_and(|propagation| propagation.ends_with("shared"))
            });
            for mount in shared {
                if let Some(point) = facts.private_mount(&mount.source) {
                    let why = format!(
                        "{} shares mounts in {} with the host, but {point} is mounted as private",
                        component.name, mount.source
                    );
                    let hint = format!(
                        "on the host: sudo mount --make-rshared {point}; systemd does so when it boots, so add a unit that does it where it does not last"
                    );
                    self.add(true, why, hint);
                }
            }
        }
    }
}

/// The image whose program wrote a component's data. The record names the image of a replacement also
/// when that was put back, so a container that was started says more.
fn former_image(component: &ComponentDesired, status: &HostStatus) -> Option<ImageRef> {
    let containers = match &status.docker {
        DockerStatus::Up { containers, .. } => containers.as_slice(),
        _ => &[],
    };
    let name = component.container.name();
    let find = |name: &str| {
        let is_started = |c: &&ContainerStatus| c.name == name && c.state != "created";
        containers.iter().find(is_started)
    };
    let started = find(&name).or_else(|| find(&format!("{name}{}", ContainerSpec::FORMER)));
    let label = started.and_then(|container| container.labels.get(ContainerSpec::LABEL_IMAGE));
    let recorded = || recorded_spec(component, status).map(|spec| spec.image);
    label.cloned().map(ImageRef).or_else(recorded)
}
