//! The lock of a host: an `flock` held by a process that the connection's shell starts beside its
//! commands. It needs no channel, because a server may allow only one. When the connection ends, for
//! whatever reason, the process ends and the lock is free: no stale lock can remain.
//!
//! A machine that vanishes ends no connection, and the host would notice after hours. So both ends
//! of the process send signs of life. A host that hears none ends the whole connection before it
//! frees the lock, so that a laptop that slept cannot go on beside another run; a run that hears
//! none closes its session, and takes the lock again on a new one before it changes anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::env::{self, SpawnedTask};
use crate::host::{BoxStream, HoldLock, HostSession, LockAnswer, TransportError};

/// The holder of a lock, as shown to other runs.
#[derive(Debug, Clone)]
pub struct Owner {
    /// `user@host`
    pub who: String,
    pub command: String,
    pub run_id: String,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("lock held by {holder}")]
    Held {
        /// User, command and start time.
        holder: String,
    },
    /// The host cannot lock.
    #[error("cannot take the lock: {0}")]
    Host(String),
    /// The connection failed.
    #[error("cannot take the lock")]
    Transport(#[from] TransportError),
}

/// A held lock; dropping it frees it.
pub struct Lock {
    // The far end waits for the end of the stream that this task owns.
    watch: SpawnedTask<()>,
    release: Option<oneshot::Sender<()>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Pause between two signs of life.
const INTERVAL: Duration = Duration::from_secs(15);
/// The other end is dead after this long without one.
const SILENCE_LIMIT: Duration = Duration::from_secs(90);
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

impl Lock {
    /// Takes a host's lock.
    ///
    /// # Errors
    /// When another run holds it, the host has no `flock`, or the connection fails.
    pub async fn acquire(session: &Arc<dyn HostSession>, owner: &Owner) -> Result<Self, LockError> {
        Self::acquire_within(session, owner, INTERVAL, SILENCE_LIMIT).await
    }

    async fn acquire_within(
        session: &Arc<dyn HostSession>,
        owner: &Owner,
        interval: Duration,
        silence_limit: Duration,
    ) -> Result<Self, LockError> {
        let holder = format!(
            "{}: toots {} (run {})",
            owner.who, owner.command, owner.run_id
        );
        let request = HoldLock {
            holder,
            silence_limit,
        };
        match session.hold_lock(request).await? {
            LockAnswer::Held(stream) => {
                let session = Arc::clone(session);
                Ok(Self::watched(session, stream, interval, silence_limit))
            }
            LockAnswer::Taken { holder } if holder.is_empty() => Err(LockError::Held {
                holder: "a run that just started".into(),
            }),
            LockAnswer::Taken { holder } => Err(LockError::Held { holder }),
            LockAnswer::Failed(why) => Err(LockError::Host(why)),
        }
    }

    /// Starts the exchange of signs of life.
    fn watched(
        session: Arc<dyn HostSession>,
        mut stream: BoxStream,
        interval: Duration,
        limit: Duration,
    ) -> Self {
        let (release, released) = oneshot::channel();
        let watch = env::spawn(async move {
            tokio::select! {
                biased;
                // An error means that the lock was dropped, and its stream with it.
                Ok(()) = released => release_on_host(&mut stream).await,
                () = exchange_signs_of_life(&mut stream, interval, limit) => {
                    tracing::warn!(host = %session.host(), "the lock is lost; closing the connection");
                    session.close().await;
                }
            }
        });
        Self {
            watch,
            release: Some(release),
        }
    }

    /// Frees the lock, and waits until the host has done so: the next run may start at once.
    pub async fn release(mut self) {
        let sent = self.release.take().map(|release| release.send(()));
        // An error means that the connection is gone, and the lock with it.
        if sent == Some(Ok(())) {
            (&mut self.watch).await.unwrap_or(());
        }
    }
}

/// Ends the process that holds the lock. A host that does not confirm it frees the lock when the
/// connection ends.
async fn release_on_host(stream: &mut BoxStream) {
    let freed = async {
        stream.shutdown().await?;
        // A sign of life may still be under way.
        stream.read_to_end(&mut Vec::new()).await
    };
    drop(tokio::time::timeout(RELEASE_LIMIT, freed).await);
}

/// Returns when the other end is dead.
async fn exchange_signs_of_life(stream: &mut BoxStream, interval: Duration, limit: Duration) {
    loop {
        // Nothing comes without being asked for, so that anything read here is the end.
        if tokio::time::timeout(interval, stream.read_u8())
            .await
            .is_ok()
        {
            return;
        }
        let exchange = async {
            stream.write_all(b".").await?;
            stream.flush().await?;
            // A point and the end of its line.
            stream.read_u16().await
        };
        if !matches!(tokio::time::timeout(limit, exchange).await, Ok(Ok(_))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::process::Command;

    use super::*;
    use crate::host::local_host;

    /// This machine, with its lock in a folder of the test. No process is named like the one that
    /// serves the connection: the tests end no connection of the machine they run on.
    fn local(folder: &Path, path: Option<String>) -> Arc<dyn HostSession> {
        Arc::new(local_host(path).with_lock_at(folder.to_str().unwrap(), "no-such-server"))
    }

    async fn acquire(
        session: &Arc<dyn HostSession>,
        run_id: &str,
        interval: Duration,
    ) -> Result<Lock, LockError> {
        Lock::acquire_within(session, &owner(run_id), interval, Duration::from_secs(2)).await
    }

    async fn take(folder: &Path, path: Option<String>, run_id: &str) -> Result<Lock, LockError> {
        acquire(&local(folder, path), run_id, INTERVAL).await
    }

    /// The host frees a lock a moment after its channel closes or its holder fell silent.
    async fn take_when_free(folder: &Path, run_id: &str) -> Lock {
        for _ in 0..200 {
            if let Ok(lock) = take(folder, None, run_id).await {
                return lock;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the lock stays taken");
    }

    fn owner(run_id: &str) -> Owner {
        Owner {
            who: "ann@desk".into(),
            command: "cluster up 'x' $(y)".into(),
            run_id: run_id.into(),
        }
    }

    fn has_flock() -> bool {
        let found = ["/usr/bin/flock", "/bin/flock"]
            .iter()
            .any(|p| Path::new(p).exists());
        if !found {
            println!("skipped: flock is not installed here");
        }
        found
    }

    #[tokio::test]
    async fn lock_is_exclusive_names_its_holder_and_ends_with_the_channel() {
        if !has_flock() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("toots");
        let first = take(&folder, None, "r1").await.unwrap();
        let refused = take(&folder, None, "r2").await.err().unwrap().to_string();
        let begin = "lock held by ann@desk: toots cluster up 'x' $(y) (run r1) since 20";
        assert!(refused.starts_with(begin), "{refused}");
        drop(first);
        take_when_free(&folder, "r3").await;
    }

    #[tokio::test]
    async fn a_run_takes_over_from_its_own_lost_connection() {
        if !has_flock() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let lost = take(dir.path(), None, "r1").await.unwrap();
        let _new = take(dir.path(), None, "r1").await.unwrap();
        assert!(
            take(dir.path(), None, "r2").await.is_err(),
            "the run holds it still"
        );
        drop(lost);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            take(dir.path(), None, "r2").await.is_err(),
            "the end of the old connection frees nothing"
        );
    }

    #[tokio::test]
    async fn silence_frees_the_lock() {
        if !has_flock() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let often = Duration::from_millis(100);
        let alive = acquire(&local(dir.path(), None), "r1", often)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let other = take(dir.path(), None, "r2").await;
        assert!(other.is_err(), "longer than its limit");
        alive.release().await;
        // A machine that vanished: its end of the stream stays open and silent.
        let silent = take_when_free(dir.path(), "r3").await;
        take_when_free(dir.path(), "r4").await;
        drop(silent);
    }

    #[tokio::test]
    async fn a_lost_lock_closes_the_session() {
        if !has_flock() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let session = local(dir.path(), None);
        let often = Duration::from_millis(100);
        let _lock = acquire(&session, "r1", often).await.unwrap();
        let holder = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        let holder = holder.lines().nth(1).unwrap().to_owned();
        assert!(!session.closed());
        let stopped = Command::new("kill").arg(holder).status().await.unwrap();
        assert!(stopped.success());
        for _ in 0..200 {
            if session.closed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the session stays open");
    }

    #[tokio::test]
    async fn stale_holder_text_does_not_block() {
        if !has_flock() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "someone since 1970").unwrap();
        assert!(take(dir.path(), None, "r1").await.is_ok());
    }

    #[tokio::test]
    async fn a_host_that_cannot_lock_says_why() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/sh", dir.path().join("sh")).unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        let error = take(dir.path(), Some(path), "r1")
            .await
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            error,
            "cannot take the lock: flock is missing; install util-linux"
        );
        if has_flock() {
            let error = take(Path::new("/dev/null/toots"), None, "r1")
                .await
                .err()
                .unwrap()
                .to_string();
            assert_eq!(
                error,
                "cannot take the lock: cannot write /dev/null/toots/lock"
            );
        }
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("lock_error", LockError, hints: |_| Vec::new(), {
            LockError::Held { .. } => LockError::Held { holder: "ann@desk: toots cluster up (run r1) since 2026-11-26T10:00:00Z".into() },
            LockError::Host(_) => LockError::Host("flock is missing; install util-linux".into()),
            LockError::Transport(_) => LockError::Transport(TransportError::Lost("closed by the host".into())),
        });
    }
}
