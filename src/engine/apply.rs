//! Carries one step out on one host.

use std::time::Duration;

use bytes::Bytes;

use super::connect::HostRun;
use super::context::Context;
use super::{compose, failure, place};
use crate::docker::{DockerError, RegistryAuth};
use crate::event::{Event, Failure};
use crate::plan::{Package, Step};
use crate::spec::{ContainerSpec, ImageRef};
use crate::transport::Exec;

/// Carries it out. What is in the way is said in full, but not as an event.
pub(super) async fn run(
    cx: &Context,
    host: &HostRun,
    phase: &str,
    step: &Step,
) -> Result<(), Box<Failure>> {
    let title = step.title();
    let fail =
        |error: &(dyn std::error::Error + 'static)| Box::new(failure::of(phase, &title, error));
    let engine = &host.engine;
    match step {
        Step::Install { package, manager } => {
            install(cx, host, phase, &title, *package, manager).await
        }
        Step::Place {
            dirs,
            files,
            hosts_entries,
        } => {
            let dirs: Vec<_> = dirs.iter().map(|(dir, _)| dir).collect();
            let files: Vec<_> = files.iter().map(|change| &change.file).collect();
            let exec = place::command(&dirs, &files, hosts_entries.as_deref(), cx.timeouts.exec)
                .map_err(|why| Box::new(failure::words(phase, &title, why, Vec::new())))?;
            let _turn = host.placing.lock().await;
            checked(host, phase, &title, exec).await
        }
        Step::Pull { image, digest } => pull(cx, host, phase, image, digest.as_deref()).await,
        Step::Create { spec } => create(cx, host, phase, &title, spec).await,
        Step::Replace { spec, .. } => replace(cx, host, phase, &title, spec).await,
        Step::Start { container, .. } => {
            engine.start(container).await.map_err(|error| fail(&error))
        }
        Step::Signal {
            container, signal, ..
        } => engine
            .kill(container, signal)
            .await
            .map_err(|error| fail(&error)),
        Step::Unit { unit, .. } => {
            // A unit that failed often is refused a start until that is forgotten.
            let script = "systemctl daemon-reload && systemctl enable --quiet \"$1\" && { systemctl reset-failed \"$1\" 2>/dev/null; systemctl restart \"$1\"; } || { systemctl status --no-pager --lines=20 \"$1\" >&2; exit 1; }";
            checked(host, phase, &title, systemd(cx, script, unit)).await
        }
        Step::RemoveUnit { unit } => {
            let script = "systemctl disable --quiet --now \"$1\" && rm -f \"/etc/systemd/system/$1\" && systemctl daemon-reload";
            checked(host, phase, &title, systemd(cx, script, unit)).await
        }
        Step::Remove { container, .. } => {
            engine
                .stop(container, 30)
                .await
                .or_else(gone)
                .map_err(|error| fail(&error))?;
            engine
                .remove(container, true)
                .await
                .or_else(gone)
                .map_err(|error| fail(&error))
        }
    }
}

fn gone(error: DockerError) -> Result<(), DockerError> {
    if error.is_not_found() {
        Ok(())
    } else {
        Err(error)
    }
}

fn systemd(cx: &Context, script: &'static str, unit: &str) -> Exec {
    Exec {
        command: format!("sh -s -- {}", crate::transport::quote(unit)),
        stdin: Bytes::from_static(script.as_bytes()),
        privileged: true,
        deadline: cx.timeouts.exec,
        max_output: 256 * 1024,
    }
}

/// Runs a command whose status must be 0; its last lines are in the failure.
async fn checked(host: &HostRun, phase: &str, title: &str, exec: Exec) -> Result<(), Box<Failure>> {
    let output = host
        .session
        .exec(exec)
        .await
        .map_err(|error| Box::new(failure::transport(phase, title, &error)))?;
    if output.status == 0 {
        return Ok(());
    }
    let mut failure = failure::words(
        phase,
        title,
        format!("the command ended with status {}", output.status),
        Vec::new(),
    );
    failure.log = failure::tail(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    });
    Err(Box::new(failure))
}

async fn create(
    cx: &Context,
    host: &HostRun,
    phase: &str,
    title: &str,
    spec: &ContainerSpec,
) -> Result<(), Box<Failure>> {
    let fail = |error: DockerError| Box::new(failure::of(phase, title, &error));
    let labels = compose::labels(host.compose.get_or_init(|| compose::ask(host)).await, spec);
    host.engine
        .create(spec, &cx.cluster, &labels)
        .await
        .map_err(fail)?;
    if let Err(error) = host.engine.start(&spec.name()).await {
        let failure = with_log(host, &spec.name(), failure::of(phase, title, &error)).await;
        // A container that never ran holds nothing; without it the next run begins this step anew.
        if let Err(error) = host.engine.remove(&spec.name(), true).await {
            tracing::warn!(%error, "the container that did not start could not be removed");
        }
        return Err(Box::new(failure));
    }
    Ok(())
}

/// The name of a container that is about to be replaced.
pub(super) fn aside(container: &str) -> String {
    format!("{container}.old")
}

/// The former container is set aside, not removed, until the new one has started: a new one that cannot be created or started is taken
/// back and the former one runs again.
async fn replace(
    cx: &Context,
    host: &HostRun,
    phase: &str,
    title: &str,
    spec: &ContainerSpec,
) -> Result<(), Box<Failure>> {
    let name = spec.name();
    let old = aside(&name);
    let engine = &host.engine;
    let fail = |error: DockerError| Box::new(failure::of(phase, title, &error));
    engine
        .remove(&old, true)
        .await
        .or_else(gone)
        .map_err(fail)?;
    engine
        .stop(&name, spec.stop_timeout_s)
        .await
        .map_err(fail)?;
    engine.rename(&name, &old).await.map_err(fail)?;
    if let Err(mut failure) = create(cx, host, phase, title, spec).await {
        let back = async {
            engine.rename(&old, &name).await?;
            engine.start(&name).await
        };
        failure.left = Some(match back.await {
            Ok(()) => "the former container runs again".into(),
            Err(error) => format!(
                "the former container could not be started again: {}",
                crate::event::escape(&error.to_string())
            ),
        });
        return Err(failure);
    }
    engine.remove(&old, true).await.or_else(gone).map_err(fail)
}

/// Adds the container's last lines.
pub(super) async fn with_log(host: &HostRun, container: &str, mut failure: Failure) -> Failure {
    if let Ok(log) = host.engine.logs_tail(container, 20).await {
        failure.log = failure::tail(log.as_bytes());
    }
    failure
}

async fn pull(
    cx: &Context,
    host: &HostRun,
    phase: &str,
    image: &ImageRef,
    digest: Option<&str>,
) -> Result<(), Box<Failure>> {
    let title = format!("pull {image}");
    let reference = digest.map_or_else(|| image.0.clone(), |digest| image.pinned(digest));
    let name = &host.info.name;
    let progress = |bytes, total| {
        cx.events.send(Event::StepProgress {
            host: name.clone(),
            bytes,
            total,
        })
    };
    let auth = login(cx, image);
    let pull = || {
        host.engine
            .pull(&reference, auth.as_ref(), cx.timeouts.pull_idle, progress)
    };
    let mut pulled = pull().await;
    if let Err(error) = &pulled
        && !host.session.closed()
    {
        tracing::warn!(host = %name, %error, "the pull is tried once more");
        tokio::time::sleep(PULL_AGAIN).await;
        pulled = pull().await;
    }
    pulled.map_err(|error| {
        let mut failure = failure::of(phase, &title, &error);
        failure.hints = pull_hints(image);
        Box::new(failure)
    })?;
    if digest.is_some() {
        // A pull by digest leaves the image without a name.
        let tagged = host
            .engine
            .tag(&reference, image.repository(), image.tag())
            .await;
        tagged.map_err(|error| Box::new(failure::of(phase, &title, &error)))?;
    }
    Ok(())
}

/// Before a pull that failed is tried once more: what is gone after that (a busy registry, an Engine's stale view of /etc/hosts, which it
/// keeps for 5 s) is no reason to give a host up.
const PULL_AGAIN: Duration = Duration::from_secs(6);

fn pull_hints(image: &ImageRef) -> Vec<String> {
    match image.registry() {
        Some(registry) => {
            vec![format!(
                "check that the hosts reach {registry}, and [registry] ca, username and password_file in the inventory"
            )]
        }
        None => vec![
            "check that the hosts reach the public registry, or name another image in [images]"
                .into(),
        ],
    }
}

/// The login for an image, when it comes from the registry of the inventory.
pub(super) fn login(cx: &Context, image: &ImageRef) -> Option<RegistryAuth> {
    let login = cx
        .registry
        .as_ref()
        .filter(|login| image.registry() == Some(&login.server))?;
    Some(RegistryAuth {
        username: login.username.clone(),
        password: login.password.clone(),
        server: login.server.clone(),
    })
}

/// The command that installs something; each waits for a package manager that is already at work (a fresh cloud machine upgrades itself)
/// instead of failing.
fn installation(package: Package, manager: &str) -> Option<String> {
    let apt = |names: &str| {
        let apt = "apt-get -o DPkg::Lock::Timeout=300";
        format!(
            "export DEBIAN_FRONTEND=noninteractive; {apt} update -q && {apt} install -qy --no-install-recommends {names}"
        )
    };
    Some(match (package, manager) {
        (Package::Docker, "apt-get") => apt("docker.io"),
        (Package::Docker, "dnf") => "dnf install -qy moby-engine || dnf install -qy docker".into(),
        (Package::Docker, "zypper") => "zypper --non-interactive install docker".into(),
        (Package::Docker, "apk") => {
            "apk add docker && rc-update add docker default && rc-service docker start".into()
        }
        (Package::NfsClient, "apt-get") => apt("nfs-common"),
        (Package::NfsClient, "dnf") => "dnf install -qy nfs-utils".into(),
        (Package::NfsClient, "zypper") => "zypper --non-interactive install nfs-client".into(),
        (Package::NfsClient, "apk") => "apk add nfs-utils".into(),
        _ => return None,
    })
}

async fn install(
    cx: &Context,
    host: &HostRun,
    phase: &str,
    title: &str,
    package: Package,
    manager: &str,
) -> Result<(), Box<Failure>> {
    let Some(install) = installation(package, manager) else {
        let hints = vec![format!("install {} by hand", package.as_str())];
        return Err(Box::new(failure::words(
            phase,
            title,
            "no known package manager is on the host",
            hints,
        )));
    };
    let after = match package {
        Package::NfsClient => "",
        Package::Docker => {
            "if [ -d /run/systemd/system ]; then systemctl enable --now docker; fi
i=0; until docker version >/dev/null 2>&1; do i=$((i+1)); [ $i -lt 60 ] || { docker version; exit 1; }; sleep 0.5; done"
        }
    };
    let exec = Exec {
        command: "sh -s".into(),
        stdin: Bytes::from(format!("set -e\n{{ {install}; }} >&2\n{after}\n")),
        privileged: true,
        deadline: cx.timeouts.install,
        max_output: 1024 * 1024,
    };
    checked(host, phase, title, exec).await
}
