//! The figures of groups.

use std::collections::BTreeSet;
use std::time::Duration;

use wingbeat::app::Decision;
use wingbeat::serde_json::json;

use super::{SERVICE, World, actions};

#[test]
fn dead_letters_are_grouped_by_cause_with_their_figures() {
    let world = World::new();
    let process = world.start();
    world.fail(0..20, "torn");
    world.fail(20..23, "wet");
    let found = world.incidents(&process);
    let figures = found
        .iter()
        .map(|it| (it.count, it.failures, it.affected_keys()));
    assert_eq!(figures.collect::<Vec<_>>(), [(20, 20, 5), (3, 3, 3)]);
    let torn = &found[0];
    assert_eq!(
        (&*torn.reason, &*torn.subscription),
        ("lost", "loans.book_lent")
    );
    assert!(torn.error.starts_with("torn: book "), "{}", torn.error);
    assert!(torn.first_at <= torn.last_at && torn.keys.contains(&"reader-3".to_owned()));
    let now = world.simulation.runtime().now();
    assert_eq!(torn.failures_within(60, now), 20);

    let page = |after| {
        let letters = process
            .running
            .incident_letters(SERVICE, &torn.group, after, 15);
        world.simulation.run(letters).expect("the store reads")
    };
    let (first, next) = page(None);
    let (last, end) = page(next);
    assert_eq!((first.len(), last.len(), end), (15, 5, None));
    let ids: BTreeSet<_> = first.iter().chain(&last).map(|it| it.id).collect();
    assert_eq!(ids.len(), 20, "each is on one page");
}

#[test]
fn an_empty_group_disappears_and_a_letter_that_fails_again_counts_its_retries() {
    let world = World::new();
    let process = world.start();
    world.fail(0..2, "torn");
    let letters = process.running.dead_letters(SERVICE);
    let letters = world.simulation.run(letters).expect("the store reads");
    let by = Decision::by("ada").because("trying");
    for _ in 0..2 {
        let retried = process
            .running
            .retry_dead_letter_as(SERVICE, letters[0].id, &by);
        assert!(world.simulation.run(retried).expect("it commits"));
        // The lease of the attempt before may still hold its record.
        world.pass(40);
    }
    let again = process.running.dead_letter(SERVICE, letters[0].id);
    let again = world.simulation.run(again).expect("the store reads");
    assert_eq!(again.expect("it failed again").retries, 2);
    let found = world.incidents(&process);
    assert_eq!((found[0].count, found[0].failures), (2, 4));

    world.mend();
    let by = Decision::by("bo").because("nobody needs it");
    let retried = process
        .running
        .retry_dead_letter_as(SERVICE, letters[0].id, &by);
    assert!(world.simulation.run(retried).expect("it commits"));
    let discarded = process
        .running
        .discard_dead_letter_as(SERVICE, letters[1].id, &by);
    assert!(world.simulation.run(discarded).expect("it commits"));
    world.pass(40);
    assert_eq!(
        (world.incidents(&process).len(), world.letters(&process)),
        (0, 0)
    );
    let recorded = actions(&world, &process);
    assert_eq!(recorded[0], ["retry", "ada", "trying"]);
    assert!(recorded.contains(&["discard", "bo", "nobody needs it"].map(str::to_owned)));
}

/// The mark of a dead letter may still be there when a person decides about it.
#[test]
fn a_letter_that_is_retried_before_it_is_sorted_is_not_counted() {
    let world = World::new();
    let process = world.start();
    world.lend(1, Some("torn"));
    let begun = world.simulation.runtime().elapsed();
    while world.letters(&process) == 0 {
        world.simulation.advance(Duration::from_millis(5));
    }
    let took = world.simulation.runtime().elapsed() - begun;
    assert!(
        took < Duration::from_millis(900),
        "it may be sorted: {took:?}"
    );
    world.mend();
    let letters = process.running.dead_letters(SERVICE);
    let letters = world.simulation.run(letters).expect("the store reads");
    let retried = process.running.retry_dead_letter(SERVICE, letters[0].id);
    assert!(world.simulation.run(retried).expect("it commits"));
    world.pass(10);
    assert_eq!(world.incidents(&process), []);
    assert_eq!(world.times(&process, 1..2), [1]);
}

#[test]
fn groups_beyond_the_bound_are_counted_together() {
    let world = World::new();
    let process = world.start();
    for book in 0..1_010 {
        // The error's shape leaves out hexadecimal digits.
        let fault = "ghijklmnopqrstuvwxyz".chars().nth(book as usize % 20);
        let fault: String = fault
            .into_iter()
            .cycle()
            .take(1 + book as usize / 20)
            .collect();
        world.lend(book, Some(&fault));
    }
    world.pass(30);
    let found = world.incidents(&process);
    assert_eq!(found.len(), 1_001);
    assert_eq!((found[0].count, &*found[0].reason), (10, "other_causes"));
    assert_eq!(found.iter().map(|it| it.count).sum::<u64>(), 1_010);
}

#[test]
fn a_dead_letter_expires() {
    let world = World::new();
    let hour = Duration::from_secs(3_600);
    let process = world.start_with(|service| service.dead_letters_expire_after(hour));
    world.fail(0..3, "torn");
    world.simulation.advance(hour - Duration::from_secs(600));
    assert_eq!(world.letters(&process), 3);
    world.pass(900);
    assert_eq!(
        (world.incidents(&process).len(), world.letters(&process)),
        (0, 0)
    );
    assert_eq!(actions(&world, &process)[0][..2], ["expire", "wingbeat"]);
}

#[test]
fn an_edited_body_must_fit_the_schema_of_its_message() {
    let world = World::new();
    let process = world.start();
    world.fail(1..2, "poison");
    let letters = process.running.dead_letters(SERVICE);
    let id = world.simulation.run(letters).expect("the store reads")[0].id;
    let by = Decision::by("ada").because("the fault was a slip");
    let edit = |body| {
        let edited = process.running.edit_dead_letter(SERVICE, id, &body, &by);
        world.simulation.run(edited).map_err(|why| why.to_string())
    };
    let why = edit(json!({"reader": "reader-1", "book": "one"})).unwrap_err();
    assert!(why.contains("/book must be of type integer"), "{why}");
    assert!(edit(json!({"reader": "reader-1", "book": 7, "fault": null})) == Ok(true));
    let retried = process.running.retry_dead_letter(SERVICE, id);
    assert!(world.simulation.run(retried).expect("it commits"));
    world.pass(5);
    assert_eq!(
        (world.times(&process, 7..8), world.letters(&process)),
        (vec![1], 0)
    );
    let recorded = actions(&world, &process);
    assert_eq!(recorded[0], ["edit", "ada", "the fault was a slip"]);
}
