//! A command and the ways in which it ends.

use std::time::Duration;

use bytes::Bytes;
use russh::ChannelMsg;

use crate::spec::quote;
use crate::transport::handler::shown;
use crate::transport::{ExecOutput, TransportError};

/// A command's input and the limit of its output.
pub(in crate::transport) struct CommandTask {
    pub(in crate::transport) command: String,
    pub(in crate::transport) stdin: Bytes,
    /// Bytes per stream.
    pub(in crate::transport) max_output: usize,
}

/// What the caller of a command gets.
pub(in crate::transport) type ExecAnswer = Result<ExecOutput, TransportError>;

/// The signal that a shell means by a status. A shell does not tell a command that was killed from
/// one that exited with such a status, and neither is a result.
pub(in crate::transport) fn signal_of(status: u32) -> Option<&'static str> {
    Some(match status.checked_sub(128)? {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return None,
    })
}

/// The command with a limit of its own on the host: a command of root cannot be ended over SSH, and
/// would otherwise hold its shell for ever. A host without `timeout` goes without.
pub(in crate::transport) fn limit_on_host(command: &str, limit: Duration) -> String {
    // Later than the limit here, whose error says more.
    let secs = limit.as_secs() + 2;
    format!(
        "set -- sh -c {}
command -v timeout >/dev/null 2>&1 && set -- timeout -k 5 {secs} \"$@\"
exec \"$@\"",
        quote(command)
    )
}

/// How the end of a command was announced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::transport) struct Ending {
    status: Option<u32>,
    fault: Option<String>,
    closed: bool,
}

impl Ending {
    /// Records a message about the end.
    pub(in crate::transport) fn note(&mut self, message: &ChannelMsg) {
        match message {
            ChannelMsg::ExitStatus { exit_status } if self.status.is_none() => {
                self.status = Some(*exit_status)
            }
            // A status that is announced twice proves nothing.
            ChannelMsg::ExitStatus { .. } => {
                self.fault = Some("the host sent two exit statuses".to_owned())
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
                self.fault = Some(format!("killed by signal {name}{more}"));
            }
            ChannelMsg::Failure => {
                self.fault = Some("the host refused to run the command".to_owned())
            }
            ChannelMsg::Close => self.closed = true,
            _ => {}
        }
    }

    /// The exit status; never assumed.
    pub(in crate::transport) fn status(
        self,
        lost: impl FnOnce() -> String,
    ) -> Result<u32, TransportError> {
        match (self.fault, self.status) {
            (Some(fault), _) => Err(TransportError::Command(fault)),
            (None, Some(status)) => Ok(status),
            (None, None) if self.closed => {
                Err(TransportError::Command("no exit status".to_owned()))
            }
            (None, None) => Err(TransportError::Lost(lost())),
        }
    }

    /// Whether the program has ended, though others may keep its channel open.
    pub(in crate::transport) fn is_announced(&self) -> bool {
        self.status.is_some() || self.fault.is_some() || self.closed
    }

    pub(in crate::transport) fn over(&self) -> bool {
        self.closed || matches!(&self.fault, Some(f) if f.starts_with("the host refused"))
    }
}

#[cfg(test)]
mod tests {
    use russh::Sig;

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
    fn signal_statuses_are_named() {
        assert_eq!(signal_of(137), Some("KILL"));
        for status in [0, 1, 9, 124, 127, 128, 213, 255] {
            assert_eq!(signal_of(status), None, "{status}");
        }
    }

    #[test]
    fn only_a_single_status_counts() {
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
