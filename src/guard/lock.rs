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
use tokio::task::JoinHandle;

use crate::spec::quote;
use crate::transport::{BoxStream, Session, Target, TransportError};

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
    watch: JoinHandle<()>,
    release: Option<oneshot::Sender<()>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Where and how a lock is kept.
struct Terms<'a> {
    folder: &'a str,
    /// Pause between two signs of life.
    interval: Duration,
    /// The other end is dead after this long without one.
    limit: Duration,
    /// Name of the host's process that serves the connection.
    server: &'a str,
}

impl Terms<'static> {
    /// A folder that only root can write: in `/run/lock`, which everyone can write, another user
    /// could place a link.
    const USUAL: Self = Self {
        folder: "/run/toots",
        interval: Duration::from_secs(15),
        limit: Duration::from_secs(90),
        server: "sshd",
    };
}

/// Prints the holder's line from the lock file, which only the holder writes.
const SCRIPT: &str = r#"set -u
command -v flock >/dev/null || { echo "no flock"; exit 0; }
dir=$2
# In a subshell first: a failed redirection of exec ends the shell without a word.
mkdir -p "$dir" 2>/dev/null && chmod 700 "$dir" && ( : >>"$dir/lock" ) 2>/dev/null || { echo "cannot write $dir/lock"; exit 0; }
exec 9>>"$dir/lock"
if ! flock -n 9; then
  # A connection of this very run that the host does not know to be dead yet.
  case $(head -n 1 "$dir/lock") in "$1 since "*) kill "$(sed -n 2p "$dir/lock")" 2>/dev/null; flock -w 5 9 && again=y;; esac
  if [ -z "${again-}" ]; then echo "held $(head -n 1 "$dir/lock" | head -c 500 | tr -cd '[:print:]')"; exit 0; fi
fi
printf '%s since %s\n%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" $$ > "$dir/lock"
echo locked
# Only this shell holds the lock, so that ending it is enough. A byte is answered by a line. dd reads
# no byte too many: the end of the input is a byte as well.
if timeout 9 true 2>/dev/null; then
  while
    byte=$(timeout "$3" dd bs=1 count=1 2>/dev/null 9>&-)
    code=$?
    [ "$byte" = . ]
  do echo .; done
  if [ "$code" -ne 0 ]; then
    # Silence, not the end of the connection: the process that serves it must end first.
    p=$$
    while [ "$p" -gt 1 ] && p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null) && [ -n "$p" ]; do
      case $(cat "/proc/$p/comm" 2>/dev/null) in "$4"*) kill "$p" 2>/dev/null; break ;; esac
    done
  fi
else
  while byte=$(dd bs=1 count=1 2>/dev/null 9>&-); [ "$byte" = . ]; do echo .; done
fi
( : > "$dir/lock" ) 2>/dev/null
# Before the output ends, which the run waits for.
exec 9>&-"#;

const LOCK_LIMIT: Duration = Duration::from_secs(15);
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

impl Lock {
    /// Takes a host's lock.
    ///
    /// # Errors
    /// When another run holds it, the host has no `flock`, or the connection fails.
    pub async fn acquire(session: &Arc<dyn Session>, owner: &Owner) -> Result<Self, LockError> {
        Self::acquire_on(session, owner, &Terms::USUAL).await
    }

    async fn acquire_on(
        session: &Arc<dyn Session>,
        owner: &Owner,
        terms: &Terms<'_>,
    ) -> Result<Self, LockError> {
        let text = format!(
            "{}: toots {} (run {})",
            owner.who, owner.command, owner.run_id
        );
        let command = format!(
            "sh -c {} toots {} {} {} {}",
            quote(SCRIPT),
            quote(&text),
            quote(terms.folder),
            terms.limit.as_secs(),
            quote(terms.server)
        );
        let mut stream = session
            .open(Target::Companion {
                command,
                privileged: true,
            })
            .await?;
        let mut answer = Vec::new();
        let read = async {
            let mut byte = [0u8; 1];
            while answer.len() < 1024 && stream.read(&mut byte).await? == 1 && byte[0] != b'\n' {
                answer.push(byte[0]);
            }
            std::io::Result::Ok(())
        };
        match tokio::time::timeout(LOCK_LIMIT, read).await {
            Err(_) => return Err(LockError::Host("no answer".into())),
            Ok(Err(error)) => return Err(LockError::Host(crate::spec::shown(&error.to_string()))),
            Ok(Ok(())) => {}
        }
        let answer = crate::spec::shown(&String::from_utf8_lossy(&answer));
        match answer.as_str() {
            "locked" => Ok(Self::watched(Arc::clone(session), stream, terms)),
            "no flock" => Err(LockError::Host(
                "flock is missing; install util-linux".into(),
            )),
            "" => Err(LockError::Host(
                "the lock command ended without an answer".into(),
            )),
            other if other.starts_with("cannot write ") => Err(LockError::Host(other.to_owned())),
            other => match other.strip_prefix("held") {
                Some(holder) => {
                    let holder = holder.trim();
                    Err(LockError::Held {
                        holder: if holder.is_empty() {
                            "a run that just started".into()
                        } else {
                            holder.to_owned()
                        },
                    })
                }
                None => Err(LockError::Host(format!("unexpected answer {other:?}"))),
            },
        }
    }

    /// Starts the exchange of signs of life.
    fn watched(session: Arc<dyn Session>, mut stream: BoxStream, terms: &Terms<'_>) -> Self {
        let (release, released) = oneshot::channel();
        let (interval, limit) = (terms.interval, terms.limit);
        let watch = tokio::spawn(async move {
            tokio::select! {
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
            drop((&mut self.watch).await);
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
    use std::process::Stdio;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::process::Command;

    use super::*;
    use crate::spec::HostName;
    use crate::transport::{Cost, Exec, ExecOutput};

    /// Runs commands on this machine. Dropping a stream closes its standard input, as a closed
    /// channel does.
    struct Local {
        host: HostName,
        path: Option<String>,
        closed: AtomicBool,
    }

    #[async_trait::async_trait]
    impl Session for Local {
        fn host(&self) -> &HostName {
            &self.host
        }

        async fn exec(&self, _: Exec) -> Result<ExecOutput, TransportError> {
            Err(TransportError::Command(
                "only streams are expected here".into(),
            ))
        }

        async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
            let Target::Companion { command, .. } = target else {
                return Err(TransportError::Settings("unexpected".into()));
            };
            let mut shell = Command::new("/bin/sh");
            shell
                .args(["-c", &command])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            if let Some(path) = &self.path {
                shell.env("PATH", path);
            }
            let mut child = shell.spawn().unwrap();
            let stream = tokio::io::join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
            tokio::spawn(async move { child.wait().await });
            Ok(Box::new(stream))
        }

        fn closed(&self) -> bool {
            self.closed.load(Ordering::SeqCst)
        }

        fn cost(&self) -> Cost {
            Cost::default()
        }

        async fn close(&self) {
            self.closed.store(true, Ordering::SeqCst);
        }
    }

    fn local(path: Option<String>) -> Arc<dyn Session> {
        Arc::new(Local {
            host: HostName::new("m1").unwrap(),
            path,
            closed: AtomicBool::new(false),
        })
    }

    async fn take(folder: &Path, path: Option<String>, run_id: &str) -> Result<Lock, LockError> {
        let session = local(path);
        Lock::acquire_on(
            &session,
            &owner(run_id),
            &terms(folder, Terms::USUAL.interval),
        )
        .await
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

    /// No process is named like this: the tests end no connection of the machine they run on.
    fn terms(folder: &Path, interval: Duration) -> Terms<'_> {
        Terms {
            folder: folder.to_str().unwrap(),
            interval,
            limit: Duration::from_secs(2),
            server: "no-such-server",
        }
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
        let often = terms(dir.path(), Duration::from_millis(100));
        let alive = Lock::acquire_on(&local(None), &owner("r1"), &often)
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
        let session = local(None);
        let often = terms(dir.path(), Duration::from_millis(100));
        let _lock = Lock::acquire_on(&session, &owner("r1"), &often)
            .await
            .unwrap();
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
