//! The program that a connection's shell runs, and the events in its output.
//!
//! Owns: the text of the program and the protocol with it. Must not know who asks. To add a
//! request: a letter in [`PROGRAM`] and a function here that writes its line.
//!
//! A command writes straight to the channel, so that its output needs neither a temporary file nor
//! an encoding and is never held as a whole on the host. Events stand between the bytes of
//! commands: a mark that no command knows, a letter, a text and a newline. The mark is sent on
//! standard input, because arguments are visible to everyone on the host. Lengths before the
//! output, the usual frame, would need the whole output first.

use rand::distr::{Alphanumeric, SampleString as _};

use super::launch::one_line;
use crate::transport::TransportError;

/// Longer texts of events come from no shell of toots, in bytes.
const MAX_EVENT_BYTES: usize = 8 * 1024;

/// Reads requests and starts commands in the background, so that it can always read the next
/// request. Beside it waits a second process that runs the companion, whose input is a pipe from
/// the first one: the companion ends with it.
///
/// Requests, one per line: `rN` runs the command in the next N bytes, its line and then its input;
/// `kPID` ends it; `tTEXT` and `lTEXT` send the companion a text, without and with a newline.
/// Events: `s` and the process of the command that started, `i` when its bytes are read, `e` and
/// its status at its end, on both streams; `h` and a line of the companion, `z` at its end.
///
/// Redirections that last are made with `exec`: dash keeps a copy of what it restores, and a copy
/// of the pipe would keep the companion alive. `cat` reads what a command left unread, so that
/// `head` counts on.
const PROGRAM: &str = r#"run() {
  sh -c 'IFS= read -r l && eval "$l"' <&5 5<&- &
  p=$!
  printf '%ss%s\n' "$m" "$p"
  wait "$p"
  s=$?
  cat <&5 >/dev/null
  printf '%se\n' "$m" >&2
  printf '%se%s\n' "$m" "$s"
}
exec 3>&1
{
  exec 8>&1 >&3 3>&-
  while IFS= read -r o; do
    case $o in
    r*) head -c "${o#r}" | { exec 5<&0 8>&-; run & }
      printf '%si\n' "$m" ;;
    k*) kill "${o#k}" 2>/dev/null ;;
    t*) printf %s "${o#t}" >&8 ;;
    l*) printf '%s\n' "${o#l}" >&8 ;;
    esac
  done
} | while IFS= read -r o; do
  case $o in
  "$m"*) eval "${o#"$m"}" 2>/dev/null 3>&- | while IFS= read -r o; do printf '%sh%s\n' "$m" "$o"; done
    printf '%sz\n' "$m" ;;
  esac
done"#;

/// The program with its mark.
pub(super) struct ShellProgram {
    pub(super) text: String,
    pub(super) mark: String,
}

impl ShellProgram {
    pub(super) fn new() -> Self {
        let mark = format!("toots-{}", Alphanumeric.sample_string(&mut rand::rng(), 24));
        Self {
            text: format!("m={mark}\n{PROGRAM}"),
            mark,
        }
    }

    /// Runs a command. The bytes of its input follow.
    pub(super) fn run(command: &str, stdin_bytes: usize) -> String {
        let line = one_line(command);
        format!("r{}\n{line}\n", line.len() + 1 + stdin_bytes)
    }

    /// Ends a command.
    pub(super) fn kill(pid: u32) -> String {
        format!("k{pid}\n")
    }

    /// Starts the companion. The empty line ends what a former one left unread.
    pub(super) fn start_companion(&self, command: &str) -> String {
        format!("l\nl{}{}\n", self.mark, one_line(command))
    }

    /// Sends text to the companion's input.
    pub(super) fn companion_input(text: &str) -> String {
        text.split_inclusive('\n')
            .map(|piece| match piece.strip_suffix('\n') {
                Some(line) => format!("l{line}\n"),
                None => format!("t{piece}\n"),
            })
            .collect()
    }
}

/// What a stream of the shell says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Output of the command.
    Output(Vec<u8>),
    Event(ShellEvent),
}

/// A line of the shell's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ShellEvent {
    Started(u32),
    InputRead,
    /// The status is announced on standard output only.
    Finished(Option<u32>),
    Companion(Vec<u8>),
    CompanionEnded,
}

impl ShellEvent {
    fn parse(line: &[u8]) -> Result<Self, TransportError> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
        let event = match line {
            [b's', pid @ ..] => number(pid).filter(|pid| *pid > 1).map(Self::Started),
            [b'i'] => Some(Self::InputRead),
            [b'e'] => Some(Self::Finished(None)),
            [b'e', status @ ..] => number(status).map(|status| Self::Finished(Some(status))),
            [b'h', text @ ..] => Some(Self::Companion(text.to_vec())),
            [b'z'] => Some(Self::CompanionEnded),
            _ => None,
        };
        event.ok_or_else(|| TransportError::Command("the host's shell sent no valid event".into()))
    }
}

/// Separates one stream of the shell into output and events.
#[derive(Debug)]
pub(super) struct EventFilter {
    mark: Vec<u8>,
    held: Vec<u8>,
}

impl EventFilter {
    pub(super) fn new(mark: &str) -> Self {
        Self {
            mark: mark.as_bytes().to_vec(),
            held: Vec::new(),
        }
    }

    /// The pieces that are complete. What may be the beginning of an event is held back.
    pub(super) fn feed(&mut self, data: &[u8]) -> Result<Vec<Piece>, TransportError> {
        self.held.extend_from_slice(data);
        let mut pieces = Vec::new();
        loop {
            let at = self.find_mark();
            if at > 0 {
                let rest = self.held.split_off(at);
                pieces.push(Piece::Output(std::mem::replace(&mut self.held, rest)));
            }
            let Some(text) = self.held.strip_prefix(self.mark.as_slice()) else {
                return Ok(pieces);
            };
            match text.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    pieces.push(Piece::Event(ShellEvent::parse(&text[..end])?));
                    self.held.drain(..self.mark.len() + end + 1);
                }
                None if text.len() > MAX_EVENT_BYTES => {
                    return ShellEvent::parse(b"").map(|_| pieces);
                }
                None => return Ok(pieces),
            }
        }
    }

    /// Where the mark, or what may become it, begins; the length when there is none.
    fn find_mark(&self) -> usize {
        let mut from = 0;
        while let Some(at) = self.held[from..].iter().position(|b| *b == self.mark[0]) {
            let rest = &self.held[from + at..];
            if rest.starts_with(&self.mark) || self.mark.starts_with(rest) {
                return from + at;
            }
            from += at + 1;
        }
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(bytes: &[u8]) -> Piece {
        Piece::Output(bytes.to_vec())
    }

    #[test]
    fn events_are_found_wherever_the_stream_is_cut() {
        let text = b"a toots-to\x00toots-xs42\n\xff\ntoots-xetoots-xi\ntoots-xh.\ntoots-xz\n";
        assert!(EventFilter::new("toots-x").feed(text).is_err(), "no status");
        let text = b"a toots-to\x00toots-xs42\n\xff\ntoots-xe7\ntoots-xi\ntoots-xh.\ntoots-xz\nend";
        for size in 1..text.len() {
            let mut filter = EventFilter::new("toots-x");
            let mut bytes = Vec::new();
            let mut events = Vec::new();
            for chunk in text.chunks(size) {
                for piece in filter.feed(chunk).unwrap() {
                    match piece {
                        Piece::Output(more) => bytes.extend(more),
                        Piece::Event(event) => events.push((bytes.len(), event)),
                    }
                }
            }
            assert_eq!(bytes, b"a toots-to\x00\xff\nend");
            assert_eq!(
                events,
                [
                    (11, ShellEvent::Started(42)),
                    (13, ShellEvent::Finished(Some(7))),
                    (13, ShellEvent::InputRead),
                    (13, ShellEvent::Companion(b".".to_vec())),
                    (13, ShellEvent::CompanionEnded),
                ]
            );
        }
    }

    #[test]
    fn events_that_no_shell_sends_are_errors() {
        for line in ["", "s", "s1", "s-3", "e-1", "e99999999999", "x", "i2"] {
            let fed = EventFilter::new("toots-x").feed(format!("toots-x{line}\n").as_bytes());
            assert!(fed.is_err(), "{line}");
        }
        let endless = [b"toots-x".to_vec(), vec![b'h'; 2 * MAX_EVENT_BYTES]].concat();
        assert!(EventFilter::new("toots-x").feed(&endless).is_err());
        let mut filter = EventFilter::new("toots-x");
        assert_eq!(filter.feed(b"ab t").unwrap(), [output(b"ab ")]);
        assert_eq!(filter.feed(b"wo").unwrap(), [output(b"two")]);
    }

    #[test]
    fn lengths_count_the_line_and_the_input() {
        assert_eq!(ShellProgram::run("id", 3), "r6\nid\n");
        assert_eq!(ShellProgram::companion_input("pw\n."), "lpw\nt.\n");
    }
}
