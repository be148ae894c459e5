//! One command on one session channel, owned by a task of its own until the channel is closed.
//!
//! The protocol library hands data to a channel inside the connection's loop, so a channel that nobody reads would stall all others: the
//! task reads to the end, whatever became of those who wait for the answer.

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client::Msg};
use tokio::sync::oneshot;

use super::{ExecOutput, TransportError, handler::shown};

/// What a command that was given up may still say before it is cut off.
const LINGER_OUTPUT: usize = 1 << 20;

/// What goes to the command, and how much may come back.
pub(super) struct Job {
    pub(super) command: String,
    pub(super) stdin: Bytes,
    /// Per stream.
    pub(super) max_output: usize,
}

/// Collects what comes on a channel.
#[derive(Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ending: Ending,
}

/// How a command's end was announced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    status: Option<u32>,
    fault: Option<String>,
    closed: bool,
}

impl Ending {
    /// Takes note of a message about the end.
    pub(super) fn note(&mut self, message: &ChannelMsg) {
        match message {
            ChannelMsg::ExitStatus { exit_status } if self.status.is_none() => {
                self.status = Some(*exit_status)
            }
            // a status that is announced twice proves nothing
            ChannelMsg::ExitStatus { .. } => {
                self.fault = Some("the host announced two exit statuses".to_owned())
            }
            ChannelMsg::ExitSignal {
                signal_name,
                error_message,
                ..
            } => {
                let name = shown(&format!("{signal_name:?}"));
                let more = if error_message.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", shown(error_message))
                };
                self.fault = Some(format!("it was ended by signal {name}{more}"));
            }
            ChannelMsg::Failure => self.fault = Some("the host refused to run it".to_owned()),
            ChannelMsg::Close => self.closed = true,
            _ => {}
        }
    }

    /// The exit status; never taken for granted.
    pub(super) fn status(self, lost: impl FnOnce() -> String) -> Result<u32, TransportError> {
        match (self.fault, self.status) {
            (Some(fault), _) => Err(TransportError::Command(fault)),
            (None, Some(status)) => Ok(status),
            (None, None) if self.closed => Err(TransportError::Command(
                "it ended without an exit status".to_owned(),
            )),
            (None, None) => Err(TransportError::Lost(lost())),
        }
    }

    pub(super) fn over(&self) -> bool {
        self.closed || matches!(&self.fault, Some(f) if f.starts_with("the host refused"))
    }
}

/// Runs a command. Ends early when `cancel` is dropped by those who wait.
pub(super) async fn run(
    channel: Channel<Msg>,
    job: Job,
    mut cancel: oneshot::Receiver<()>,
    lost: impl FnOnce() -> String + Send,
) -> Result<ExecOutput, TransportError> {
    let (mut read, write) = channel.split();
    if write.exec(true, job.command).await.is_err() {
        return Err(TransportError::Lost(lost()));
    }
    let result = tokio::select! {
        result = talk(&mut read, &write, job.stdin, job.max_output) => result,
        _ = &mut cancel => {
            linger(&mut read, &write).await;
            Err(TransportError::Command("it was given up".to_owned()))
        }
    };
    // of a command that still writes this is the end: it has nobody to write to
    let _ = write.close().await;
    result.and_then(|got| {
        Ok(ExecOutput {
            status: got.ending.status(lost)?,
            stdout: got.stdout,
            stderr: got.stderr,
        })
    })
}

/// Ends a command that nobody waits for. The host keeps its place among the sessions until it really ends, and a command of root cannot be
/// signalled there, so the place is ours no less until the host says that it is over.
async fn linger(read: &mut ChannelReadHalf, write: &ChannelWriteHalf<Msg>) {
    let _ = write.signal(Sig::TERM).await;
    let _ = write.eof().await;
    let mut more = LINGER_OUTPUT;
    let mut ending = Ending::default();
    while let Some(message) = read.wait().await {
        match &message {
            ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }
                if data.len() > more =>
            {
                break;
            }
            ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => more -= data.len(),
            other => ending.note(other),
        }
        if ending.over() {
            break;
        }
    }
}

async fn talk(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    stdin: Bytes,
    max: usize,
) -> Result<Collected, TransportError> {
    let mut got = Collected::default();
    let feed = async {
        if !stdin.is_empty() {
            write.data_bytes(stdin).await?;
        }
        write.eof().await
    };
    tokio::pin!(feed);
    let mut fed = false;
    loop {
        tokio::select! {
            // a command may end without having read its input: that is its affair
            _ = &mut feed, if !fed => fed = true,
            message = read.wait() => {
                let Some(message) = message else { break };
                match &message {
                    ChannelMsg::Data { data } => keep(&mut got.stdout, data, max)?,
                    ChannelMsg::ExtendedData { data, ext: 1 } => keep(&mut got.stderr, data, max)?,
                    other => got.ending.note(other),
                }
                if got.ending.over() {
                    break;
                }
            }
        }
    }
    Ok(got)
}

fn keep(buffer: &mut Vec<u8>, data: &[u8], max: usize) -> Result<(), TransportError> {
    if buffer.len() + data.len() > max {
        return Err(TransportError::Command(format!(
            "its output is longer than {max} bytes; it was ended"
        )));
    }
    buffer.extend_from_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(messages: &[ChannelMsg]) -> Result<u32, TransportError> {
        let mut ending = Ending::default();
        messages.iter().for_each(|m| ending.note(m));
        ending.status(|| "gone".to_owned())
    }

    fn status(exit_status: u32) -> ChannelMsg {
        ChannelMsg::ExitStatus { exit_status }
    }

    #[test]
    fn only_one_clear_status_counts() {
        assert_eq!(ending(&[status(3), ChannelMsg::Close]).unwrap(), 3);
        assert!(matches!(
            ending(&[ChannelMsg::Eof, ChannelMsg::Close]),
            Err(TransportError::Command(_))
        ));
        assert!(matches!(
            ending(&[status(0), status(0), ChannelMsg::Close]),
            Err(TransportError::Command(_))
        ));
        assert!(matches!(
            ending(&[ChannelMsg::Failure, status(0)]),
            Err(TransportError::Command(_))
        ));
        assert!(matches!(ending(&[]), Err(TransportError::Lost(why)) if why == "gone"));
        let signal = ChannelMsg::ExitSignal {
            signal_name: Sig::KILL,
            core_dumped: false,
            error_message: "\x1b[2J".to_owned(),
            lang_tag: String::new(),
        };
        let error = ending(&[signal, ChannelMsg::Close])
            .unwrap_err()
            .to_string();
        assert!(error.contains("KILL") && !error.contains('\x1b'), "{error}");
    }
}
