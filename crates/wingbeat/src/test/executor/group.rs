//! Groups of tasks that are killed together: simulated processes.

use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::{Runtime, Timestamp};

use super::{Simulation, lock};

/// A runtime whose tasks can be killed at any await, as by a crash.
///
/// A killed group cannot be restarted. A restarted service runs in a new group and finds the data
/// that the model has kept.
pub struct Group {
    simulation: Simulation,
    id: u64,
    skew_ms: i64,
}

impl Group {
    pub(super) fn new(simulation: Simulation, id: u64, skew_ms: i64) -> Self {
        Self {
            simulation,
            id,
            skew_ms,
        }
    }

    /// Kills the group after this many more polls of its tasks.
    pub fn kill_after(&self, polls: u64) {
        self.simulation.kill_after(self.id, polls.max(1));
    }

    /// Kills the group when the store has committed its next units, before it knows that.
    pub fn kill_at_commit(&self) {
        lock(&self.simulation.state)
            .killed_at_commit
            .insert(self.id);
    }

    /// Notes a commit of the group. It returns `true` if the group must not know it, because it is
    /// killed.
    pub(in crate::test) fn commits(&self) -> bool {
        let dies = lock(&self.simulation.state)
            .killed_at_commit
            .remove(&self.id);
        if dies {
            self.kill_after(1);
        }
        dies
    }

    /// Kills the group: drops all of its tasks. Tasks that are spawned later never run.
    pub fn kill(&self) {
        self.simulation.kill(self.id);
    }

    /// Returns `false` once the group is killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !lock(&self.simulation.state).killed.contains(&self.id)
    }
}

impl Runtime for Group {
    fn now(&self) -> Timestamp {
        let skew = Duration::from_millis(self.skew_ms.unsigned_abs());
        if self.skew_ms < 0 {
            self.simulation.now() - skew
        } else {
            self.simulation.now() + skew
        }
    }

    fn elapsed(&self) -> Duration {
        self.simulation.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.simulation.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.simulation.spawn_in(self.id, task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.spawn(Box::pin(async move { work() }));
    }

    fn random(&self) -> u64 {
        self.simulation.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.simulation.fill_secret(bytes);
    }
}
