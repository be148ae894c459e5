//! Installs packages as `install.sh` does.

use std::time::Duration;

use toots::host::{Install, OperationError};
use toots::spec::Package;

use super::task::{HostTask, failed};

/// How long a package manager waits for another one at work.
const WAIT_LIMIT: Duration = Duration::from_secs(300);
const UPDATE: Duration = Duration::from_secs(3);
const UNPACK: Duration = Duration::from_secs(8);
const START: Duration = Duration::from_secs(2);
/// Size of each package with what it needs.
const PACKAGE_BYTES: u64 = 300 << 20;

pub async fn install(task: &HostTask, request: &Install) -> Result<(), OperationError> {
    let manager = request.manager.program();
    let has_manager = |name: &String| name == manager;
    let managers = task.machine.state().facts.package_managers.clone();
    if !managers.iter().any(has_manager) {
        return Err(failed(127, format!("sh: {manager}: not found")));
    }
    unpack(task, request.package).await?;
    if request.package == Package::Docker {
        // Its package starts the Engine.
        task.work(START).await;
        task.machine.state().engine_runs = true;
        task.machine.engine.boot().await;
        task.note("Engine started");
        task.step("Engine started").await;
    }
    Ok(())
}

async fn unpack(task: &HostTask, package: Package) -> Result<(), OperationError> {
    let machine = &task.machine;
    let locked = tokio::time::timeout(WAIT_LIMIT, machine.package_lock.lock()).await;
    let Ok(_locked) = locked else {
        return Err(failed(100, "E: Could not get lock /var/lib/dpkg/lock"));
    };
    task.work(UPDATE).await;
    task.step("lists updated").await;
    let name = match package {
        Package::Docker => "docker",
        Package::NfsClient => "nfs-client",
    };
    if machine.state().packages.contains(name) {
        return Ok(());
    }
    if machine.disk.free() < PACKAGE_BYTES {
        return Err(failed(
            100,
            "E: You don't have enough free space in /var/cache/apt",
        ));
    }
    task.work(UNPACK).await;
    task.step("unpacked").await;
    machine.state().packages.insert(name.to_owned());
    machine
        .disk
        .set_filled(machine.disk.filled() + PACKAGE_BYTES);
    task.note(format!("installed {name}"));
    task.step("installed").await;
    Ok(())
}
