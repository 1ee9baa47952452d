//! A circuit breaker without I/O: the caller passes the time.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use wingbeat_core::Timestamp;

use crate::policy::BreakerWindow;

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
/// An operation counts once, with the result of its last attempt. One that fails repeatedly may
/// fail because of its own data, and one that a later attempt completed needs no rest of the
/// target.
///
/// Calls that were sent before the breaker opened still count while it is open: failures often
/// arrive before answers to calls that were sent at the same time. If their results take the
/// condition away, the breaker closes. After a failed probe they count no more, and while a probe
/// is under way, only its result does.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::call::breaker::{Admission, Breaker, State};
/// use wingbeat::Timestamp;
/// use wingbeat::policy::BreakerWindow;
///
/// let now = Timestamp::from_millis(0);
/// let open_for = Duration::from_secs(5);
/// let mut breaker = Breaker::new(2, open_for, now);
/// for order in ["order-1", "order-2"] {
///     let Admission::Go(pass) = breaker.admit(now) else { unreachable!("it is closed") };
///     breaker.failed(pass, order, now);
/// }
/// assert_eq!(breaker.state(), (State::Open, now));
/// assert_eq!(breaker.admit(now), Admission::WaitUntil(now + open_for));
///
/// // Half of the operations fail, but never two in a row.
/// let window = BreakerWindow { minimum: 4, failed_percent: 50, ..BreakerWindow::default() };
/// let mut breaker = Breaker::new(2, open_for, now).with_window(window);
/// for (works, fails) in [("order-3", "order-4"), ("order-5", "order-6")] {
///     let Admission::Go(pass) = breaker.admit(now) else { unreachable!("it is closed") };
///     breaker.answered(pass, works, Duration::from_millis(20), now);
///     let Admission::Go(pass) = breaker.admit(now) else { unreachable!("it is closed") };
///     breaker.failed(pass, fails, now);
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
    /// The number of calls admitted so far.
    admitted: u64,
    /// The probe that is under way.
    probe: Option<Pass>,
    /// No probe before this time.
    not_before: Timestamp,
}

/// An admitted call. Its result is recorded with it, once.
#[must_use = "the result of the call, or its end without one, must be recorded"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

/// The breaker's decision about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The call may go.
    Go(Pass),
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
            admitted: 0,
            probe: None,
            not_before: now,
        }
    }

    /// Adds a window. Its operations must be different calls: all requests to a path, as one
    /// operation, would count as a single call with the result of the last request.
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
            State::Closed => Admission::Go(self.pass()),
            State::HalfOpen if self.probe.is_none() => {
                let pass = self.pass();
                self.probe = Some(pass);
                Admission::Go(pass)
            }
            State::HalfOpen => Admission::WaitUntil(now + self.open_for),
            State::Open => Admission::WaitUntil(probe_at),
        }
    }

    fn pass(&mut self) -> Pass {
        self.admitted += 1;
        Pass(self.admitted)
    }

    /// Records an answer of the target to `operation`, and the time that it took. A refusal is an
    /// answer. The answer to a probe closes the breaker, unless it was slow.
    pub fn answered(&mut self, call: Pass, operation: &str, took: Duration, now: Timestamp) {
        let slow_after = self.window.as_ref().and_then(|it| it.slow_after);
        let slow = slow_after.is_some_and(|limit| took >= limit);
        match self.state {
            _ if self.probe == Some(call) && slow => self.open(Cause::Probe, now),
            _ if self.probe == Some(call) => {
                self.not_before = now;
                self.change(State::Closed, now);
                self.seen = Seen::default();
            }
            State::HalfOpen => {}
            State::Open => self.record(operation, Some(slow), now),
            State::Closed => {
                self.not_before = now;
                self.record(operation, Some(slow), now);
            }
        }
    }

    /// Records that the target did not answer `operation`.
    pub fn failed(&mut self, call: Pass, operation: &str, now: Timestamp) {
        match self.state {
            _ if self.probe == Some(call) => self.open(Cause::Probe, now),
            State::HalfOpen => {}
            State::Open | State::Closed => self.record(operation, None, now),
        }
    }

    /// Records that the target wants no call before this time. It does not open the breaker, but an
    /// open breaker sends no probe before it. An answer to a closed breaker's call ends the wait.
    pub fn wait_until(&mut self, at: Timestamp) {
        self.not_before = self.not_before.max(at);
    }

    /// Records that a call ended without a result, so that another one may probe.
    pub fn released(&mut self, call: Pass) {
        self.probe.take_if(|probe| *probe == call);
    }

    /// Counts a result, and opens or closes the breaker accordingly. `answered` is `None` for a
    /// failure, and otherwise says whether the answer was slow.
    fn record(&mut self, operation: &str, answered: Option<bool>, now: Timestamp) {
        if self.cause == Some(Cause::Probe) {
            return;
        }
        match answered {
            Some(slow) => self.seen.answered(operation, slow, now),
            None => self.seen.failed(operation, now),
        }
        self.trim();
        match (self.state, self.condition(now)) {
            (State::Closed, Some(cause)) => self.open(cause, now),
            (State::Open, None) if now >= self.not_before => self.change(State::Closed, now),
            _ => {}
        }
    }

    /// Bounds the operations that are remembered.
    fn trim(&mut self) {
        let calls = self.window.as_ref().map_or(1, BreakerWindow::capacity);
        let in_a_row = (self.failures_max as usize).clamp(1, BreakerWindow::CALLS_MAX);
        self.seen.keep(calls.max(in_a_row));
    }

    /// Returns the condition that is met, if one is.
    fn condition(&self, now: Timestamp) -> Option<Cause> {
        if self.seen.in_a_row() >= self.failures_max as usize {
            return Some(Cause::Consecutive);
        }
        let window = self.window.as_ref();
        window.and_then(|window| self.seen.exceeds(window, now))
    }

    fn open(&mut self, cause: Cause, now: Timestamp) {
        self.change(State::Open, now);
        self.cause = Some(cause);
    }

    fn change(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.since = now;
        self.probe = None;
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
    /// The result of the last attempt.
    result: Attempt,
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Answered,
    Slow,
    /// The number of the attempt.
    Failed(u64),
}

impl Seen {
    fn answered(&mut self, operation: &str, slow: bool, now: Timestamp) {
        self.attempts += 1;
        self.answered = self.attempts;
        let result = if slow {
            Attempt::Slow
        } else {
            Attempt::Answered
        };
        self.attempted(operation, result, now);
    }

    fn failed(&mut self, operation: &str, now: Timestamp) {
        self.attempts += 1;
        self.attempted(operation, Attempt::Failed(self.attempts), now);
    }

    /// Makes an operation the newest.
    fn attempted(&mut self, operation: &str, result: Attempt, at: Timestamp) {
        let mut hasher = DefaultHasher::new();
        operation.hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.operations.iter().position(|it| it.hash == hash);
        known.and_then(|at| self.operations.remove(at));
        self.operations.push_back(Operation { hash, at, result });
    }

    /// Forgets the oldest operations.
    fn keep(&mut self, count: usize) {
        let excess = self.operations.len().saturating_sub(count);
        self.operations.drain(..excess);
    }

    /// Returns the number of operations that failed since the last answer.
    fn in_a_row(&self) -> usize {
        let since =
            |it: &&Operation| matches!(it.result, Attempt::Failed(at) if at > self.answered);
        self.operations.iter().filter(since).count()
    }

    /// Returns the share that reaches its threshold, if one does.
    fn exceeds(&self, window: &BreakerWindow, now: Timestamp) -> Option<Cause> {
        let within = |at: Timestamp| now.since(at) < window.within;
        let newest = self.operations.iter().rev().take(window.capacity());
        let (mut all, mut failed, mut slow) = (0, 0, 0);
        for operation in newest.filter(|it| within(it.at)) {
            all += 1;
            failed += usize::from(matches!(operation.result, Attempt::Failed(_)));
            slow += usize::from(operation.result == Attempt::Slow);
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
