//! A circuit breaker without I/O: the caller passes the time.

use std::time::Duration;

use wingbeat_core::Timestamp;

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

/// A circuit breaker for one target.
///
/// It opens after consecutive failures of *different* operations, and lets one call through as a
/// probe after a pause. An operation that fails repeatedly counts once: it may fail because of its
/// own data.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::Timestamp;
/// use wingbeat::call::breaker::{Admission, Breaker, State};
///
/// let now = Timestamp::from_millis(0);
/// let mut breaker = Breaker::new(2, Duration::from_secs(5), now);
/// breaker.failed("order-1", now);
/// breaker.failed("order-2", now);
/// assert_eq!(breaker.state(), (State::Open, now));
/// assert_eq!(breaker.admit(now), Admission::WaitUntil(now + Duration::from_secs(5)));
/// ```
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    open_for: Duration,
    state: State,
    since: Timestamp,
    failed: Vec<String>,
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
    /// Creates a closed breaker that opens after `failures_max` failures and probes after
    /// `open_for`.
    #[must_use]
    pub fn new(failures_max: u32, open_for: Duration, now: Timestamp) -> Self {
        Self {
            failures_max,
            open_for,
            state: State::Closed,
            since: now,
            failed: Vec::new(),
            probing: false,
            not_before: now,
        }
    }

    /// Returns the state and the time of its last change.
    #[must_use]
    pub fn state(&self) -> (State, Timestamp) {
        (self.state, self.since)
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

    /// Records an answer of the target, which closes the breaker. A refusal is an answer.
    pub fn succeeded(&mut self, now: Timestamp) {
        self.failed.clear();
        self.not_before = now;
        if self.state != State::Closed {
            self.change(State::Closed, now);
        }
    }

    /// Records that the target did not answer `operation`.
    pub fn failed(&mut self, operation: &str, now: Timestamp) {
        match self.state {
            State::HalfOpen => self.change(State::Open, now),
            State::Open => {}
            State::Closed => {
                if !self.failed.iter().any(|earlier| earlier == operation) {
                    self.failed.push(operation.to_owned());
                }
                if self.failed.len() >= self.failures_max as usize {
                    self.change(State::Open, now);
                }
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

    fn change(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.since = now;
        self.failed.clear();
        self.probing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3, Duration::from_secs(2), at(0));
        for operation in ["a", "b", "c"] {
            assert_eq!(breaker.admit(at(0)), Admission::Go);
            breaker.failed(operation, at(0));
        }
        breaker
    }

    #[test]
    fn failures_of_different_operations_open_the_breaker() {
        let mut breaker = opened();
        assert_eq!(breaker.state(), (State::Open, at(0)));
        assert_eq!(breaker.admit(at(1)), Admission::WaitUntil(at(2)));
    }

    #[test]
    fn one_failing_operation_never_opens_the_breaker() {
        let mut breaker = Breaker::new(3, Duration::from_secs(2), at(0));
        for _ in 0..100 {
            breaker.failed("flaky", at(0));
        }
        assert_eq!(breaker.state().0, State::Closed);
    }

    #[test]
    fn a_successful_probe_closes_the_breaker() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(2)), Admission::Go);
        assert_ne!(breaker.admit(at(2)), Admission::Go);
        breaker.succeeded(at(3));
        assert_eq!(breaker.state(), (State::Closed, at(3)));
    }

    #[test]
    fn an_open_breaker_sends_no_probe_before_the_target_wants_one() {
        let mut breaker = opened();
        breaker.wait_until(at(60));
        breaker.wait_until(at(30));
        assert_eq!(breaker.admit(at(2)), Admission::WaitUntil(at(60)));
        assert_eq!(breaker.admit(at(60)), Admission::Go);
        breaker.failed("p", at(61));
        assert_eq!(breaker.admit(at(62)), Admission::WaitUntil(at(63)));
    }

    #[test]
    fn a_wish_to_wait_does_not_open_the_breaker_and_an_answer_ends_it() {
        let mut breaker = Breaker::new(1, Duration::from_secs(2), at(0));
        breaker.wait_until(at(60));
        assert_eq!(breaker.admit(at(1)), Admission::Go);
        breaker.succeeded(at(1));
        breaker.failed("a", at(1));
        assert_eq!(breaker.admit(at(3)), Admission::Go);
    }

    #[test]
    fn a_failed_probe_opens_the_breaker_again() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(2)), Admission::Go);
        breaker.failed("p", at(3));
        assert_eq!(breaker.admit(at(4)), Admission::WaitUntil(at(5)));
    }
}
