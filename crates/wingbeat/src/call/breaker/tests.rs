//! When a breaker opens and closes.

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
        failed(&mut breaker, operation, at(0));
    }
    breaker
}

/// Admits a call.
fn sent(breaker: &mut Breaker, now: Timestamp) -> Pass {
    match breaker.admit(now) {
        Admission::Go(pass) => pass,
        Admission::WaitUntil(at) => panic!("the call must wait until {at:?}"),
    }
}

fn failed(breaker: &mut Breaker, operation: &str, now: Timestamp) {
    let pass = sent(breaker, now);
    breaker.failed(pass, operation, now);
}

fn answered(breaker: &mut Breaker, operation: &str, took: Duration, now: Timestamp) {
    let pass = sent(breaker, now);
    breaker.answered(pass, operation, took, now);
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
            failed(&mut breaker, "flaky", at(0));
        }
        assert_eq!(breaker.state().0, State::Closed);
    }
}

#[test]
fn a_successful_probe_closes_the_breaker() {
    let mut breaker = opened();
    let probe = sent(&mut breaker, at(2));
    assert_eq!(breaker.admit(at(2)), Admission::WaitUntil(at(4)));
    breaker.answered(probe, "p", QUICK, at(3));
    assert_eq!(breaker.state(), (State::Closed, at(3)));
    assert_eq!(breaker.cause(), None);
}

#[test]
fn an_open_breaker_sends_no_probe_before_the_target_wants_one() {
    let mut breaker = opened();
    breaker.wait_until(at(60));
    breaker.wait_until(at(30));
    assert_eq!(breaker.admit(at(2)), Admission::WaitUntil(at(60)));
    failed(&mut breaker, "p", at(60));
    assert_eq!(breaker.admit(at(61)), Admission::WaitUntil(at(62)));
}

#[test]
fn a_wish_to_wait_does_not_open_the_breaker_and_an_answer_ends_it() {
    let mut breaker = Breaker::new(1, Duration::from_secs(2), at(0));
    breaker.wait_until(at(60));
    answered(&mut breaker, "a", QUICK, at(1));
    failed(&mut breaker, "a", at(1));
    assert_eq!(breaker.admit(at(2)), Admission::WaitUntil(at(3)));
    let probe = sent(&mut breaker, at(3));
    breaker.released(probe);
}

#[test]
fn a_failed_probe_opens_the_breaker_again() {
    let mut breaker = opened();
    let probe = sent(&mut breaker, at(2));
    breaker.failed(probe, "p", at(3));
    assert_eq!(breaker.cause(), Some(Cause::Probe));
    assert_eq!(breaker.admit(at(4)), Admission::WaitUntil(at(5)));
}

#[test]
fn a_probe_without_a_result_makes_way_for_the_next_one() {
    let mut breaker = opened();
    let probe = sent(&mut breaker, at(2));
    breaker.released(probe);
    let next = sent(&mut breaker, at(2));
    breaker.released(probe);
    assert_eq!(
        breaker.admit(at(2)),
        Admission::WaitUntil(at(4)),
        "one at a time"
    );
    breaker.answered(next, "p", QUICK, at(3));
    assert_eq!(breaker.state().0, State::Closed);
}

#[test]
fn only_the_probe_decides_about_a_half_open_breaker() {
    let mut breaker = Breaker::new(2, Duration::from_secs(2), at(0));
    let earlier: Vec<_> = (0..4).map(|_| sent(&mut breaker, at(0))).collect();
    breaker.failed(earlier[0], "a", at(0));
    breaker.failed(earlier[1], "b", at(0));
    let probe = sent(&mut breaker, at(2));
    breaker.failed(earlier[2], "c", at(2));
    breaker.answered(earlier[3], "d", QUICK, at(2));
    assert_eq!(breaker.state(), (State::HalfOpen, at(2)));
    breaker.failed(probe, "p", at(3));
    assert_eq!(breaker.state(), (State::Open, at(3)));
}

/// Failures often arrive before answers to calls that were sent with them.
#[test]
fn answers_to_calls_from_before_close_a_breaker_that_opened_too_early() {
    for mut breaker in [Breaker::new(4, Duration::from_secs(2), at(0)), windowed()] {
        let burst: Vec<_> = (0..10).map(|_| sent(&mut breaker, at(0))).collect();
        for (number, call) in burst[..4].iter().enumerate() {
            breaker.failed(*call, &format!("fails-{number}"), at(0));
        }
        assert_eq!(breaker.state().0, State::Open);
        for (number, call) in burst[4..].iter().enumerate() {
            breaker.answered(*call, &format!("works-{number}"), QUICK, at(1));
        }
        assert_eq!(breaker.state(), (State::Closed, at(1)));
        assert_eq!(breaker.cause(), None);
    }
}

#[test]
fn answers_between_failures_do_not_hide_them_from_the_window() {
    let mut without = Breaker::new(3, Duration::from_secs(2), at(0));
    let mut with = Breaker::new(3, Duration::from_secs(2), at(0)).with_window(window());
    for breaker in [&mut without, &mut with] {
        for (works, fails) in [("a", "b"), ("c", "d")] {
            answered(breaker, works, QUICK, at(1));
            failed(breaker, fails, at(1));
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
        failed(&mut breaker, operation, at(0));
    }
    assert_eq!(breaker.state().0, State::Closed);
    failed(&mut breaker, "d", at(0));
    assert_eq!(breaker.state().0, State::Open);
}

#[test]
fn an_operation_that_succeeds_at_last_has_not_failed() {
    let mut breaker = windowed();
    for operation in ["a", "b", "c", "d", "e", "f"] {
        failed(&mut breaker, operation, at(0));
        answered(&mut breaker, operation, QUICK, at(1));
    }
    assert_eq!(breaker.state().0, State::Closed);
    for operation in ["a", "b", "c"] {
        failed(&mut breaker, operation, at(2));
    }
    assert_eq!(
        breaker.state().0,
        State::Open,
        "half of them have failed again"
    );
}

#[test]
fn operations_leave_the_window_with_time() {
    let mut breaker = windowed();
    for operation in ["a", "b", "c"] {
        failed(&mut breaker, operation, at(0));
    }
    failed(&mut breaker, "d", at(30));
    assert_eq!(breaker.state().0, State::Closed, "three are too old");
    for operation in ["a", "b", "c"] {
        answered(&mut breaker, operation, QUICK, at(31));
    }
    assert_eq!(breaker.state().0, State::Closed, "one of four failed");
    failed(&mut breaker, "a", at(32));
    assert_eq!(breaker.state().0, State::Open);
}

#[test]
fn operations_leave_the_window_by_count() {
    let mut breaker = windowed();
    for number in 0..10 {
        answered(&mut breaker, &number.to_string(), QUICK, at(30));
    }
    for operation in ["d", "e", "f", "g"] {
        failed(&mut breaker, operation, at(31));
        assert_eq!(breaker.state().0, State::Closed, "{operation}");
    }
    failed(&mut breaker, "h", at(31));
    assert_eq!(breaker.state().0, State::Open, "5 of the last 10");
}

#[test]
fn slow_answers_open_the_breaker_and_a_slow_probe_keeps_it_open() {
    let mut breaker = windowed();
    answered(&mut breaker, "a", QUICK, at(0));
    for operation in ["b", "c"] {
        answered(&mut breaker, operation, SLOW, at(0));
    }
    assert_eq!(breaker.state().0, State::Closed);
    answered(&mut breaker, "d", SLOW, at(0));
    assert_eq!(breaker.state(), (State::Open, at(0)));
    assert_eq!(breaker.cause(), Some(Cause::Slowness));
    answered(&mut breaker, "e", SLOW, at(5));
    assert_eq!(breaker.state(), (State::Open, at(5)));
    assert_eq!(breaker.cause(), Some(Cause::Probe));
    answered(&mut breaker, "f", QUICK, at(7));
    assert_eq!(breaker.state(), (State::Closed, at(7)));
}

#[test]
fn one_slow_operation_counts_once() {
    let mut breaker = windowed();
    for _ in 0..100 {
        answered(&mut breaker, "slow", SLOW, at(0));
    }
    assert_eq!(breaker.state().0, State::Closed);
}

#[test]
fn an_answer_to_a_call_from_before_ends_no_wait_and_refutes_no_probe() {
    let mut breaker = Breaker::new(1, Duration::from_secs(2), at(0));
    let earlier: Vec<_> = (0..3).map(|_| sent(&mut breaker, at(0))).collect();
    breaker.wait_until(at(60));
    breaker.failed(earlier[0], "a", at(0));
    breaker.answered(earlier[1], "b", QUICK, at(1));
    assert_eq!(breaker.state(), (State::Open, at(0)));
    failed(&mut breaker, "p", at(60));
    breaker.answered(earlier[2], "c", QUICK, at(61));
    assert_eq!(breaker.state(), (State::Open, at(60)));
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
            let last = history.iter().rfind(|(of, ..)| of == *operation);
            last.is_some_and(|(_, result, _)| bad(*result))
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
                None => failed(&mut breaker, &name, at(now)),
                Some(took) => answered(&mut breaker, &name, took, at(now)),
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
        let mut attempted = std::collections::BTreeSet::new();
        for (operation, result, _) in tries {
            let name = operation.to_string();
            match result {
                None => failed(&mut breaker, &name, at(0)),
                Some(_) => answered(&mut breaker, &name, QUICK, at(0)),
            }
            attempted.insert(operation);
            prop_assert!(breaker.seen.operations.len() <= window.capacity().max(5));
            if breaker.state().0 == State::Open {
                let needed = window.minimum.min(window.calls).min(5);
                prop_assert!(attempted.len() >= needed as usize);
                break;
            }
        }
    }
}
