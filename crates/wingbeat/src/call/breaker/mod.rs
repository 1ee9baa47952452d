//! A circuit breaker without I/O: the caller passes the time.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use wingbeat_core::Timestamp;

use crate::BreakerWindow;

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All calls pass.
    Closed,
    /// No call passes.
    Open,
    /// One call passes, as a probe.
    HalfOpen,
}

impl State {
    /// Returns `closed`, `open` or `half_open`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// Returns the value of a gauge: 0 for closed, 0.5 for half open, 1 for open.
    #[must_use]
    pub fn openness(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::Open => 1.0,
            Self::HalfOpen => 0.5,
        }
    }
}

/// The condition that opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Different operations failed one after the other, without an answer between them.
    Consecutive,
    /// The share of failed operations in the window.
    Failures,
    /// The share of slow operations in the window.
    Slowness,
    /// The probe failed, or was slow.
    Probe,
}

impl Cause {
    /// Returns `consecutive_failures`, `failures`, `slow_calls` or `probe`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive_failures",
            Self::Failures => "failures",
            Self::Slowness => "slow_calls",
            Self::Probe => "probe",
        }
    }
}

/// A circuit breaker for one target.
///
/// It opens on the first of these conditions, and lets one call through as a probe after a pause:
///
/// - A number of *different* operations failed one after the other, without an answer between
///   them. A target that goes down is found by that, even if many earlier calls succeeded.
/// - In a [window](BreakerWindow) by count and time, the share of operations that failed, or that
///   were slow, reaches a threshold. That finds a target which answers now and then.
///
/// An operation that fails repeatedly counts once: it may fail because of its own data. It counts
/// as failed even if a later attempt succeeds.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::call::breaker::{Admission, Breaker, State};
/// use wingbeat::{BreakerWindow, Timestamp};
///
/// let now = Timestamp::from_millis(0);
/// let open_for = Duration::from_secs(5);
/// let mut breaker = Breaker::new(2, open_for, now);
/// breaker.failed("order-1", now);
/// breaker.failed("order-2", now);
/// assert_eq!(breaker.state(), (State::Open, now));
/// assert_eq!(breaker.admit(now), Admission::WaitUntil(now + open_for));
///
/// // Half of the operations fail, but never two in a row.
/// let window = BreakerWindow { minimum: 4, ..BreakerWindow::default() };
/// let mut breaker = Breaker::new(2, open_for, now).with_window(window);
/// for (works, fails) in [("order-3", "order-4"), ("order-5", "order-6")] {
///     breaker.answered(works, Duration::from_millis(20), now);
///     breaker.failed(fails, now);
/// }
/// assert_eq!(breaker.state().0, State::Open);
/// ```
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    open_for: Duration,
    window: Option<BreakerWindow>,
    state: State,
    since: Timestamp,
    cause: Option<Cause>,
    seen: Seen,
    probing: bool,
    /// No probe before this time.
    not_before: Timestamp,
}

/// The breaker's decision about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The call may go.
    Go,
    /// The call must wait at least until this time.
    WaitUntil(Timestamp),
}

impl Breaker {
    /// Creates a closed breaker without a window. It opens after `failures_max` failures of
    /// different operations in a row, and probes after `open_for`. More than
    /// [`BreakerWindow::CALLS_MAX`] failures in a row are never counted.
    #[must_use]
    pub fn new(failures_max: u32, open_for: Duration, now: Timestamp) -> Self {
        Self {
            failures_max,
            open_for,
            window: None,
            state: State::Closed,
            since: now,
            cause: None,
            seen: Seen::default(),
            probing: false,
            not_before: now,
        }
    }

    /// Adds a window. Its operations must end with an answer: one that goes on, such as all
    /// requests to a path, would count as failed for a single failure among many answers.
    #[must_use]
    pub fn with_window(mut self, window: BreakerWindow) -> Self {
        self.window = Some(window);
        self
    }

    /// Returns the state and the time of its last change.
    #[must_use]
    pub fn state(&self) -> (State, Timestamp) {
        (self.state, self.since)
    }

    /// Returns the condition that opened the breaker last; `None` while it is closed.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Decides whether a call may go now. An open breaker becomes half open after its pause.
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        let probe_at = self.not_before.max(self.since + self.open_for);
        if self.state == State::Open && now >= probe_at {
            self.change(State::HalfOpen, now);
        }
        match self.state {
            State::Closed => Admission::Go,
            State::HalfOpen if !self.probing => {
                self.probing = true;
                Admission::Go
            }
            State::HalfOpen => Admission::WaitUntil(now + self.open_for),
            State::Open => Admission::WaitUntil(probe_at),
        }
    }

    /// Records an answer of the target to `operation`, and the time that it took. A refusal is an
    /// answer. An answer closes a half-open breaker, unless it was slow.
    pub fn answered(&mut self, operation: &str, took: Duration, now: Timestamp) {
        let slow_after = self.window.as_ref().and_then(|it| it.slow_after);
        let slow = slow_after.is_some_and(|limit| took >= limit);
        match self.state {
            // The call was admitted before the breaker opened: only a probe is evidence.
            State::Open => {}
            State::HalfOpen if slow => self.open(Cause::Probe, now),
            State::HalfOpen => {
                self.not_before = now;
                self.change(State::Closed, now);
            }
            State::Closed => {
                self.not_before = now;
                let result = if slow { Seen::slow } else { Seen::answered };
                result(&mut self.seen, operation, now);
                self.trim();
                self.judge(now);
            }
        }
    }

    /// Records that the target did not answer `operation`.
    pub fn failed(&mut self, operation: &str, now: Timestamp) {
        match self.state {
            State::HalfOpen => self.open(Cause::Probe, now),
            State::Open => {}
            State::Closed => {
                self.seen.failed(operation, now);
                self.trim();
                self.judge(now);
            }
        }
    }

    /// Records that the target wants no call before this time. It does not open the breaker, but an
    /// open breaker sends no probe before it. An answer of the target ends the wait.
    pub fn wait_until(&mut self, at: Timestamp) {
        self.not_before = self.not_before.max(at);
    }

    /// Records that an admitted call ended without a result, so that another call may probe.
    pub fn released(&mut self) {
        self.probing = false;
    }

    /// Bounds the operations that are remembered.
    fn trim(&mut self) {
        let calls = self.window.as_ref().map_or(1, BreakerWindow::capacity);
        let in_a_row = (self.failures_max as usize).clamp(1, BreakerWindow::CALLS_MAX);
        self.seen.keep(calls.max(in_a_row));
    }

    /// Opens the breaker if a condition is met.
    fn judge(&mut self, now: Timestamp) {
        let shares = self.window.as_ref();
        let cause = if self.seen.in_a_row() >= self.failures_max as usize {
            Some(Cause::Consecutive)
        } else {
            shares.and_then(|window| self.seen.exceeds(window, now))
        };
        if let Some(cause) = cause {
            self.open(cause, now);
        }
    }

    fn open(&mut self, cause: Cause, now: Timestamp) {
        self.change(State::Open, now);
        self.cause = Some(cause);
    }

    fn change(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.since = now;
        self.seen = Seen::default();
        self.probing = false;
        if state == State::Closed {
            self.cause = None;
        }
    }
}

/// The operations that were attempted last, oldest first. Each occurs once.
#[derive(Debug, Default)]
struct Seen {
    operations: VecDeque<Operation>,
    /// The number of attempts so far.
    attempts: u64,
    /// The number of the last attempt that the target answered.
    answered: u64,
}

/// An operation, by the hash of its id, so that its size is fixed.
#[derive(Clone, Copy, Debug)]
struct Operation {
    hash: u64,
    /// The time of the last attempt.
    at: Timestamp,
    /// The number and the time of the last attempt that failed.
    failed: Option<(u64, Timestamp)>,
    /// The time of the last slow answer.
    slow: Option<Timestamp>,
}

impl Seen {
    fn answered(&mut self, operation: &str, now: Timestamp) {
        self.attempted(operation, now);
        self.answered = self.attempts;
    }

    fn slow(&mut self, operation: &str, now: Timestamp) {
        self.attempted(operation, now).slow = Some(now);
        self.answered = self.attempts;
    }

    fn failed(&mut self, operation: &str, now: Timestamp) {
        let number = self.attempts + 1;
        self.attempted(operation, now).failed = Some((number, now));
    }

    /// Makes an operation the newest.
    fn attempted(&mut self, operation: &str, now: Timestamp) -> &mut Operation {
        self.attempts += 1;
        let mut hasher = DefaultHasher::new();
        operation.hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.operations.iter().position(|it| it.hash == hash);
        let known = known.and_then(|at| self.operations.remove(at));
        let new = Operation {
            hash,
            at: now,
            failed: None,
            slow: None,
        };
        let newest = known.map_or(new, |known| Operation { at: now, ..known });
        self.operations.push_back_mut(newest)
    }

    /// Forgets the oldest operations.
    fn keep(&mut self, count: usize) {
        let excess = self.operations.len().saturating_sub(count);
        self.operations.drain(..excess);
    }

    /// Returns the number of operations that failed since the last answer.
    fn in_a_row(&self) -> usize {
        let since = |it: &&Operation| it.failed.is_some_and(|(number, _)| number > self.answered);
        self.operations.iter().filter(since).count()
    }

    /// Returns the share that reaches its threshold, if one does.
    fn exceeds(&self, window: &BreakerWindow, now: Timestamp) -> Option<Cause> {
        let within = |at: Timestamp| now.since(at) < window.within;
        let newest = self.operations.iter().rev().take(window.capacity());
        let (mut all, mut failed, mut slow) = (0, 0, 0);
        for operation in newest.filter(|it| within(it.at)) {
            all += 1;
            failed += usize::from(operation.failed.is_some_and(|(_, at)| within(at)));
            slow += usize::from(operation.slow.is_some_and(within));
        }
        let reaches =
            |count: usize, percent: u32| count > 0 && count * 100 >= percent as usize * all;
        if all < (window.minimum as usize).min(window.capacity()) {
            None
        } else if reaches(failed, window.failed_percent) {
            Some(Cause::Failures)
        } else {
            reaches(slow, window.slow_percent).then_some(Cause::Slowness)
        }
    }
}

#[cfg(test)]
mod tests;
