//! Tasks that belong to one run: they end with it, and can be held.
//!
//! The group of a run is known to its tasks through a task-local. To hand it down would put a
//! spawner into the signature of every probe, every request to an Engine and every lock, none of
//! which has a use for it but to reach a connection's reader.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Spawner;
}

/// Starts a task in the group of the current one. Outside of a group (a test of one room) the task
/// belongs to the runtime.
pub fn spawn<F>(work: F) -> SpawnedTask<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match CURRENT.try_with(Clone::clone) {
        Ok(spawner) => spawner.spawn(work),
        Err(_) => start(None, work),
    }
}

/// Does what blocks its thread. `None` when it panicked.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let blocking = CURRENT.try_with(|spawner| spawner.0.blocking);
    match blocking.unwrap_or_default() {
        Blocking::OnThreads => on_thread(work).await,
        Blocking::InPlace => Some(work()),
    }
}

#[expect(clippy::disallowed_methods, reason = "what blocks needs a thread")]
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Where work is done that blocks its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blocking {
    /// On a thread of its own, so that the others go on.
    #[default]
    OnThreads,
    /// At once, in the task that waits for it: no other thread decides when it ends.
    InPlace,
}

/// The tasks of one run. Dropping it ends them.
#[derive(Debug)]
pub struct TaskGroup(Spawner);

impl TaskGroup {
    #[must_use]
    pub fn new(blocking: Blocking) -> Self {
        Self(Spawner(Arc::new(Group {
            blocking,
            state: Mutex::default(),
        })))
    }

    /// Starts tasks of this group.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.0.clone()
    }

    /// Stops every task where it is: none is polled until [`TaskGroup::resume`]. Work that blocks a
    /// thread goes on there, and a task that another thread polls right now finishes that poll.
    pub fn hold(&self) {
        self.0.0.lock().is_held = true;
    }

    /// Continues the tasks. Their timers have run on and what they waited for has arrived, as for a
    /// process after `SIGCONT`.
    pub fn resume(&self) {
        let slots: Vec<Arc<TaskSlot>> = {
            let mut state = self.0.0.lock();
            state.is_held = false;
            state.tasks.values().cloned().collect()
        };
        slots.iter().for_each(|slot| slot.wake());
    }

    /// Ends every task: they are dropped before this returns, except for one that is being polled,
    /// which is dropped after that poll. Nothing can be started in the group any more.
    pub fn end(&self) {
        // Outside of the lock: a task that is dropped may try to start another one.
        let tasks = {
            let mut state = self.0.0.lock();
            state.has_ended = true;
            std::mem::take(&mut state.tasks)
        };
        tasks.values().for_each(|slot| slot.end());
    }

    /// Work that the caller polls, as a member of the group: it is not polled while the group is
    /// held, and is `None` as soon as the group has ended. For what cannot move to another thread:
    /// it is dropped when its caller polls it next, and makes no progress until then.
    pub fn contain<F: Future>(&self, work: F) -> ContainedWork<F> {
        let slot = Arc::new(TaskSlot::default());
        let group = Arc::clone(&self.0.0);
        let member = group.enter(&slot).map(|number| (group, number));
        if member.is_none() {
            slot.end();
        }
        ContainedWork {
            work: Some(Box::pin(self.0.scope(work))),
            slot,
            member,
        }
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.0.lock().tasks.len()
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts tasks of a group.
#[derive(Debug, Clone)]
pub struct Spawner(Arc<Group>);

impl Spawner {
    /// Starts a task. When the group has ended, so has the task.
    pub fn spawn<F>(&self, work: F) -> SpawnedTask<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        start(Some(Arc::clone(&self.0)), self.scope(work))
    }

    /// Makes this group the current one of a future.
    pub fn scope<F: Future>(&self, work: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self.clone(), work)
    }
}

#[derive(Debug)]
struct Group {
    blocking: Blocking,
    state: Mutex<GroupState>,
}

#[derive(Debug, Default)]
struct GroupState {
    tasks: BTreeMap<u64, Arc<TaskSlot>>,
    started: u64,
    is_held: bool,
    has_ended: bool,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task's number in the group; `None` when the group has ended.
    fn enter(&self, slot: &Arc<TaskSlot>) -> Option<u64> {
        let mut state = self.lock();
        if state.has_ended {
            return None;
        }
        state.started += 1;
        let number = state.started;
        state.tasks.insert(number, Arc::clone(slot));
        Some(number)
    }
}

/// A task and where its work is: tokio drops an aborted task only when it is scheduled next, which
/// would let a killed controller run on.
#[derive(Default)]
struct TaskSlot(Mutex<SlotState>);

#[derive(Default)]
struct SlotState {
    /// `None` while it is being polled, and after its end.
    work: Option<BoxFuture<'static, ()>>,
    has_ended: bool,
    waker: Option<Waker>,
}

impl std::fmt::Debug for TaskSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSlot").finish_non_exhaustive()
    }
}

impl TaskSlot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it must not be polled now. Its group wakes it when that changes.
    fn is_held(&self, member: Option<&GroupMember>, context: &Context<'_>) -> bool {
        let has_ended = {
            let mut state = self.lock();
            // Before the group is asked, so that it can wake a task that it held.
            state.waker = Some(context.waker().clone());
            state.has_ended
        };
        !has_ended && member.is_some_and(|(group, _)| group.lock().is_held)
    }

    fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn end(&self) {
        let work = {
            let mut state = self.lock();
            state.has_ended = true;
            state.work.take()
        };
        drop(work);
        self.wake();
    }
}

/// What the runtime polls.
struct PolledTask {
    slot: Arc<TaskSlot>,
    member: Option<GroupMember>,
}

impl Future for PolledTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.slot.is_held(self.member.as_ref(), context) {
            return Poll::Pending;
        }
        let Some(mut work) = self.slot.lock().work.take() else {
            return Poll::Ready(());
        };
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut state = self.slot.lock();
        if state.has_ended {
            drop(state);
            return Poll::Ready(());
        }
        state.work = Some(work);
        Poll::Pending
    }
}

impl Drop for PolledTask {
    fn drop(&mut self) {
        leave(self.member.as_ref());
        self.slot.end();
    }
}

/// The group of a task, and its number there.
type GroupMember = (Arc<Group>, u64);

fn leave(member: Option<&GroupMember>) {
    if let Some((group, number)) = member {
        group.lock().tasks.remove(number);
    }
}

/// See [`TaskGroup::contain`].
#[derive(Debug)]
pub struct ContainedWork<F> {
    work: Option<Pin<Box<TaskLocalFuture<Spawner, F>>>>,
    slot: Arc<TaskSlot>,
    member: Option<GroupMember>,
}

impl<F: Future> Future for ContainedWork<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.slot.is_held(self.member.as_ref(), context) {
            return Poll::Pending;
        }
        if self.slot.lock().has_ended {
            self.work = None;
        }
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        work.as_mut().poll(context).map(Some)
    }
}

impl<F> Drop for ContainedWork<F> {
    fn drop(&mut self) {
        leave(self.member.as_ref());
    }
}

fn start<F>(group: Option<Arc<Group>>, work: F) -> SpawnedTask<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (sender, result) = oneshot::channel();
    // Nobody may wait for the result.
    let work = work.map(|value| drop(sender.send(value))).boxed();
    let slot = Arc::new(TaskSlot::default());
    slot.lock().work = Some(work);
    let member = group.map(|group| (group.enter(&slot), group));
    let task = SpawnedTask {
        slot: Arc::clone(&slot),
        result,
    };
    let member = match member {
        None => None,
        Some((Some(number), group)) => Some((group, number)),
        Some((None, _)) => {
            slot.end();
            return task;
        }
    };
    run_on_runtime(PolledTask { slot, member });
    task
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts a task"
)]
fn run_on_runtime(task: PolledTask) {
    drop(tokio::spawn(task));
}

/// A started task, which goes on when this is dropped. As a future it is the task's value, or `None`
/// when the task was ended or panicked.
#[derive(Debug)]
pub struct SpawnedTask<T> {
    slot: Arc<TaskSlot>,
    result: oneshot::Receiver<T>,
}

impl<T> SpawnedTask<T> {
    /// Ends the task: its work is dropped before this returns, or after the poll that it is in.
    pub fn abort(&self) {
        self.slot.end();
    }
}

impl<T> Future for SpawnedTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.result.poll_unpin(context).map(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    /// Counts while it exists.
    struct Alive(Arc<AtomicU32>);

    impl Alive {
        fn new(count: &Arc<AtomicU32>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(count))
        }
    }

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn count() -> Arc<AtomicU32> {
        Arc::default()
    }

    fn get(count: &Arc<AtomicU32>) -> u32 {
        count.load(Ordering::SeqCst)
    }

    /// Counts seconds for ever.
    async fn tick(ticks: Arc<AtomicU32>) {
        loop {
            sleep(Duration::from_secs(1)).await;
            ticks.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_are_dropped_at_once_with_their_group() {
        let (alive, others) = (count(), count());
        let group = TaskGroup::new(Blocking::InPlace);
        for _ in 0..3 {
            let (alive, of_task) = (Alive::new(&alive), Arc::clone(&alive));
            group.spawner().spawn(async move {
                let inner = Alive::new(&of_task);
                // Of the same group, though nobody told it.
                spawn(async move {
                    let _inner = inner;
                    std::future::pending::<()>().await;
                });
                let _alive = alive;
                std::future::pending::<()>().await;
            });
        }
        let other = TaskGroup::new(Blocking::InPlace);
        other.spawner().spawn(tick(Arc::clone(&others)));
        sleep(Duration::from_secs(2)).await;
        assert_eq!((group.count(), get(&alive), get(&others)), (6, 6, 1));
        group.end();
        assert_eq!((group.count(), get(&alive)), (0, 0), "without a wait");
        let late = group.spawner().spawn(async { 1 });
        assert_eq!(late.await, None, "the group has ended");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(
            (other.count(), get(&others)),
            (1, 3),
            "another group goes on"
        );
        drop(other);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(get(&others), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_are_held_are_not_polled() {
        let ticks = count();
        let group = TaskGroup::new(Blocking::InPlace);
        let counting = group.spawner().spawn(tick(Arc::clone(&ticks)));
        let (send, receive) = oneshot::channel();
        let waiting = group.spawner().spawn(receive);
        sleep(Duration::from_millis(2500)).await;
        group.hold();
        send.send(7).unwrap();
        let begun = group.spawner().spawn(async { 8 });
        sleep(Duration::from_secs(3600)).await;
        assert_eq!((get(&ticks), group.count()), (2, 3));
        group.resume();
        assert_eq!((waiting.await, begun.await), (Some(Ok(7)), Some(8)));
        sleep(Duration::from_millis(1500)).await;
        // The tick that was due long ago, and one after it.
        assert_eq!(get(&ticks), 4);
        group.hold();
        group.end();
        assert_eq!((counting.await, group.count()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn contained_work_is_held_and_ended_with_its_group() {
        let (ticks, alive) = (count(), count());
        let group = TaskGroup::new(Blocking::InPlace);
        let guard = Alive::new(&alive);
        let counting = tick(Arc::clone(&ticks));
        let work = group.contain(async move {
            let _guard = guard;
            spawn(std::future::pending::<()>());
            counting.await;
        });
        let control = async {
            sleep(Duration::from_millis(2500)).await;
            assert_eq!((group.count(), get(&ticks)), (2, 2));
            group.hold();
            sleep(Duration::from_secs(60)).await;
            assert_eq!(get(&ticks), 2);
            group.resume();
            sleep(Duration::from_millis(500)).await;
            assert_eq!(get(&ticks), 3);
            group.end();
        };
        assert_eq!(futures::join!(work, control).0, None);
        assert_eq!((group.count(), get(&alive), get(&ticks)), (0, 0, 3));
        assert_eq!(group.contain(async { 1 }).await, None);
        let group = TaskGroup::new(Blocking::InPlace);
        assert_eq!(
            (group.contain(async { 1 }).await, group.count()),
            (Some(1), 0)
        );
    }

    #[tokio::test]
    async fn a_task_may_end_its_own_group() {
        let group = Arc::new(TaskGroup::new(Blocking::InPlace));
        let alive = count();
        let (own, guard) = (Arc::clone(&group), Alive::new(&alive));
        let task = group.spawner().spawn(async move {
            let _guard = guard;
            own.end();
            tokio::task::yield_now().await;
            unreachable!("it was ended");
        });
        assert_eq!((task.await, get(&alive)), (None, 0));
    }

    #[tokio::test]
    async fn values_panics_and_aborts_reach_who_waits() {
        let group = TaskGroup::new(Blocking::OnThreads);
        let alive = count();
        let spawner = group.spawner();
        assert_eq!(spawner.spawn(async { 5 }).await, Some(5));
        let panicking = spawner.spawn(async { assert!(get(&count()) == 1, "a bug") });
        assert_eq!(panicking.await, None);
        let guard = Alive::new(&alive);
        let waiting = spawner.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        waiting.abort();
        assert_eq!((get(&alive), waiting.await), (0, None));
        tokio::task::yield_now().await;
        assert_eq!(group.count(), 0);
    }

    #[tokio::test]
    async fn blocking_work_is_done_in_place_or_on_a_thread() {
        let here = std::thread::current().id();
        let there = || std::thread::current().id();
        for (blocking, is_here) in [(Blocking::InPlace, true), (Blocking::OnThreads, false)] {
            let group = TaskGroup::new(blocking);
            let thread = group.spawner().scope(run_blocking(there)).await;
            assert_eq!(thread == Some(here), is_here, "{blocking:?}");
        }
        assert_ne!(run_blocking(there).await, Some(here));
    }
}
