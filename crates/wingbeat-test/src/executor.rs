//! A seeded executor: one thread, virtual time. The seed decides which ready task runs next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::{Runtime, Timestamp};

/// When every simulation begins: 2026-01-01T00:00:00Z.
const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Polls without any progress of time after which a simulation is taken to be stuck in a loop.
const POLLS_MAX: u64 = 50_000_000;

type Task = BoxFuture<'static, ()>;

#[derive(Default)]
struct State {
    now: Duration,
    next_task: u64,
    tasks: BTreeMap<u64, Option<Task>>,
    ready: Vec<u64>,
    /// Deadline and registration order to who waits.
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
}

/// Whether the story on the main line can go on.
struct Story(AtomicBool);

impl Wake for Story {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A deterministic world: clock, chance and tasks.
#[derive(Clone)]
pub struct Simulation {
    state: Arc<Mutex<State>>,
}

struct Waken {
    state: Arc<Mutex<State>>,
    task: u64,
}

impl Wake for Waken {
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
    /// The world of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            digest: seed,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The world as the port that services run on.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    /// A fingerprint of everything that has run so far: same seed, same digest.
    #[must_use]
    pub fn digest(&self) -> u64 {
        lock(&self.state).digest
    }

    /// Runs until `future` is done, and everything else beside it.
    ///
    /// # Panics
    ///
    /// When nothing can run any more and `future` still waits.
    pub fn block_on<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
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
                self.turn(),
                "nothing can run any more, and the awaited future is not done"
            );
        }
    }

    /// Runs a future that need not be `Send` (a test's story), and everything else beside it.
    ///
    /// # Panics
    ///
    /// When nothing can run any more and `future` still waits.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let woken = Arc::new(Story(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = std::pin::pin!(future);
        loop {
            if woken.0.swap(false, Ordering::SeqCst)
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return value;
            }
            let moved = woken.0.load(Ordering::SeqCst) || self.turn();
            assert!(
                moved,
                "nothing can run any more, and the awaited future is not done"
            );
        }
    }

    /// Lets one ready task run, or time pass. `false` when there is neither.
    fn turn(&self) -> bool {
        let Some((id, mut task)) = self.pick() else {
            return self.pass_time();
        };
        let waker = Waker::from(Arc::new(Waken {
            state: Arc::clone(&self.state),
            task: id,
        }));
        let done = matches!(
            task.as_mut().poll(&mut Context::from_waker(&waker)),
            Poll::Ready(())
        );
        let mut state = lock(&self.state);
        if done {
            state.tasks.remove(&id);
        } else if let Some(slot) = state.tasks.get_mut(&id) {
            *slot = Some(task);
        }
        true
    }

    fn pick(&self) -> Option<(u64, Task)> {
        let mut state = lock(&self.state);
        while !state.ready.is_empty() {
            let count = state.ready.len();
            let at = state.random.usize(..count);
            let id = state.ready.swap_remove(at);
            if let Some(task) = state.tasks.get_mut(&id).and_then(Option::take) {
                state.polls += 1;
                assert!(
                    state.polls < POLLS_MAX,
                    "the simulation does not come to rest"
                );
                let now = state.now.as_micros() as u64;
                state.note(id ^ now.rotate_left(32));
                return Some((id, task));
            }
        }
        None
    }

    fn pass_time(&self) -> bool {
        let wakers: Vec<Waker> = {
            let mut state = lock(&self.state);
            let Some((&(at, _), _)) = state.sleepers.first_key_value() else {
                return false;
            };
            state.now = state.now.max(at);
            let later = state.sleepers.split_off(&(at, u64::MAX));
            std::mem::replace(&mut state.sleepers, later)
                .into_values()
                .collect()
        };
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
        let mut state = lock(&self.state);
        let id = state.next_task;
        state.next_task += 1;
        state.tasks.insert(id, Some(task));
        state.ready.push(id);
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

struct Sleep {
    state: Arc<Mutex<State>>,
    until: Duration,
    registered: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.state);
        let mut state = lock(&shared);
        if let Some(place) = self.registered.take() {
            state.sleepers.remove(&place);
        }
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let place = (self.until, state.next_sleep);
        state.next_sleep += 1;
        state.sleepers.insert(place, cx.waker().clone());
        self.registered = Some(place);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.registered.take() {
            lock(&self.state).sleepers.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(seed: u64) -> (u64, Vec<u32>) {
        let simulation = Simulation::new(seed);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for n in 0..20 {
            let (world, seen) = (simulation.clone(), Arc::clone(&seen));
            simulation.spawn(Box::pin(async move {
                world.sleep(Duration::from_millis(u64::from(n % 3))).await;
                seen.lock().unwrap().push(n);
            }));
        }
        let world = simulation.clone();
        simulation.block_on(async move { world.sleep(Duration::from_secs(1)).await });
        let seen = seen.lock().unwrap().clone();
        (simulation.digest(), seen)
    }

    #[test]
    fn the_same_seed_gives_the_same_story() {
        assert_eq!(story(7), story(7));
    }

    #[test]
    fn another_seed_gives_another_order() {
        assert_ne!(story(7).1, story(8).1);
    }

    #[test]
    fn time_is_virtual() {
        let simulation = Simulation::new(1);
        let world = simulation.clone();
        simulation.block_on(async move { world.sleep(Duration::from_secs(3600 * 24 * 365)).await });
        assert_eq!(simulation.elapsed(), Duration::from_secs(3600 * 24 * 365));
    }
}
