//! The circuit breaker, sans-io: time comes in with every question.

use std::time::Duration;

use wingbeat_core::Timestamp;

/// What the breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Lets them through.
    Closed,
    /// Lets none through.
    Open,
    /// Lets one probe through.
    HalfOpen,
}

impl State {
    /// `closed`, `open` or `half_open`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// As a figure to be drawn: 0 closed, 1 open, 0.5 half open.
    #[must_use]
    pub fn openness(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::Open => 1.0,
            Self::HalfOpen => 0.5,
        }
    }
}

/// Opens after failures in a row, across *different* operations, and probes after a pause.
///
/// One operation that fails again and again says nothing about the target, so it counts once.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    open_for: Duration,
    state: State,
    since: Timestamp,
    failed: Vec<String>,
    probing: bool,
}

/// Whether a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go.
    Go,
    /// Wait at least until then.
    WaitUntil(Timestamp),
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(failures_max: u32, open_for: Duration, now: Timestamp) -> Self {
        Self {
            failures_max,
            open_for,
            state: State::Closed,
            since: now,
            failed: Vec::new(),
            probing: false,
        }
    }

    /// The state and since when.
    #[must_use]
    pub fn state(&self) -> (State, Timestamp) {
        (self.state, self.since)
    }

    /// May a call go now?
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        if self.state == State::Open && now >= self.since + self.open_for {
            self.change(State::HalfOpen, now);
        }
        match self.state {
            State::Closed => Admission::Go,
            State::HalfOpen if !self.probing => {
                self.probing = true;
                Admission::Go
            }
            State::HalfOpen => Admission::WaitUntil(now + self.open_for),
            State::Open => Admission::WaitUntil(self.since + self.open_for),
        }
    }

    /// The target answered (a refusal is an answer).
    pub fn succeeded(&mut self, now: Timestamp) {
        self.failed.clear();
        if self.state != State::Closed {
            self.change(State::Closed, now);
        }
    }

    /// The target did not answer `operation`.
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

    /// An admitted call ended without saying anything about the target.
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
    fn failures_of_different_operations_open_it() {
        let mut breaker = opened();
        assert_eq!(breaker.state(), (State::Open, at(0)));
        assert_eq!(breaker.admit(at(1)), Admission::WaitUntil(at(2)));
    }

    #[test]
    fn one_stubborn_operation_never_opens_it() {
        let mut breaker = Breaker::new(3, Duration::from_secs(2), at(0));
        for _ in 0..100 {
            breaker.failed("flaky", at(0));
        }
        assert_eq!(breaker.state().0, State::Closed);
    }

    #[test]
    fn one_probe_goes_first_and_its_success_closes() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(2)), Admission::Go);
        assert_ne!(breaker.admit(at(2)), Admission::Go);
        breaker.succeeded(at(3));
        assert_eq!(breaker.state(), (State::Closed, at(3)));
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(2)), Admission::Go);
        breaker.failed("p", at(3));
        assert_eq!(breaker.admit(at(4)), Admission::WaitUntil(at(5)));
    }
}
