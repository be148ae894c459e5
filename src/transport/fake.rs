//! A session with scripted answers, for tests of other rooms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::DuplexStream;

use super::{BoxStream, Cost, Exec, ExecOutput, Session, Target, TransportError};
use crate::spec::HostName;

type OnExec = Box<dyn Fn(&Exec) -> Option<Result<ExecOutput, TransportError>> + Send + Sync>;
type OnOpen = Box<dyn Fn(&Target) -> Option<Result<BoxStream, TransportError>> + Send + Sync>;

/// Answers by matching; the first rule with an answer wins. A request without a matching rule is an
/// error that names it.
pub struct FakeSession {
    host: HostName,
    execs: Vec<OnExec>,
    opens: Vec<OnOpen>,
    ran: Mutex<Vec<Exec>>,
    opened: Mutex<Vec<Target>>,
    unexpected: Mutex<Vec<String>>,
    lost: Arc<AtomicBool>,
    slow_login: Option<Duration>,
}

/// A successful answer.
#[must_use]
pub fn output(status: u32, stdout: impl Into<Vec<u8>>, stderr: impl Into<Vec<u8>>) -> ExecOutput {
    ExecOutput {
        status,
        stdout: stdout.into(),
        stderr: stderr.into(),
    }
}

impl FakeSession {
    /// A host without any rule.
    #[must_use]
    pub fn new(host: HostName) -> Self {
        Self {
            host,
            execs: Vec::new(),
            opens: Vec::new(),
            ran: Mutex::default(),
            opened: Mutex::default(),
            unexpected: Mutex::default(),
            lost: Arc::default(),
            slow_login: None,
        }
    }

    /// Closes the connection; set by a rule.
    #[must_use]
    pub fn lost(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.lost)
    }

    /// Gives the host a slow login shell.
    #[must_use]
    pub fn with_slow_login(mut self, took: Duration) -> Self {
        self.slow_login = Some(took);
        self
    }

    /// Adds a rule for commands; `None` passes the command to the next rule.
    #[must_use]
    pub fn on_exec(
        mut self,
        rule: impl Fn(&Exec) -> Option<Result<ExecOutput, TransportError>> + Send + Sync + 'static,
    ) -> Self {
        self.execs.push(Box::new(rule));
        self
    }

    /// Answers every command that contains `text` with a status and standard output.
    #[must_use]
    pub fn on_command(self, part: &'static str, status: u32, stdout: impl Into<Vec<u8>>) -> Self {
        let stdout = stdout.into();
        self.on_exec(move |e| {
            e.command
                .contains(part)
                .then(|| Ok(output(status, stdout.clone(), "")))
        })
    }

    /// Adds a rule for streams; `None` passes the target to the next rule.
    #[must_use]
    pub fn on_open(
        mut self,
        rule: impl Fn(&Target) -> Option<Result<BoxStream, TransportError>> + Send + Sync + 'static,
    ) -> Self {
        self.opens.push(Box::new(rule));
        self
    }

    /// Serves every stream to one target with a function that gets the far end.
    #[must_use]
    pub fn serve<F, S>(self, target: Target, serve: S) -> Self
    where
        S: Fn(DuplexStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.on_open(move |t| {
            (*t == target).then(|| {
                let (near, far) = tokio::io::duplex(64 * 1024);
                tokio::spawn(serve(far));
                Ok(Box::new(near) as BoxStream)
            })
        })
    }

    /// The commands so far, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<Exec> {
        self.ran
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The requested streams so far, in order.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Requests without a matching rule; a test that cares asserts that it is empty.
    #[must_use]
    pub fn unexpected(&self) -> Vec<String> {
        self.unexpected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn check_open(&self) -> Result<(), TransportError> {
        if self.closed() {
            return Err(TransportError::Lost("closed by the host".to_owned()));
        }
        Ok(())
    }

    fn refuse<T>(&self, what: String) -> Result<T, TransportError> {
        self.unexpected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what.clone());
        Err(TransportError::Refused {
            what,
            why: "no scripted answer".to_owned(),
        })
    }
}

#[async_trait]
impl Session for FakeSession {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        self.check_open()?;
        self.ran
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(exec.clone());
        match self.execs.iter().find_map(|rule| rule(&exec)) {
            Some(answer) => answer,
            None => self.refuse(exec.command),
        }
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        self.check_open()?;
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(target.clone());
        match self.opens.iter().find_map(|rule| rule(&target)) {
            Some(answer) => answer,
            None => self.refuse(format!("{target:?}")),
        }
    }

    fn slow_login(&self) -> Option<Duration> {
        self.slow_login
    }

    fn closed(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    fn cost(&self) -> Cost {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Cost {
            connections: 1,
            login_shells: 1,
            execs: count(self.commands().len()),
            streams: count(self.targets().len()),
        }
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn exec(command: &str) -> Exec {
        Exec {
            command: command.to_owned(),
            stdin: bytes::Bytes::new(),
            privileged: false,
            deadline: Duration::from_secs(1),
            max_output: 100,
        }
    }

    #[tokio::test]
    async fn answers_what_is_scripted_and_names_what_is_not() {
        let target = Target::Unix {
            path: "/s".to_owned(),
        };
        let fake = FakeSession::new(HostName::new("m1").unwrap())
            .on_command("id -u", 0, "0\n")
            .serve(target.clone(), |mut far| async move {
                far.write_all(b"hello").await.unwrap()
            });
        assert_eq!(fake.exec(exec("id -u")).await.unwrap().stdout, b"0\n");
        assert!(
            fake.exec(exec("rm -rf /"))
                .await
                .unwrap_err()
                .to_string()
                .contains("rm -rf /")
        );
        let mut text = String::new();
        fake.open(target)
            .await
            .unwrap()
            .read_to_string(&mut text)
            .await
            .unwrap();
        assert_eq!(text, "hello");
        assert_eq!(fake.unexpected(), ["rm -rf /"]);
        assert_eq!(
            fake.cost(),
            Cost {
                connections: 1,
                login_shells: 1,
                execs: 2,
                streams: 1
            }
        );
    }
}
