//! A pseudo-terminal with a screen, for tests of what a person sees and types.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A narrow and a wide terminal.
pub const WIDTHS: [u16; 2] = [60, 200];

/// toots on a terminal of its own.
pub struct Terminal {
    run: Child,
    keyboard: std::process::ChildStdin,
    received: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    /// `state` is the folder of logs, and the one in which toots runs. `script` gives the terminal; what follows toots on it tells how it was left.
    pub fn start(state: &Path, width: u16, words: &str) -> Self {
        // Ctrl-C goes to the shell too: with a trap it lives on and tells the exit code.
        let line = format!(
            "trap : INT; stty cols {width} rows 40; '{}' {words}; echo \"code $?\"; stty -a",
            env!("CARGO_BIN_EXE_toots")
        );
        let mut run = Command::new("script")
            .args(["-q", "-c", &line, "/dev/null"])
            .current_dir(state)
            .env("XDG_STATE_HOME", state)
            .env("TERM", "xterm-256color")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, received) = channel();
        let mut output = run.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keyboard: run.stdin.take().unwrap(),
            run,
            received,
            screen: vt100::Parser::new(40, width, 200),
        }
    }

    /// The screen without line breaks, which depend on its width.
    pub fn text(&self) -> String {
        let rows: Vec<String> = self.screen.screen().rows(0, 400).collect();
        rows.concat()
    }

    /// Reads until the screen shows a text.
    pub fn wait_for(&mut self, what: &str) {
        let started = Instant::now();
        while !self.text().contains(what) {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{what:?} is not on the screen:\n{}",
                self.screen.screen().contents()
            );
            self.read_for(Duration::from_millis(50));
        }
    }

    fn read_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if let Ok(bytes) = self.received.recv_timeout(left) {
                self.screen.process(&bytes);
            }
        }
    }

    pub fn enter(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard.write_all(keys.as_ref()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// The question stands alone on the last line, also after the view would have drawn again.
    pub fn assert_question_stays(&mut self, question: &str) {
        self.wait_for(question);
        self.read_for(Duration::from_secs(1));
        let text = self.text();
        let after = text.rsplit(question).next().unwrap_or_default().trim_end();
        // At most the rest of the question.
        let is_last = after.is_empty() || (after.ends_with(':') && after.len() < 50);
        assert!(text.contains(question) && is_last, "{text}");
    }

    /// Waits for the end of toots; the terminal must show what is typed again, and not the secret.
    pub fn finish(mut self, secret: &str) -> String {
        self.wait_for("echok");
        let text = self.text();
        assert!(
            text.contains(" echo ") && !text.contains("-echo "),
            "{text}"
        );
        assert!(
            !text.contains(secret),
            "the secret is on the screen: {text}"
        );
        self.run.wait().unwrap();
        text
    }
}
