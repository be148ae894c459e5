//! Sequences of operations, drawn from a seed, that a real host and a simulated one must answer alike,
//! and after which the same files must be there.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use toots::host::{
    BoxStream, HoldLock, HostAddresses, HostSession, LockAnswer, MoveAside, OperationError, Place,
    ReadState, RemoveFile, TypedOperation,
};
use toots::spec::{DirSpec, FileSpec, Placement};

use crate::random::Random;

const STEPS: usize = 12;
const LIMIT: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(3600);
/// Long enough for what comes at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The folders that a sequence changes, besides the file of hosts.
pub const ROOTS: [&str; 3] = ["/etc/toots", "/run/toots", "/srv/w"];

/// Some are folders, some files, and some the one after the other.
const PATHS: [&str; 9] = [
    "/etc/toots/a",
    "/etc/toots/d/b",
    "/srv/w/c",
    "/srv/w/d",
    "/srv/w/d/e",
    "/srv/w/data",
    "/srv/w/data/f",
    "/srv/w/data.old",
    "/srv/w/new/deep/g",
];
const DIRS: [&str; 5] = [
    "/etc/toots/d",
    "/srv/w/d",
    "/srv/w/data",
    "/srv/w/d.old",
    "/srv/w/far/away",
];
const CONTENTS: [&str; 6] = [
    "",
    "no end",
    "one\n",
    "one\ntwo\n",
    "# toots begin\n",
    "\n\n",
];
const FILE_MODES: [u32; 4] = [0o644, 0o600, 0o640, 0o755];
const DIR_MODES: [u32; 3] = [0o755, 0o700, 0o2775];
const OWNERS: [(u32, u32); 3] = [(0, 0), (1000, 7), (7, 1000)];

/// A host with two sessions to it, and a way to read its files.
pub trait ComparedHost {
    fn session(&self, second: bool) -> &Arc<dyn HostSession>;

    /// A line for each path: kind, mode, owner and group, path, and content.
    async fn files(&self) -> Vec<String>;
}

enum Call {
    Place(Place),
    Remove(RemoveFile),
    MoveAside(MoveAside),
    Read(ReadState),
    Addresses,
    /// Which session asks, and as which run.
    Lock(bool, &'static str),
    Beat(bool),
    Free(bool),
}

fn draw_file(random: &mut Random) -> FileSpec {
    let (uid, gid) = *random.choose(&OWNERS);
    FileSpec {
        path: (*random.choose(&PATHS)).to_owned(),
        mode: *random.choose(&FILE_MODES),
        uid,
        gid,
        content: random.choose(&CONTENTS).as_bytes().to_owned(),
        secret: false,
        place: Placement::Always,
    }
}

fn draw_place(random: &mut Random) -> Place {
    let mut files: Vec<FileSpec> = Vec::new();
    for _ in 0..random.below(4) {
        let file = draw_file(random);
        // One archive names no path twice.
        if files.iter().all(|other| other.path != file.path) {
            files.push(file);
        }
    }
    let dirs = (0..random.below(3)).map(|_| {
        let (uid, gid) = *random.choose(&OWNERS);
        DirSpec {
            path: (*random.choose(&DIRS)).to_owned(),
            mode: *random.choose(&DIR_MODES),
            uid,
            gid,
        }
    });
    let dirs = dirs.collect();
    let hosts_entries = (random.below(4) == 0).then(|| {
        let entry = |n| (format!("10.0.0.{n}"), format!("m{n}"));
        (0..random.below(3)).map(entry).collect()
    });
    Place {
        dirs,
        files,
        hosts_entries,
        deadline: LIMIT,
    }
}

fn draw(random: &mut Random) -> Call {
    let deadline = LIMIT;
    let second = random.below(2) == 0;
    match random.below(16) {
        0..=5 => Call::Place(draw_place(random)),
        6 => Call::Remove(RemoveFile {
            path: (*random.choose(&PATHS)).to_owned(),
            deadline,
        }),
        7 | 8 => {
            let dirs = (0..=random.below(2)).map(|_| (*random.choose(&DIRS)).to_owned());
            Call::MoveAside(MoveAside {
                dirs: dirs.collect(),
                suffix: ".old".to_owned(),
                deadline,
            })
        }
        9 | 10 => Call::Read(ReadState {
            path: (*random.choose(&PATHS)).to_owned(),
            deadline,
        }),
        11 => Call::Addresses,
        12 | 13 => Call::Lock(second, random.choose::<&str>(&["ann", "ben"])),
        14 => Call::Beat(second),
        _ => Call::Free(second),
    }
}

fn session_name(second: bool) -> &'static str {
    if second { "second" } else { "first" }
}

fn words(call: &Call) -> String {
    match call {
        Call::Place(place) => {
            let dirs = place.dirs.iter();
            let dirs = dirs.map(|dir| format!(" {}:{:o}:{}", dir.path, dir.mode, dir.uid));
            let files = place.files.iter();
            let files = files.map(|file| {
                let content = String::from_utf8_lossy(&file.content).into_owned();
                format!(" {}={content:?}:{:o}:{}", file.path, file.mode, file.uid)
            });
            let hosts = place.hosts_entries.as_ref();
            let hosts = hosts.map(|entries| format!(" hosts:{}", entries.len()));
            let parts: String = dirs.chain(files).chain(hosts).collect();
            format!("place{parts}")
        }
        Call::Remove(request) => format!("remove {}", request.path),
        Call::MoveAside(request) => format!("move aside {}", request.dirs.join(" ")),
        Call::Read(request) => format!("read {}", request.path),
        Call::Addresses => "addresses".to_owned(),
        Call::Lock(second, run) => format!("{} locks as {run}", session_name(*second)),
        Call::Beat(second) => format!("{} shows life", session_name(*second)),
        Call::Free(second) => format!("{} frees", session_name(*second)),
    }
}

/// Why a program failed, without its name and its way to quote.
fn reason(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.trim_end().lines().last().unwrap_or_default();
    if line.contains("cannot overwrite non-directory") {
        return "Not a directory".to_owned();
    }
    line.rsplit(": ").next().unwrap_or_default().to_owned()
}

async fn perform<O: TypedOperation>(
    session: &Arc<dyn HostSession>,
    operation: O,
    show: impl FnOnce(O::Answer) -> String,
) -> String {
    match session.perform(operation).await {
        Ok(answer) => show(answer),
        Err(OperationError::Failed { status, stderr, .. }) => {
            format!("failed {status} {}", reason(&stderr))
        }
        Err(error) => format!("error: {error}"),
    }
}

/// The lock's text without what differs in each life: the time, and the process.
pub fn without_time(text: &str) -> String {
    match text.split_once(" since 2") {
        Some((holder, rest)) if rest.contains('\n') => format!("{holder} since T\nP\n"),
        Some((holder, _)) => format!("{holder} since T"),
        None => text.to_owned(),
    }
}

async fn lock(session: &Arc<dyn HostSession>, run: &str, held: &mut Option<BoxStream>) -> String {
    let request = HoldLock {
        holder: run.to_owned(),
        silence_limit: SILENCE,
    };
    // A session has one companion at most.
    free(held).await;
    match session.hold_lock(request).await {
        Ok(LockAnswer::Held(stream)) => {
            *held = Some(stream);
            "held".to_owned()
        }
        Ok(LockAnswer::Taken { holder }) => format!("taken by {}", without_time(&holder)),
        Ok(LockAnswer::Failed(why)) => format!("failed: {why}"),
        Err(error) => format!("error: {error}"),
    }
}

async fn beat(held: &mut Option<BoxStream>) -> String {
    let Some(stream) = held else {
        return "not held".to_owned();
    };
    let exchange = async {
        stream.write_all(b".").await?;
        stream.flush().await?;
        stream.read_u16().await
    };
    match tokio::time::timeout(AT_ONCE, exchange).await {
        Ok(Ok(answer)) if answer == u16::from_be_bytes(*b".\n") => "alive".to_owned(),
        Ok(Ok(answer)) => format!("answered {answer:x}"),
        Ok(Err(_)) => "lost".to_owned(),
        Err(_) => "silent".to_owned(),
    }
}

/// Frees the lock, and waits until the host has done so.
async fn free(held: &mut Option<BoxStream>) -> String {
    let Some(mut stream) = held.take() else {
        return "not held".to_owned();
    };
    drop(stream.shutdown().await);
    let mut rest = Vec::new();
    match tokio::time::timeout(AT_ONCE, stream.read_to_end(&mut rest)).await {
        Ok(_) => "freed".to_owned(),
        Err(_) => "silent".to_owned(),
    }
}

async fn carry_out(
    host: &impl ComparedHost,
    call: Call,
    held: &mut [Option<BoxStream>; 2],
) -> String {
    let session = host.session(false);
    match call {
        Call::Place(request) => perform(session, request, |()| "done".into()).await,
        Call::Remove(request) => perform(session, request, |()| "done".into()).await,
        Call::MoveAside(request) => {
            let show = |moved: Vec<toots::host::MovedFolder>| {
                let shown = moved.iter().map(|folder| {
                    let size = if folder.kib.is_some() {
                        ""
                    } else {
                        " without size"
                    };
                    format!("{}{size}", folder.path)
                });
                format!("moved {:?}", shown.collect::<Vec<_>>())
            };
            perform(session, request, show).await
        }
        Call::Read(request) => {
            let show = |state: toots::host::ServiceState| {
                format!("{:?}", String::from_utf8_lossy(&state.record))
            };
            perform(session, request, show).await
        }
        Call::Addresses => {
            let request = HostAddresses { deadline: LIMIT };
            perform(session, request, |addresses| format!("{addresses:?}")).await
        }
        Call::Lock(second, run) => {
            lock(host.session(second), run, &mut held[usize::from(second)]).await
        }
        Call::Beat(second) => beat(&mut held[usize::from(second)]).await,
        Call::Free(second) => free(&mut held[usize::from(second)]).await,
    }
}

/// Lives a sequence; returns a line for each call, and one for each file that is there then.
pub async fn live(host: &impl ComparedHost, seed: u64) -> String {
    let mut random = Random::new(seed);
    let mut lines = String::new();
    let mut held = [None, None];
    for _ in 0..STEPS {
        let call = draw(&mut random);
        let words = words(&call);
        let answer = carry_out(host, call, &mut held).await;
        let _ = writeln!(lines, "{words}: {answer}");
    }
    for line in host.files().await {
        let _ = writeln!(lines, "= {line}");
    }
    for stream in &mut held {
        free(stream).await;
    }
    lines
}
