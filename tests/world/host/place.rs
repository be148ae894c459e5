//! Writes files as `place.sh` does: staged beside their targets, synced, renamed.

use std::fmt::Write as _;

use toots::host::{OperationError, Place};
use toots::spec::{DirSpec, FileSpec};

use super::disk::Errno;
use super::task::{HostTask, failed, refused};

const STAGE: &str = "/etc/toots/.stage";
const BLOCK_BEGIN: &str = "# toots begin";
const BLOCK_END: &str = "# toots end";

/// The first path that cannot be sent, because the manifest could misread it.
pub fn unfit_path(request: &Place) -> Option<&str> {
    let dirs = request.dirs.iter().map(|dir| dir.path.as_str());
    let files = request.files.iter().map(|file| file.path.as_str());
    let mut paths = dirs.chain(files);
    paths.find(|path| {
        !path.starts_with('/')
            || path.split('/').any(|part| part == "..")
            || !path.chars().all(|c| c.is_ascii_graphic())
    })
}

fn manifest(request: &Place) -> String {
    let mut lines = String::new();
    for DirSpec {
        path,
        mode,
        uid,
        gid,
    } in &request.dirs
    {
        let _ = writeln!(lines, "d {mode:04o} {uid} {gid} - {path}");
    }
    for (n, file) in request.files.iter().enumerate() {
        let FileSpec {
            path,
            mode,
            uid,
            gid,
            ..
        } = file;
        let _ = writeln!(lines, "f {mode:04o} {uid} {gid} {n} {path}");
    }
    lines
}

fn hosts_block(entries: &[(String, String)]) -> String {
    let lines = entries
        .iter()
        .map(|(address, name)| format!("{address} {name}\n"));
    let lines: String = lines.collect();
    format!("{BLOCK_BEGIN}\n{lines}{BLOCK_END}\n")
}

fn staged(path: &str) -> String {
    format!("{path}.toots-new")
}

/// Places what arrived; of half an archive nothing.
pub async fn place(
    task: &HostTask,
    request: &Place,
    is_complete: bool,
) -> Result<(), OperationError> {
    let mut new = Vec::new();
    let placed = place_staged(task, request, is_complete, &mut new).await;
    for path in new {
        drop(task.disk().remove_file(&path));
    }
    task.disk().remove_tree(STAGE);
    placed
}

async fn place_staged(
    task: &HostTask,
    request: &Place,
    is_complete: bool,
    new: &mut Vec<String>,
) -> Result<(), OperationError> {
    begin(task).await?;
    unpack(task, request, is_complete).await?;
    for dir in &request.dirs {
        make_dir(task, dir)?;
        task.step(&format!("made {}", dir.path)).await;
    }
    for (n, file) in request.files.iter().enumerate() {
        stage(task, n, file, new)?;
        task.step(&format!("staged {}", file.path)).await;
    }
    task.disk().sync(new);
    task.step("synced").await;
    for FileSpec { path, .. } in &request.files {
        let renamed = task.disk().move_to(&staged(path), path);
        renamed.map_err(|error| refused("mv: cannot move to", path, error))?;
        task.note(format!("placed {path}"));
        task.step(&format!("renamed {path}")).await;
    }
    if let Some(entries) = &request.hosts_entries {
        write_hosts(task, entries).await?;
    }
    task.disk().sync_names();
    Ok(())
}

/// Makes the stage, and removes what an earlier attempt left.
async fn begin(task: &HostTask) -> Result<(), OperationError> {
    let disk = task.disk();
    let made = disk.make_dirs("/etc/toots", 0o700);
    made.map_err(|error| refused("mkdir: cannot create directory", "/etc/toots", error))?;
    disk.set_mode("/etc/toots", 0o755);
    let former = disk.files.text(&format!("{STAGE}/manifest"));
    for line in former.unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["f", _, _, _, _, path] = words[..] {
            drop(disk.remove_file(&staged(path)));
        }
    }
    disk.remove_tree(STAGE);
    let made = disk.make_dirs(STAGE, 0o700);
    made.map_err(|error| refused("mkdir: cannot create directory", STAGE, error))?;
    task.step("begun").await;
    Ok(())
}

async fn unpack(task: &HostTask, request: &Place, is_complete: bool) -> Result<(), OperationError> {
    let write = |name: &str, bytes: Vec<u8>| {
        let written = task.disk().write(&format!("{STAGE}/{name}"), bytes, 0o600);
        written.map_err(|error| failed(2, format!("tar: {name}: Cannot write: {}", error.text())))
    };
    for (n, file) in request.files.iter().enumerate() {
        write(&n.to_string(), file.content.clone())?;
    }
    if !is_complete {
        return Err(failed(2, "tar: Unexpected EOF in archive"));
    }
    write("manifest", manifest(request).into_bytes())?;
    if let Some(entries) = &request.hosts_entries {
        write("hosts", hosts_block(entries).into_bytes())?;
    }
    task.step("unpacked").await;
    Ok(())
}

fn make_dir(task: &HostTask, dir: &DirSpec) -> Result<(), OperationError> {
    let disk = task.disk();
    let made = disk.make_dirs(&dir.path, 0o700);
    made.map_err(|error| refused("mkdir: cannot create directory", &dir.path, error))?;
    disk.set_owner(&dir.path, dir.uid, dir.gid);
    disk.set_mode(&dir.path, dir.mode);
    Ok(())
}

fn stage(
    task: &HostTask,
    n: usize,
    file: &FileSpec,
    new: &mut Vec<String>,
) -> Result<(), OperationError> {
    let disk = task.disk();
    let path = &file.path;
    if disk.is_dir(path) {
        return Err(failed(20, format!("{path} is a directory")));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !disk.is_dir(folder) {
        let made = disk.make_dirs(folder, 0o755);
        made.map_err(|error| refused("mkdir: cannot create directory", folder, error))?;
    }
    let new_path = staged(path);
    let removed = disk.remove_file(&new_path);
    removed.map_err(|error| refused("rm: cannot remove", &new_path, error))?;
    new.push(new_path.clone());
    let content = disk.files.read(&format!("{STAGE}/{n}")).unwrap_or_default();
    if let Err(error) = disk.write(&new_path, content, 0o600) {
        if error == Errno::NoSpace {
            // It is made, and stays empty.
            drop(disk.write(&new_path, Vec::new(), 0o600));
        }
        return Err(refused("cp: error writing", &new_path, error));
    }
    disk.set_owner(&new_path, file.uid, file.gid);
    disk.set_mode(&new_path, file.mode);
    Ok(())
}

/// The file with toots' block in place of a former one, at its end.
fn with_block(former: &str, block: &str) -> String {
    let mut is_inside = false;
    let mut text = String::new();
    for line in former.lines() {
        is_inside |= line.starts_with(BLOCK_BEGIN);
        if !is_inside {
            text += line;
            text.push('\n');
        }
        is_inside &= !line.starts_with(BLOCK_END);
    }
    text + block
}

async fn write_hosts(task: &HostTask, entries: &[(String, String)]) -> Result<(), OperationError> {
    const HOSTS: &str = "/etc/hosts";
    let disk = task.disk();
    let full = |error| refused("cp: error writing", HOSTS, error);
    let former = disk.files.text(HOSTS).unwrap_or_default();
    let text = with_block(&former, &hosts_block(entries));
    let new = staged(HOSTS);
    disk.write(&new, text.clone(), 0o644).map_err(full)?;
    disk.set_owner(&new, 0, 0);
    disk.set_mode(&new, 0o644);
    disk.sync(std::slice::from_ref(&new));
    task.step("staged /etc/hosts").await;
    if !task.machine.state().hosts_is_mount {
        return disk.rename(&new, HOSTS).map_err(full);
    }
    drop(disk.remove_file(&new));
    // In place, because the mount cannot be replaced.
    disk.write(HOSTS, Vec::new(), 0o644).map_err(full)?;
    task.step("emptied /etc/hosts").await;
    disk.write(HOSTS, text, 0o644).map_err(full)
}
