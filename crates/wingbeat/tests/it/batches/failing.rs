//! Batches that fail: the message that causes the error is found, and the others are handled.

use std::collections::BTreeMap;

use wingbeat::{Handler as _, Retry};

use super::{SECOND, Tills, Trouble, gathering, key};

const COUNT: u32 = 16;
const POISON: u32 = 11;

/// Sells one batch with a sale that makes trouble.
fn with_trouble(trouble: Trouble) -> Tills {
    let tills = Tills::start(COUNT as usize, 10 * SECOND);
    tills.desk.is_to(POISON, trouble);
    for number in 0..COUNT {
        tills.sell(number, number);
    }
    tills.world.advance(5 * SECOND);
    tills
}

fn assert_only_the_poison_is_missing(tills: &Tills) {
    for number in 0..COUNT {
        let expected: &[u32] = if number == POISON { &[] } else { &[number] };
        assert_eq!(tills.sales(number), expected, "{number}");
    }
    let left = tills.model.unsettled(tills.world.runtime().now());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_poisonous_message_becomes_the_only_dead_letter() {
    for (trouble, reason) in [
        (Trouble::Reject, "refused_sale"),
        (Trouble::Panic, "panicked"),
    ] {
        let tills = with_trouble(trouble);
        assert_only_the_poison_is_missing(&tills);
        let letters = tills.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].reason, reason);
        assert_eq!(key(&letters[0]), POISON.to_string());
        let runs = tills.desk.runs();
        assert_eq!(runs[0].len(), COUNT as usize, "one batch at first");
        assert!(runs.len() <= 9, "2 * log2(16) + 1 runs: {runs:?}");
    }
}

#[test]
fn two_poisonous_messages_are_both_found() {
    let tills = Tills::start(COUNT as usize, 10 * SECOND);
    for number in [0, 15] {
        tills.desk.is_to(number, Trouble::Reject);
    }
    for number in 0..COUNT {
        tills.sell("a", number);
    }
    tills.world.advance(5 * SECOND);
    let mut sales = tills.sales("a");
    sales.sort_unstable();
    assert_eq!(sales, (1..15).collect::<Vec<_>>());
    assert_eq!(tills.dead_letters().len(), 2);
    let runs = tills.desk.runs().len();
    assert!(runs <= 2 * 9, "{runs} runs");
}

#[test]
fn a_retryable_error_repeats_the_whole_batch() {
    let tills = with_trouble(Trouble::Retry(2));
    let runs = tills.desk.runs();
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert!(runs.iter().all(|run| run.len() == COUNT as usize));
    assert_eq!(tills.units(), [COUNT as usize]);
    assert!(tills.dead_letters().is_empty());
}

/// A message that fails for long is parked alone. It is handled when it succeeds.
#[test]
fn only_the_message_that_goes_on_failing_is_parked() {
    let tills = with_trouble(Trouble::Retry(1_000));
    assert_only_the_poison_is_missing(&tills);
    let parked = tills.world.run(tills.running.parked("totals".into()));
    let parked: Vec<u64> = parked.expect("it can be read").into_values().collect();
    assert_eq!(parked, [1]);
    tills.desk.is_to(POISON, Trouble::Retry(0));
    tills.world.advance(60 * SECOND);
    assert_eq!(tills.sales(POISON), [POISON]);
    assert!(tills.dead_letters().is_empty());
}

#[test]
fn a_message_that_never_succeeds_becomes_a_dead_letter_after_its_attempts() {
    let retry = Retry {
        parked: vec![SECOND; 2],
        ..Retry::default()
    };
    let handler = gathering(4, SECOND).retry(retry);
    let tills = Tills::with(3, |service| service.on(handler.clone()));
    tills.desk.is_to(2, Trouble::Retry(1_000));
    for number in 0..4 {
        tills.sell(number, number);
    }
    tills.world.advance(60 * SECOND);
    let letters = tills.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((&*letters[0].reason, &*key(&letters[0])), ("not_yet", "2"));
    assert_eq!(letters[0].failures.parked, 2);
    assert!([0, 1, 3].iter().all(|it| tills.sales(it) == [*it]));
}

/// They are treated as those of any other handler, and cost the others no run.
#[test]
fn messages_that_cannot_be_handled_do_not_fail_the_others() {
    let tills = Tills::start(7, 10 * SECOND);
    let mut broken = tills.envelope("broken", 1);
    broken.body = "{}".into();
    let mut unknown = tills.envelope("unknown", 2);
    unknown.kind = "till.lost.v1".into();
    let mut odd = tills.envelope("odd", 3);
    odd.source = "a\0b".into();
    for envelope in [broken, unknown, odd] {
        tills.put(&envelope);
    }
    for number in 10..15 {
        tills.sell(number, number);
    }
    tills.world.advance(20 * SECOND);
    assert!((10..15).all(|number| tills.sales(number) == [number]));
    let letters = tills.dead_letters().into_iter();
    let reasons: BTreeMap<String, String> = letters.map(|it| (key(&it), it.reason)).collect();
    assert_eq!(reasons["broken"], "undecodable");
    assert_eq!(reasons["unknown"], "unknown_type");
    let all: Vec<u32> = tills.desk.runs().concat();
    let runs = all.iter().filter(|number| **number >= 10).count();
    assert_eq!(runs, 5, "each of the others runs once: {all:?}");
    let units = tills.units();
    assert!(units.contains(&5), "and all of them together: {units:?}");
}
