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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUICK: Duration = Duration::from_millis(10);
    const SLOW: Duration = Duration::from_secs(3);

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

    fn window() -> BreakerWindow {
        BreakerWindow {
            calls: 10,
            within: Duration::from_secs(30),
            minimum: 4,
            failed_percent: 50,
            slow_after: Some(Duration::from_secs(2)),
            slow_percent: 75,
        }
    }

    /// A breaker that only its window opens.
    fn windowed() -> Breaker {
        Breaker::new(u32::MAX, Duration::from_secs(2), at(0)).with_window(window())
    }

    #[test]
    fn failures_of_different_operations_open_the_breaker() {
        let mut breaker = opened();
        assert_eq!(breaker.state(), (State::Open, at(0)));
        assert_eq!(breaker.cause(), Some(Cause::Consecutive));
        assert_eq!(breaker.admit(at(1)), Admission::WaitUntil(at(2)));
    }

    #[test]
    fn one_failing_operation_never_opens_the_breaker() {
        for mut breaker in [Breaker::new(3, Duration::from_secs(2), at(0)), windowed()] {
            for _ in 0..100 {
                breaker.failed("flaky", at(0));
            }
            assert_eq!(breaker.state().0, State::Closed);
        }
    }

    #[test]
    fn a_successful_probe_closes_the_breaker() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(2)), Admission::Go);
        assert_ne!(breaker.admit(at(2)), Admission::Go);
        breaker.answered("p", QUICK, at(3));
        assert_eq!(breaker.state(), (State::Closed, at(3)));
        assert_eq!(breaker.cause(), None);
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
        breaker.answered("a", QUICK, at(1));
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

    #[test]
    fn answers_between_failures_do_not_hide_them_from_the_window() {
        let mut without = Breaker::new(3, Duration::from_secs(2), at(0));
        let mut with = Breaker::new(3, Duration::from_secs(2), at(0)).with_window(window());
        for breaker in [&mut without, &mut with] {
            for (works, fails) in [("a", "b"), ("c", "d")] {
                breaker.answered(works, QUICK, at(1));
                breaker.failed(fails, at(1));
            }
        }
        assert_eq!(without.state().0, State::Closed);
        assert_eq!(with.state().0, State::Open);
        assert_eq!(with.cause(), Some(Cause::Failures));
    }

    #[test]
    fn too_few_operations_open_nothing() {
        let mut breaker = windowed();
        for operation in ["a", "b", "c"] {
            breaker.failed(operation, at(0));
        }
        assert_eq!(breaker.state().0, State::Closed);
        breaker.failed("d", at(0));
        assert_eq!(breaker.state().0, State::Open);
    }

    #[test]
    fn an_operation_that_succeeds_at_last_has_failed_all_the_same() {
        let mut breaker = windowed();
        for operation in ["a", "b", "c", "d"] {
            breaker.failed(operation, at(0));
            breaker.answered(operation, QUICK, at(1));
        }
        assert_eq!(breaker.state().0, State::Open);
    }

    #[test]
    fn operations_leave_the_window_with_time() {
        let mut breaker = windowed();
        for operation in ["a", "b", "c"] {
            breaker.failed(operation, at(0));
        }
        breaker.failed("d", at(30));
        assert_eq!(breaker.state().0, State::Closed, "three are too old");
        for operation in ["a", "b", "c"] {
            breaker.answered(operation, QUICK, at(31));
        }
        assert_eq!(breaker.state().0, State::Closed, "one of four failed");
        breaker.failed("a", at(32));
        assert_eq!(breaker.state().0, State::Open);
    }

    #[test]
    fn operations_leave_the_window_by_count() {
        let mut breaker = windowed();
        for number in 0..10 {
            breaker.answered(&number.to_string(), QUICK, at(30));
        }
        for operation in ["d", "e", "f", "g"] {
            breaker.failed(operation, at(31));
            assert_eq!(breaker.state().0, State::Closed, "{operation}");
        }
        breaker.failed("h", at(31));
        assert_eq!(breaker.state().0, State::Open, "5 of the last 10");
    }

    #[test]
    fn slow_answers_open_the_breaker_and_a_slow_probe_keeps_it_open() {
        let mut breaker = windowed();
        breaker.answered("a", QUICK, at(0));
        for operation in ["b", "c"] {
            breaker.answered(operation, SLOW, at(0));
        }
        assert_eq!(breaker.state().0, State::Closed);
        breaker.answered("d", SLOW, at(0));
        assert_eq!(breaker.state(), (State::Open, at(0)));
        assert_eq!(breaker.cause(), Some(Cause::Slowness));
        assert_eq!(breaker.admit(at(2)), Admission::Go);
        breaker.answered("e", SLOW, at(5));
        assert_eq!(breaker.state(), (State::Open, at(5)));
        assert_eq!(breaker.cause(), Some(Cause::Probe));
        assert_eq!(breaker.admit(at(7)), Admission::Go);
        breaker.answered("f", QUICK, at(7));
        assert_eq!(breaker.state(), (State::Closed, at(7)));
    }

    #[test]
    fn one_slow_operation_counts_once() {
        let mut breaker = windowed();
        for _ in 0..100 {
            breaker.answered("slow", SLOW, at(0));
        }
        assert_eq!(breaker.state().0, State::Closed);
    }

    #[test]
    fn an_answer_to_a_call_from_before_does_not_close_an_open_breaker() {
        let mut breaker = opened();
        breaker.wait_until(at(60));
        breaker.answered("d", QUICK, at(1));
        assert_eq!(breaker.state(), (State::Open, at(0)));
        assert_eq!(breaker.admit(at(2)), Admission::WaitUntil(at(60)));
    }

    /// One attempt: the operation, its duration or `None` if it failed, and the pause before it.
    type Try = (u8, Option<u64>, u64);

    fn tries() -> impl Strategy<Value = Vec<Try>> {
        let result = prop_oneof![Just(None), (0..4_u64).prop_map(Some)];
        prop::collection::vec((0..30_u8, result, 0..6_u64), 0..200)
    }

    fn windows() -> impl Strategy<Value = BreakerWindow> {
        let shares = (1..=100_u32, 1..=100_u32);
        (1..20_u32, 1..40_u64, 1..20_u32, shares, any::<bool>()).prop_map(
            |(calls, within, minimum, (failed_percent, slow_percent), slow)| BreakerWindow {
                calls,
                within: Duration::from_secs(within),
                minimum,
                failed_percent,
                slow_after: slow.then_some(Duration::from_secs(2)),
                slow_percent,
            },
        )
    }

    /// Decides from the whole history, as the documentation states the rule.
    fn expected(history: &[(u8, Option<u64>, i64)], window: &BreakerWindow, now: i64) -> bool {
        let within = |then: i64| Duration::from_secs((now - then).unsigned_abs()) < window.within;
        let mut newest: Vec<u8> = Vec::new();
        for (operation, ..) in history.iter().rev().filter(|(.., then)| within(*then)) {
            if !newest.contains(operation) && newest.len() < window.calls as usize {
                newest.push(*operation);
            }
        }
        let share = |bad: &dyn Fn(Option<u64>) -> bool| {
            let is_bad = |operation: &&u8| {
                let mut tries = history.iter().filter(|(of, ..)| of == *operation);
                tries.any(|(_, result, then)| within(*then) && bad(*result))
            };
            newest.iter().filter(is_bad).count() * 100
        };
        let failed = share(&|result| result.is_none());
        let limit = window.slow_after.map_or(u64::MAX, |it| it.as_secs());
        let slow = share(&|result| result.is_some_and(|took| took >= limit));
        let all = newest.len();
        all >= window.minimum.min(window.calls) as usize
            && (failed > 0 && failed >= window.failed_percent as usize * all
                || slow > 0 && slow >= window.slow_percent as usize * all)
    }

    proptest! {
        #[test]
        fn the_window_decides_as_the_whole_history_would(tries in tries(), window in windows()) {
            let mut breaker = Breaker::new(u32::MAX, Duration::from_secs(1), at(0))
                .with_window(window.clone());
            let (mut history, mut now) = (Vec::new(), 0);
            for (operation, result, pause) in tries {
                now += i64::try_from(pause).unwrap();
                history.push((operation, result, now));
                let name = operation.to_string();
                let took = result.map(Duration::from_secs);
                match took {
                    None => breaker.failed(&name, at(now)),
                    Some(took) => breaker.answered(&name, took, at(now)),
                }
                let open = breaker.state().0 == State::Open;
                prop_assert_eq!(open, expected(&history, &window, now));
                if open {
                    break;
                }
            }
        }

        #[test]
        fn memory_is_bounded_and_few_operations_never_open(tries in tries(), window in windows()) {
            let mut breaker = Breaker::new(5, Duration::ZERO, at(0)).with_window(window.clone());
            let mut failed = std::collections::BTreeSet::new();
            for (operation, result, _) in tries {
                let name = operation.to_string();
                match result {
                    None => breaker.failed(&name, at(0)),
                    Some(_) => breaker.answered(&name, QUICK, at(0)),
                }
                failed.insert(operation);
                prop_assert!(breaker.seen.operations.len() <= window.capacity().max(5));
                if breaker.state().0 == State::Open {
                    let needed = window.minimum.min(window.calls).min(5);
                    prop_assert!(failed.len() >= needed as usize);
                    break;
                }
            }
        }
    }
}
