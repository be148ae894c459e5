//! The lock of a machine, as `hold_lock.sh` holds it: an `flock` of a process that belongs to a
//! connection, the holder's name in a file, and signs of life.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Notify;
use toots::host::HoldLock;

use super::task::HostTask;

const FOLDER: &str = "/run/toots";
const FILE: &str = "/run/toots/lock";
/// How long a process waits for a former connection of its own run to end.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(5);
/// The longest name that is shown to others.
const MAX_SHOWN_BYTES: usize = 500;

/// Who holds the `flock`.
#[derive(Default)]
pub struct LockTable {
    holder: Mutex<Option<u32>>,
    freed: Notify,
}

impl LockTable {
    fn holder(&self) -> MutexGuard<'_, Option<u32>> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_held(&self) -> bool {
        self.holder().is_some()
    }

    fn try_take(&self, pid: u32) -> bool {
        let mut holder = self.holder();
        let is_free = holder.is_none();
        holder.get_or_insert(pid);
        is_free
    }

    async fn take_within(&self, pid: u32, limit: Duration) -> bool {
        let taken = async {
            while !self.try_take(pid) {
                self.freed.notified().await;
            }
        };
        tokio::time::timeout(limit, taken).await.is_ok()
    }

    fn free(&self, pid: u32) {
        let mut holder = self.holder();
        if *holder == Some(pid) {
            *holder = None;
            drop(holder);
            self.freed.notify_waiters();
        }
    }

    /// Processes and their locks are gone with the power.
    pub fn clear(&self) {
        *self.holder() = None;
    }
}

/// A process that can be killed; dropped, it holds nothing any more.
struct LockProcess<'a> {
    task: &'a HostTask,
    pid: u32,
    killed: Arc<Notify>,
}

impl Drop for LockProcess<'_> {
    fn drop(&mut self) {
        let machine = &self.task.machine;
        let mut killed = machine
            .killed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        killed.remove(&self.pid);
        drop(killed);
        if machine.lock.holder().is_some_and(|pid| pid == self.pid) {
            machine.record.lock_freed(&machine.name);
        }
        machine.lock.free(self.pid);
    }
}

impl<'a> LockProcess<'a> {
    fn start(task: &'a HostTask) -> Self {
        let pid = task.machine.state().new_pid();
        let killed = Arc::new(Notify::new());
        let mut table = task
            .machine
            .killed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        table.insert(pid, Arc::clone(&killed));
        drop(table);
        Self { task, pid, killed }
    }

    fn file_line(&self, n: usize) -> String {
        let text = self.task.machine.files().text(FILE).unwrap_or_default();
        text.lines().nth(n).unwrap_or_default().to_owned()
    }

    /// Takes the lock, or says why not.
    async fn take(&self, request: &HoldLock) -> Result<(), String> {
        let machine = &self.task.machine;
        if machine.state().missing_programs.contains("flock") {
            return Err("no flock".to_owned());
        }
        let disk = &machine.disk;
        let opened = disk.make_dirs(FOLDER, 0o755).and_then(|()| {
            disk.set_mode(FOLDER, 0o700);
            let former = machine.files().read(FILE);
            disk.write(FILE, former.unwrap_or_default(), 0o644)
        });
        opened.map_err(|_| format!("cannot write {FILE}"))?;
        self.task.step("opened").await;
        if machine.lock.try_take(self.pid) {
            return Ok(());
        }
        let holder = self.file_line(0);
        if holder.starts_with(&format!("{} since ", request.holder)) {
            // A connection of this very run that the host does not know to be dead yet.
            self.file_line(1).parse().map(|pid| machine.kill(pid)).ok();
            if machine.lock.take_within(self.pid, TAKEOVER_LIMIT).await {
                return Ok(());
            }
        }
        let shown = holder.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
        let shown: String = shown.take(MAX_SHOWN_BYTES).collect();
        Err(format!("held {shown}"))
    }

    /// Answers signs of life until the input ends or is silent for too long.
    async fn answer(&self, request: &HoldLock, stream: &mut DuplexStream) {
        loop {
            match tokio::time::timeout(request.silence_limit, stream.read_u8()).await {
                Ok(Ok(b'.')) => {
                    if stream.write_all(b".\n").await.is_err() {
                        return;
                    }
                }
                Ok(_) => return,
                Err(_) => {
                    self.task.note("lock silent");
                    self.task.link.close_by_host();
                    return;
                }
            }
        }
    }

    async fn hold(&self, request: &HoldLock, stream: &mut DuplexStream) {
        if let Err(why) = self.take(request).await {
            drop(stream.write_all(format!("{why}\n").as_bytes()).await);
            return;
        }
        let machine = &self.task.machine;
        let by = self.task.link.controller.name();
        machine
            .record
            .lock_taken(&machine.name, by, &request.holder);
        self.task.step("taken").await;
        let since = machine.now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let text = format!("{} since {since}\n{}\n", request.holder, self.pid);
        drop(machine.disk.write(FILE, text, 0o644));
        if stream.write_all(b"locked\n").await.is_ok() {
            self.answer(request, stream).await;
        }
        self.task.step("ends").await;
        drop(machine.disk.write(FILE, Vec::new(), 0o644));
    }
}

/// The process that holds the lock. Its output ends after the lock is free.
pub async fn hold(task: HostTask, request: HoldLock, mut stream: DuplexStream) {
    let process = LockProcess::start(&task);
    let killed = Arc::clone(&process.killed);
    tokio::select! {
        biased;
        () = killed.notified() => {}
        () = process.hold(&request, &mut stream) => {}
    }
    drop(process);
}
