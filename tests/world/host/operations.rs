//! Carries out the operations as their scripts do. To add one: its arm here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use toots::host::{
    HostAnswer, MoveAside, MovedFolder, Operation, OperationError, ReadState, ServiceState,
};

use super::disk::Errno;
use super::task::{HostTask, failed, refused};
use super::{install, observe, place, units};
use crate::files::Node;

const TASKS: &str = "/var/lib/toots/mesos-slave/slaves/";
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 4_000;

/// The limits of operations without one of their own.
const OBSERVE_LIMIT: Duration = Duration::from_secs(60);
const TASK_LOG_LIMIT: Duration = Duration::from_secs(20);

pub fn limit(operation: &Operation) -> Duration {
    match operation {
        Operation::Observe(request) => request.deadline.unwrap_or(OBSERVE_LIMIT),
        Operation::Place(request) => request.deadline,
        Operation::Install(request) => request.deadline,
        Operation::StartUnit(request) => request.deadline,
        Operation::RemoveUnit(request) => request.deadline,
        Operation::RemoveFile(request) => request.deadline,
        Operation::MoveAside(request) => request.deadline,
        Operation::ComposeHashes(_) => OBSERVE_LIMIT,
        Operation::ReadState(request) => request.deadline,
        Operation::HostAddresses(request) => request.deadline,
        Operation::TaskLog(_) => TASK_LOG_LIMIT,
    }
}

/// Whether it may change the host.
pub fn is_change(operation: &Operation) -> bool {
    match operation {
        Operation::Place(_)
        | Operation::Install(_)
        | Operation::StartUnit(_)
        | Operation::RemoveUnit(_)
        | Operation::RemoveFile(_)
        | Operation::MoveAside(_) => true,
        Operation::Observe(_)
        | Operation::ComposeHashes(_)
        | Operation::ReadState(_)
        | Operation::HostAddresses(_)
        | Operation::TaskLog(_) => false,
    }
}

pub fn is_privileged(operation: &Operation) -> bool {
    !matches!(
        operation,
        Operation::ReadState(_) | Operation::HostAddresses(_)
    )
}

/// Runs an operation whose input has arrived, or half of it.
pub async fn run(
    task: &HostTask,
    operation: &Operation,
    is_complete: bool,
) -> Result<HostAnswer, OperationError> {
    task.step("started").await;
    if let Operation::Place(request) = operation {
        return place::place(task, request, is_complete)
            .await
            .map(HostAnswer::Place);
    }
    if !is_complete {
        // A script that ends early calls none of its functions.
        return Err(failed(2, "sh: Syntax error: end of file unexpected"));
    }
    Ok(match operation {
        Operation::Observe(request) => {
            HostAnswer::Observe(Box::new(observe::observe(task, request).await))
        }
        Operation::Place(_) => HostAnswer::Place(()),
        Operation::Install(request) => HostAnswer::Install(install::install(task, request).await?),
        Operation::StartUnit(request) => {
            HostAnswer::StartUnit(units::start(task, &request.unit).await?)
        }
        Operation::RemoveUnit(request) => {
            HostAnswer::RemoveUnit(units::remove(task, &request.unit).await?)
        }
        Operation::RemoveFile(request) => {
            let removed = task.disk().remove_file(&request.path);
            removed.map_err(|error| refused("rm: cannot remove", &request.path, error))?;
            task.note(format!("removed {}", request.path));
            HostAnswer::RemoveFile(())
        }
        Operation::MoveAside(request) => HostAnswer::MoveAside(rename_dirs(task, request).await?),
        Operation::ComposeHashes(_) => {
            let state = task.machine.state();
            let has_compose = state.facts.compose_version.is_some();
            let is_asked = has_compose && task.disk().is_dir("/etc/toots");
            let hashes = is_asked.then(|| state.compose_hashes.clone());
            HostAnswer::ComposeHashes(hashes.unwrap_or_default())
        }
        Operation::ReadState(request) => HostAnswer::ReadState(read_state(task, request)?),
        Operation::HostAddresses(_) => HostAnswer::HostAddresses(addresses(task)),
        Operation::TaskLog(request) => HostAnswer::TaskLog(task_log(task, &request.task)),
    })
}

fn addresses(task: &HostTask) -> BTreeSet<IpAddr> {
    let machine = &task.machine;
    let held = machine.network.held(machine.address).into_iter();
    let held: Vec<IpAddr> = held.map(IpAddr::V4).collect();
    let state = machine.state();
    let own = state.facts.nics.values().flatten().copied();
    own.chain(held).collect()
}

fn read_state(task: &HostTask, request: &ReadState) -> Result<ServiceState, OperationError> {
    let path = &request.path;
    let user = task.machine.state().user();
    let mut record = match task.machine.files().node(path) {
        None => {
            let below_file = path.match_indices('/').skip(1);
            let mut above = below_file.map(|(at, _)| &path[..at]);
            let error = if above.any(|above| task.disk().is_file(above)) {
                Errno::NotDir
            } else {
                Errno::Missing
            };
            return Err(failed(1, format!("cat: {path}: {}", error.text())));
        }
        Some(Node::Dir { .. }) => {
            return Err(failed(1, format!("cat: {path}: Is a directory")));
        }
        Some(Node::File { mode, owner, .. })
            if user.uid != 0 && mode & 0o004 == 0 && (owner != user.uid || mode & 0o400 == 0) =>
        {
            return Err(failed(1, format!("cat: {path}: Permission denied")));
        }
        Some(Node::File { bytes, .. }) => bytes,
    };
    let now = task.machine.now();
    // The time must stand in a line of its own.
    if record.pop() == Some(b'\n') {
        let whole_second = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
        return Ok(ServiceState {
            record,
            now: whole_second,
        });
    }
    let mut output = task.machine.files().read(path).unwrap_or_default();
    output.extend(now.strftime("%Y-%m-%dT%H:%M:%SZ\n").to_string().bytes());
    Err(OperationError::Answer {
        operation: "ReadState",
        output,
    })
}

async fn rename_dirs(
    task: &HostTask,
    request: &MoveAside,
) -> Result<Vec<MovedFolder>, OperationError> {
    let disk = task.disk();
    let renamed = |dir: &str| format!("{dir}{}", request.suffix);
    for dir in &request.dirs {
        if !disk.is_dir(dir) {
            continue;
        }
        if let Err(error) = disk.move_to(dir, &renamed(dir)) {
            for dir in &request.dirs {
                if disk.is_dir(&renamed(dir)) && !disk.exists(dir) {
                    drop(disk.rename(&renamed(dir), dir));
                    task.step(&format!("moved {dir} back")).await;
                }
            }
            return Err(refused("mv: cannot move", dir, error));
        }
        task.note(format!("renamed {dir}"));
        task.step(&format!("renamed {dir}")).await;
    }
    let moved = request.dirs.iter().map(|dir| renamed(dir));
    let moved = moved.filter(|path| disk.is_dir(path));
    Ok(moved
        .map(|path| MovedFolder {
            kib: Some(kib(task, &path)),
            path,
        })
        .collect())
}

/// The size of a folder in blocks of 4 KiB.
fn kib(task: &HostTask, dir: &str) -> u64 {
    let files = task.machine.files();
    let blocks = files.below(dir).into_iter().map(|path| {
        let length = files.read(&path).map_or(4_096, |bytes| bytes.len());
        length.div_ceil(4_096) as u64
    });
    blocks.sum::<u64>() * 4
}

fn task_log(task: &HostTask, id: &str) -> String {
    let mut text = String::new();
    for name in ["stdout", "stderr"] {
        for path in task.machine.files().below(TASKS.trim_end_matches('/')) {
            let rest = path.strip_prefix(TASKS).unwrap_or_default();
            let parts: Vec<&str> = rest.split('/').collect();
            let [
                _,
                "frameworks",
                _,
                "executors",
                executor,
                "runs",
                "latest",
                file,
            ] = parts[..]
            else {
                continue;
            };
            if executor == id && file == name {
                let content = task.machine.files().text(&path).unwrap_or_default();
                text += tail(&content);
            }
        }
    }
    text
}

/// The last lines of a text.
fn tail(text: &str) -> &str {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let ends: Vec<usize> = body.rmatch_indices('\n').map(|(at, _)| at).collect();
    let from = ends.get(TAIL_LINES - 1).map_or(0, |at| at + 1);
    let mut from = from.max(text.len().saturating_sub(TAIL_BYTES));
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
