//! A seeded executor with one thread and virtual time. The seed decides which ready task runs next.
//!
//! The executor does not depend on the machine, so a seed repeats a run exactly. A test can compare
//! [`Simulation::digest`]s to verify that. The code that runs in it must be deterministic too: no
//! `tokio::select!` without `biased`, no iteration over standard hash maps, no real clock.

mod failing_seed;
mod group;
mod sleep;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::unconstrained;
use wingbeat_core::{Runtime, Timestamp};

use failing_seed::PrintSeedOnPanic;
pub use group::Group;
use sleep::Sleep;

/// The time at which every simulation begins: 2026-01-01T00:00:00Z.
const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// The limit of polls. A simulation that exceeds it is stuck in a loop.
const POLLS_MAX: u64 = if cfg!(test) { 500_000 } else { 5_000_000 };

type Task = BoxFuture<'static, ()>;

/// A task (`None` while it is polled) and its group.
struct Slot {
    group: u64,
    task: Option<Task>,
}

/// The group of tasks that no crash kills: tests and simulated clients.
const ROOT: u64 = 0;

#[derive(Default)]
struct State {
    seed: u64,
    now: Duration,
    next_task: u64,
    tasks: BTreeMap<u64, Slot>,
    next_group: u64,
    killed: BTreeSet<u64>,
    /// The groups that are killed at their next commit.
    killed_at_commit: BTreeSet<u64>,
    /// The number of polls until a group is killed.
    polls_left: BTreeMap<u64, u64>,
    ready: Vec<u64>,
    /// The wakers of sleeping tasks, by deadline and order of registration.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    next_sleep: u64,
    random: fastrand::Rng,
    digest: u64,
    polls: u64,
}

impl State {
    fn note(&mut self, word: u64) {
        self.digest = (self.digest ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }

    /// Counts a poll of the group. Returns `true` if the group must be killed now.
    fn count_poll(&mut self, group: u64) -> bool {
        let Some(left) = self.polls_left.get_mut(&group) else {
            return false;
        };
        *left = left.saturating_sub(1);
        let last_poll = *left == 0;
        if last_poll {
            self.polls_left.remove(&group);
        }
        last_poll
    }

    fn spawn(&mut self, group: u64, task: Task) {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.insert(
            id,
            Slot {
                group,
                task: Some(task),
            },
        );
        self.ready.push(id);
    }
}

/// The waker of the future of [`Simulation::run`].
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A deterministic executor: clock, randomness and tasks.
///
/// ```
/// use std::time::Duration;
/// use wingbeat::{Runtime, test::Simulation};
///
/// let simulation = Simulation::new(1);
/// simulation.run(simulation.sleep(Duration::from_secs(24 * 3600))); // takes no real time
/// assert_eq!(simulation.elapsed().as_secs(), 24 * 3600);
/// ```
#[derive(Clone)]
pub struct Simulation {
    state: Arc<Mutex<State>>,
}

struct TaskWaker {
    state: Arc<Mutex<State>>,
    task: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.state);
        if !state.ready.contains(&self.task) {
            state.ready.push(self.task);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    /// Creates the simulation of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            seed,
            random: fastrand::Rng::with_seed(seed),
            digest: seed,
            next_group: ROOT + 1,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns the simulation as the runtime port of services.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    /// Returns a digest of all events so far. Equal seeds yield equal digests.
    #[must_use]
    pub fn digest(&self) -> u64 {
        lock(&self.state).digest
    }

    /// Returns the number of polls so far. A test can use it to detect busy waiting.
    #[must_use]
    pub fn polls(&self) -> u64 {
        lock(&self.state).polls
    }

    /// Adds an event to the digest.
    pub fn note(&self, event: impl AsRef<[u8]>) {
        let mut state = lock(&self.state);
        let now = state.now.as_micros() as u64;
        state.note(now);
        for chunk in event.as_ref().chunks(8) {
            let word = chunk
                .iter()
                .fold(1, |word, byte| (word << 7) ^ u64::from(*byte));
            state.note(word);
        }
    }

    /// Creates a group of tasks that are killed together, like those of a process that crashes.
    #[must_use]
    pub fn group(&self) -> Arc<Group> {
        self.skewed_group(0)
    }

    /// Creates a group whose clock is ahead of the others by `skew_ms` milliseconds (behind if
    /// negative).
    #[must_use]
    pub fn skewed_group(&self, skew_ms: i64) -> Arc<Group> {
        let mut state = lock(&self.state);
        let id = state.next_group;
        state.next_group += 1;
        Arc::new(Group::new(self.clone(), id, skew_ms))
    }

    /// Advances the time and runs the tasks that become ready.
    pub fn advance(&self, time: Duration) {
        self.run(self.sleep(time));
        self.run_until_idle();
    }

    /// Runs all ready tasks without advancing the time.
    pub fn run_until_idle(&self) {
        let _print_seed = PrintSeedOnPanic(lock(&self.state).seed);
        while let Some((id, task)) = self.pick() {
            self.poll(id, task);
        }
    }

    /// Ends the simulation by dropping all tasks. Without this call the simulation would leak:
    /// tasks and simulation refer to each other.
    pub fn end(&self) {
        let groups = 0..lock(&self.state).next_group;
        groups.for_each(|group| self.kill(group));
    }

    /// Drops all tasks of a group. Tasks that they spawn later never run.
    fn kill(&self, group: u64) {
        let lost: Vec<Slot> = {
            let mut state = lock(&self.state);
            state.killed.insert(group);
            state
                .tasks
                .extract_if(.., |_, slot| slot.group == group)
                .map(|(_, slot)| slot)
                .collect()
        };
        drop(lost); // Outside the lock: dropping a task may wake or spawn others.
    }

    fn spawn_in(&self, group: u64, task: Task) {
        let mut state = lock(&self.state);
        if state.killed.contains(&group) {
            drop(state); // Dropping the task may need the lock.
            return;
        }
        state.spawn(group, task);
    }

    /// Runs `future` and all other tasks until `future` is done.
    ///
    /// # Panics
    ///
    /// If no task can run and `future` still waits.
    pub fn block_on<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let _print_seed = PrintSeedOnPanic(lock(&self.state).seed);
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        self.spawn(Box::pin(async move {
            let value = future.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }));
        loop {
            if let Some(value) = result.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return value;
            }
            assert!(
                self.step(),
                "nothing can run any more, and the awaited future is not done"
            );
        }
    }

    /// Runs `future` and all other tasks until `future` is done. The future need not be `Send`, so
    /// it can borrow from a test.
    ///
    /// # Panics
    ///
    /// If no task can run and `future` still waits.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let _print_seed = PrintSeedOnPanic(lock(&self.state).seed);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = std::pin::pin!(unconstrained(future));
        loop {
            if woken.0.swap(false, Ordering::SeqCst)
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return value;
            }
            let moved = woken.0.load(Ordering::SeqCst) || self.step();
            assert!(
                moved,
                "nothing can run any more, and the awaited future is not done"
            );
        }
    }

    /// Runs one ready task, or advances the time. Returns `false` if neither is possible.
    fn step(&self) -> bool {
        let Some((id, task)) = self.pick() else {
            return self.advance_to_next_sleeper();
        };
        self.poll(id, task);
        true
    }

    fn poll(&self, id: u64, mut task: Task) {
        let waker = Waker::from(Arc::new(TaskWaker {
            state: Arc::clone(&self.state),
            task: id,
        }));
        // A simulation may run inside a task of tokio, whose budget must not affect it.
        let mut polled = std::pin::pin!(unconstrained(task.as_mut()));
        let done = polled
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let mut state = lock(&self.state);
        let group = state.tasks.get(&id).map(|slot| slot.group);
        if done {
            state.tasks.remove(&id);
        } else if let Some(slot) = state.tasks.get_mut(&id) {
            slot.task = Some(task);
        }
        let last_poll = group.filter(|group| state.count_poll(*group));
        drop(state); // Drops a finished or killed task, outside the lock.
        if let Some(group) = last_poll {
            self.kill(group);
        }
    }

    /// Kills the group after this many more polls of its tasks, at the await that they have
    /// reached.
    fn kill_after(&self, group: u64, polls: u64) {
        lock(&self.state).polls_left.insert(group, polls);
    }

    fn pick(&self) -> Option<(u64, Task)> {
        let mut state = lock(&self.state);
        while !state.ready.is_empty() {
            let count = state.ready.len();
            let at = state.random.usize(..count);
            let id = state.ready.swap_remove(at);
            if let Some(task) = state.tasks.get_mut(&id).and_then(|slot| slot.task.take()) {
                state.polls += 1;
                if state.polls >= POLLS_MAX {
                    let time = state.now;
                    drop(state); // The task takes the lock when it is dropped.
                    panic!("the simulation does not become idle: its time is {time:?}");
                }
                let now = state.now.as_micros() as u64;
                state.note(id ^ now.rotate_left(32));
                return Some((id, task));
            }
        }
        None
    }

    fn advance_to_next_sleeper(&self) -> bool {
        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.state);
            let Some((&(at, _), _)) = state.sleepers.first_key_value() else {
                return false;
            };
            state.now = state.now.max(at);
            // One by one: splitting the map would count all sleepers.
            while let Some(first) = state.sleepers.first_entry()
                && first.key().0 == at
            {
                wakers.push(first.remove());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        true
    }
}

impl Runtime for Simulation {
    fn now(&self) -> Timestamp {
        EPOCH + lock(&self.state).now
    }

    fn elapsed(&self) -> Duration {
        lock(&self.state).now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = lock(&self.state).now + duration;
        Box::pin(Sleep {
            state: Arc::clone(&self.state),
            until,
            registered: None,
        })
    }

    fn spawn(&self, task: Task) {
        self.spawn_in(ROOT, task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.spawn(Box::pin(async move { work() }));
    }

    fn random(&self) -> u64 {
        lock(&self.state).random.u64(..)
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        lock(&self.state).random.fill(bytes);
    }
}
