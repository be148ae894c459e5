//! A host with scripted answers, for tests of other rooms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::DuplexStream;

use super::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    StreamTarget, TransportError,
};
use crate::spec::HostName;

type OnRun = Box<dyn Fn(&Operation) -> Option<Result<HostAnswer, OperationError>> + Send + Sync>;
type OnOpen = Box<dyn Fn(&StreamTarget) -> Option<Result<BoxStream, TransportError>> + Send + Sync>;
type OnLock = Box<dyn Fn(&HoldLock) -> Result<LockAnswer, TransportError> + Send + Sync>;

/// Answers by rules; the first with an answer wins. A request without a rule is an error that names
/// it.
pub struct FakeHost {
    host: HostName,
    runs: Vec<OnRun>,
    opens: Vec<OnOpen>,
    lock: Option<OnLock>,
    ran: Mutex<Vec<Operation>>,
    opened: Mutex<Vec<StreamTarget>>,
    unexpected: Mutex<Vec<String>>,
    lost: Arc<AtomicBool>,
    slow_login: Option<Duration>,
}

fn entries<T: Clone>(list: &Mutex<Vec<T>>) -> Vec<T> {
    list.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn push<T>(list: &Mutex<Vec<T>>, entry: T) {
    list.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(entry);
}

#[expect(clippy::disallowed_methods, reason = "a host outlives the runs on it")]
fn play(host: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(host));
}

impl FakeHost {
    /// A host without any rule.
    #[must_use]
    pub fn new(host: HostName) -> Self {
        Self {
            host,
            runs: Vec::new(),
            opens: Vec::new(),
            lock: None,
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

    /// Adds a rule for operations; `None` passes the operation to the next rule.
    #[must_use]
    pub fn on_run(
        mut self,
        rule: impl Fn(&Operation) -> Option<Result<HostAnswer, OperationError>> + Send + Sync + 'static,
    ) -> Self {
        self.runs.push(Box::new(rule));
        self
    }

    /// Adds a rule for streams; `None` passes the target to the next rule.
    #[must_use]
    pub fn on_open(
        mut self,
        rule: impl Fn(&StreamTarget) -> Option<Result<BoxStream, TransportError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.opens.push(Box::new(rule));
        self
    }

    /// Answers requests for the lock.
    #[must_use]
    pub fn on_lock(
        mut self,
        rule: impl Fn(&HoldLock) -> Result<LockAnswer, TransportError> + Send + Sync + 'static,
    ) -> Self {
        self.lock = Some(Box::new(rule));
        self
    }

    /// Serves every stream to one target with a function that gets the far end.
    #[must_use]
    pub fn serve<F, S>(self, target: StreamTarget, serve: S) -> Self
    where
        S: Fn(DuplexStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.on_open(move |opened| {
            (*opened == target).then(|| {
                let (near, far) = tokio::io::duplex(64 * 1024);
                play(serve(far));
                Ok(Box::new(near) as BoxStream)
            })
        })
    }

    /// The operations so far, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        entries(&self.ran)
    }

    /// The requested streams so far, in order.
    #[must_use]
    pub fn targets(&self) -> Vec<StreamTarget> {
        entries(&self.opened)
    }

    /// Requests without a matching rule; a test that cares asserts that it is empty.
    #[must_use]
    pub fn unexpected(&self) -> Vec<String> {
        entries(&self.unexpected)
    }

    fn check_open(&self) -> Result<(), TransportError> {
        if self.closed() {
            return Err(TransportError::Lost("closed by the host".to_owned()));
        }
        Ok(())
    }

    fn refuse(&self, what: String) -> TransportError {
        push(&self.unexpected, what.clone());
        TransportError::Refused {
            what,
            why: "no scripted answer".to_owned(),
        }
    }
}

#[async_trait]
impl HostSession for FakeHost {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        self.check_open()?;
        push(&self.ran, operation.clone());
        match self.runs.iter().find_map(|rule| rule(&operation)) {
            Some(answer) => answer,
            None => Err(self.refuse(format!("{operation:?}")).into()),
        }
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        self.check_open()?;
        push(&self.opened, target.clone());
        match self.opens.iter().find_map(|rule| rule(&target)) {
            Some(answer) => answer,
            None => Err(self.refuse(format!("{target:?}"))),
        }
    }

    async fn hold_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError> {
        self.check_open()?;
        match &self.lock {
            Some(rule) => rule(&request),
            None => Err(self.refuse(format!("{request:?}"))),
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
            execs: count(self.operations().len()),
            streams: count(self.targets().len()),
        }
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::{ComposeHashes, TaskLog};
    use super::*;

    #[tokio::test]
    async fn answers_what_is_scripted_and_names_what_is_not() {
        let fake = Arc::new(
            FakeHost::new(HostName::new("m1").unwrap())
                .on_run(|operation| {
                    matches!(operation, Operation::TaskLog(_))
                        .then(|| Ok(HostAnswer::TaskLog("done".into())))
                })
                .serve(StreamTarget::Engine, |mut far| async move {
                    far.write_all(b"hello").await.unwrap()
                }),
        );
        let host = Arc::clone(&fake) as Arc<dyn HostSession>;
        let log = TaskLog {
            work_dir: "/work".into(),
            task: "t1".into(),
        };
        assert_eq!(host.perform(log).await.unwrap(), "done");
        let refused = host.perform(ComposeHashes).await.unwrap_err();
        assert!(refused.to_string().contains("ComposeHashes"), "{refused}");
        let mut text = String::new();
        let mut stream = host.open(StreamTarget::Engine).await.unwrap();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        assert_eq!(fake.unexpected().len(), 1);
        let cost = host.cost();
        assert_eq!((cost.execs, cost.streams), (2, 1));
    }
}
