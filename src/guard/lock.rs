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
mkdir -p /run/toots && chmod 700 /run/toots
exec 9>>/run/toots/lock
if ! flock -n 9; then echo "held $(head -c 500 /run/toots/lock | tr -cd '[:print:]')"; exit 0; fi
printf '%s since %s' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" > /run/toots/lock
echo locked
cat >/dev/null
: > /run/toots/lock"#;

const DEADLINE: Duration = Duration::from_secs(15);

impl Lock {
    /// Takes a host's lock, or says who has it.
    ///
    /// # Errors
    /// When another run holds it, the host has no `flock`, or the connection fails.
    pub async fn acquire(session: &Arc<dyn Session>, owner: &Owner) -> Result<Self, LockError> {
        let text = format!("{}: toots {} (run {})", owner.who, owner.command, owner.run_id);
        let command = format!("sh -c {} toots {}", quote(SCRIPT), quote(&text));
        let mut stream = session.open(Target::Command { command, privileged: true }).await?;
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
            "no flock" => Err(LockError::Host("the host has no flock; install util-linux".into())),
            other => match other.strip_prefix("held ") {
                Some(holder) => {
                    Err(LockError::Held { holder: if holder.is_empty() { "a run that just began".into() } else { holder.to_owned() } })
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
