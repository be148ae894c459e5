//! Programs by their behaviour: what a shell plays in a container of a real Engine, and a [`Program`]
//! in the simulated one.

use std::time::Duration;

use async_trait::async_trait;

use crate::process::{Process, Program, Signal};

/// What the process of a container does, as far as its Engine notices it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// Ends by itself this long after its start, with this exit code.
    pub ends: Option<(Duration, i64)>,
    /// The exit code with which it ends on SIGTERM; `None`: it ignores the signal.
    pub on_term: Option<i64>,
    /// A line that it prints at its start.
    pub prints: Option<&'static str>,
    /// The command cannot be started.
    pub is_missing: bool,
}

impl Behaviour {
    const STEADY: Self = Self {
        ends: None,
        on_term: Some(0),
        prints: None,
        is_missing: false,
    };

    /// Each behaviour under a name and the words that play it in a shell of a real container.
    pub const ALL: [(&'static str, Self, &'static [&'static str]); 6] = [
        (
            "steady",
            Self::STEADY,
            &[
                "sh",
                "-c",
                "trap 'exit 0' TERM; trap : HUP; while :; do sleep 1000 & wait; done",
            ],
        ),
        (
            "parting",
            Self {
                on_term: Some(5),
                prints: Some("here"),
                ..Self::STEADY
            },
            &[
                "sh",
                "-c",
                "trap 'exit 5' TERM; trap : HUP; echo here; while :; do sleep 1000 & wait; done",
            ],
        ),
        (
            "stubborn",
            Self {
                on_term: None,
                ..Self::STEADY
            },
            &["sh", "-c", "trap '' TERM HUP; sleep 1000"],
        ),
        (
            "brief",
            Self {
                ends: Some((Duration::ZERO, 0)),
                prints: Some("done"),
                ..Self::STEADY
            },
            &["sh", "-c", "echo done"],
        ),
        (
            "failing",
            Self {
                ends: Some((Duration::ZERO, 3)),
                prints: Some("no"),
                ..Self::STEADY
            },
            &["sh", "-c", "echo no; exit 3"],
        ),
        (
            "missing",
            Self {
                is_missing: true,
                ..Self::STEADY
            },
            &["no-such-program"],
        ),
    ];

    /// The behaviour that a container's command plays.
    pub fn from_command(command: &[String]) -> Self {
        let found = Self::ALL.iter().find(|(_, _, words)| words == &command);
        found.map_or(Self::STEADY, |(_, behaviour, _)| *behaviour)
    }
}

/// The shell of an image, which plays a [`Behaviour`].
pub struct Shell;

#[async_trait]
impl Program for Shell {
    async fn run(&self, process: Process) -> i64 {
        Behaviour::from_command(&process.command)
            .play(process)
            .await
    }

    fn has_command(&self, command: &[String]) -> bool {
        !Behaviour::from_command(command).is_missing
    }
}

/// A program that does nothing until SIGTERM.
pub struct Idle;

#[async_trait]
impl Program for Idle {
    async fn run(&self, process: Process) -> i64 {
        Behaviour::STEADY.play(process).await
    }
}

impl Behaviour {
    async fn play(self, mut process: Process) -> i64 {
        if let Some(line) = self.prints {
            process.log.line(line);
        }
        let ended = async {
            match self.ends {
                Some((after, code)) => {
                    tokio::time::sleep(after).await;
                    code
                }
                None => std::future::pending().await,
            }
        };
        let signals = &mut process.signals;
        let terminated = async {
            loop {
                match (signals.recv().await, self.on_term) {
                    (Some(Signal::Term), Some(code)) => return code,
                    (None, _) => std::future::pending().await,
                    _ => {}
                }
            }
        };
        tokio::select! {
            biased;
            code = ended => code,
            code = terminated => code,
        }
    }
}
