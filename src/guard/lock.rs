//! The lock of a host: an `flock` held by a command on this run's own connection. When the connection ends, in whatever way, the command
//! ends and the lock is free; nothing has to be broken and no clock is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::transport::{BoxStream, Session, Target, TransportError, quote};

/// Who holds a lock, for the one who does not get it.
#[derive(Debug, Clone)]
pub struct Owner {
    /// `user@host`
    pub who: String,
    /// The command.
    pub command: String,
    /// Id of the run.
    pub run_id: String,
}

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("take the lock: it is held by {holder}")]
    Held {
        /// Who, with which command, since when.
        holder: String,
    },
    /// The host cannot lock.
    #[error("take the lock: {0}")]
    Host(String),
    /// The connection failed.
    #[error("take the lock")]
    Transport(#[from] TransportError),
}

/// A held lock; dropping it frees it.
pub struct Lock {
    // The far end waits for the end of this stream.
    _stream: BoxStream,
}

/// The holder's line is read from the lock file itself, which only the holder writes.
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
# Only this shell holds the lock, so that ending it is enough.
cat >/dev/null 9>&-
( : > "$dir/lock" ) 2>/dev/null"#;

/// Of root's own: in `/run/lock`, where everyone may write, another user could lay a link in the way.
const FOLDER: &str = "/run/toots";

const DEADLINE: Duration = Duration::from_secs(15);

impl Lock {
    /// Takes a host's lock, or says who has it.
    ///
    /// # Errors
    /// When another run holds it, the host has no `flock`, or the connection fails.
    pub async fn acquire(session: &Arc<dyn Session>, owner: &Owner) -> Result<Self, LockError> {
        Self::acquire_in(session, owner, FOLDER).await
    }

    async fn acquire_in(
        session: &Arc<dyn Session>,
        owner: &Owner,
        folder: &str,
    ) -> Result<Self, LockError> {
        let text = format!(
            "{}: toots {} (run {})",
            owner.who, owner.command, owner.run_id
        );
        let command = format!(
            "sh -c {} toots {} {}",
            quote(SCRIPT),
            quote(&text),
            quote(folder)
        );
        let mut stream = session
            .open(Target::Command {
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
        match tokio::time::timeout(DEADLINE, read).await {
            Err(_) => return Err(LockError::Host("no answer".into())),
            Ok(Err(error)) => return Err(LockError::Host(crate::spec::shown(&error.to_string()))),
            Ok(Ok(())) => {}
        }
        let answer = crate::spec::shown(&String::from_utf8_lossy(&answer));
        match answer.as_str() {
            "locked" => Ok(Self { _stream: stream }),
            "no flock" => Err(LockError::Host(
                "the host has no flock; install util-linux".into(),
            )),
            "" => Err(LockError::Host(
                "the command ended without an answer".into(),
            )),
            other if other.starts_with("cannot write ") => Err(LockError::Host(other.to_owned())),
            other => match other.strip_prefix("held") {
                Some(holder) => {
                    let holder = holder.trim();
                    Err(LockError::Held {
                        holder: if holder.is_empty() {
                            "a run that just began".into()
                        } else {
                            holder.to_owned()
                        },
                    })
                }
                None => Err(LockError::Host(format!("unexpected answer {other:?}"))),
            },
        }
    }

    /// Frees it in good order.
    pub async fn release(mut self) {
        // An error means that the connection is gone, and the lock with it.
        drop(self._stream.shutdown().await);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;
    use crate::spec::HostName;
    use crate::transport::{Cost, Exec, ExecOutput};

    /// Runs commands on this machine; dropping a stream ends its standard input, as a closed channel does.
    struct Local {
        host: HostName,
        path: Option<String>,
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
            let Target::Command { command, .. } = target else {
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
            false
        }

        fn cost(&self) -> Cost {
            Cost::default()
        }

        async fn close(&self) {}
    }

    async fn take(folder: &Path, path: Option<String>, run_id: &str) -> Result<Lock, LockError> {
        let session: Arc<dyn Session> = Arc::new(Local {
            host: HostName::new("m1").unwrap(),
            path,
        });
        Lock::acquire_in(&session, &owner(run_id), folder.to_str().unwrap()).await
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
    async fn one_holds_the_other_is_told_who_and_the_end_of_the_channel_frees_it() {
        if !has_flock() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("toots");
        let first = take(&folder, None, "r1").await.unwrap();
        let refused = take(&folder, None, "r2").await.err().unwrap().to_string();
        let begin =
            "take the lock: it is held by ann@desk: toots cluster up 'x' $(y) (run r1) since 20";
        assert!(refused.starts_with(begin), "{refused}");
        drop(first);
        // The host's side ends a moment after the channel.
        let mut again = take(&folder, None, "r3").await;
        for _ in 0..100 {
            if again.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            again = take(&folder, None, "r3").await;
        }
        assert!(again.is_ok(), "{:?}", again.err());
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
    async fn words_of_a_dead_holder_keep_nobody_out() {
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
            "take the lock: the host has no flock; install util-linux"
        );
        if has_flock() {
            let error = take(Path::new("/dev/null/toots"), None, "r1")
                .await
                .err()
                .unwrap()
                .to_string();
            assert_eq!(error, "take the lock: cannot write /dev/null/toots/lock");
        }
    }
}
