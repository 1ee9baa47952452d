//! Redrives: the canary, the rate, and what stops them.

use wingbeat::app::{Decision, RedriveState, Selection};

use super::{SERVICE, World, actions, group, is};

#[test]
fn a_poisoned_group_stops_at_its_canary() {
    let world = World::new();
    let process = world.start();
    world.fail(0..40, "poison");
    let poisoned = &world.incidents(&process)[0];
    world.redrive(&process, group(poisoned, 1_000));
    let ended = world.until_ended(&process);
    assert!(is(RedriveState::Stopped, &ended));
    assert_eq!((ended.sent, ended.failed), (1, 1), "only the canary");
    let (letter, error) = ended.last_failure.expect("one failed");
    assert!(error.contains("poison"), "{error}");
    world.pass(10);
    assert_eq!(world.letters(&process), 40);
    let again = process.running.dead_letter(SERVICE, letter);
    let again = world.simulation.run(again).expect("the store reads");
    assert_eq!(again.expect("it is a dead letter as before").retries, 1);
    let found = world.incidents(&process);
    assert_eq!((found[0].count, found[0].failures), (40, 41));
    let recorded = actions(&world, &process);
    let begun = ["redrive", "ada", "it is mended"].map(str::to_owned);
    assert!(recorded.contains(&begun), "{recorded:?}");
    let stopped = |it: &[String; 3]| it[..2] == ["redrive_stopped", "wingbeat"];
    assert!(recorded.iter().any(stopped), "{recorded:?}");
}

#[test]
fn a_mended_group_is_handled_at_the_rate() {
    let world = World::new();
    let process = world.start();
    world.fail(0..120, "torn");
    world.fail(120..125, "wet");
    world.mend();
    let torn = &world.incidents(&process)[0];
    let redrive = world.redrive(&process, group(torn, 10));
    world.pass(6);
    let half = world.state(&process);
    assert!(
        (30..=62).contains(&half.sent),
        "at 10 a second: {}",
        half.sent
    );
    let ended = world.until_ended(&process);
    assert!(is(RedriveState::Done, &ended));
    assert_eq!((ended.id, ended.sent, ended.failed), (redrive.id, 120, 0));
    let took = ended.ended.expect("it ended").since(ended.began);
    assert!(took.as_secs() >= 11, "{took:?}");
    assert_eq!(world.times(&process, 0..120), [1; 120]);
    assert_eq!(world.letters(&process), 5, "the other group waits");
    let found = world.incidents(&process);
    assert_eq!((found.len(), found[0].count), (1, 5));
}

#[test]
fn a_redrive_stops_when_one_fails_again() {
    let world = World::new();
    let process = world.start();
    world.fail(0..10, "torn");
    world.fail(10..11, "poison");
    world.fail(11..60, "torn");
    world.mend();
    let mut selection = Selection::default();
    selection.subscription = Some("loans.book_lent".into());
    selection.rate = 10;
    world.redrive(&process, selection);
    let ended = world.until_ended(&process);
    assert!(is(RedriveState::Stopped, &ended));
    assert_eq!(ended.failed, 1);
    assert!((11..20).contains(&ended.sent), "soon after: {}", ended.sent);
    world.pass(10);
    assert_eq!(world.letters(&process) as u64, 60 - ended.sent + 1);
}

#[test]
fn a_redrive_goes_on_after_as_many_failures_as_it_tolerates() {
    let world = World::new();
    let process = world.start();
    world.fail(0..10, "torn");
    world.fail(10..12, "poison");
    world.fail(12..30, "torn");
    world.mend();
    let mut selection = Selection::default();
    selection.rate = 100;
    selection.tolerate = 2;
    world.redrive(&process, selection);
    let ended = world.until_ended(&process);
    assert!(is(RedriveState::Done, &ended));
    assert_eq!((ended.sent, ended.failed), (30, 2));
    assert_eq!(world.letters(&process), 2);
}

#[test]
fn a_query_selects_by_key_reason_error_and_retries() {
    let world = World::new();
    let process = world.start();
    world.fail(0..10, "torn");
    world.fail(10..20, "poison");
    world.mend();
    let ended = |change: fn(&mut Selection)| {
        let mut selection = Selection::default();
        change(&mut selection);
        let id = world.redrive(&process, selection).id;
        world.pass(20);
        let all = process.running.redrives_of(SERVICE);
        let all = world.simulation.run(all).expect("the store reads");
        let one = all
            .into_iter()
            .find(|it| it.id == id)
            .expect("it is listed");
        (one.state, one.sent)
    };
    let by_key = ended(|it| {
        it.key = Some("reader-1".into());
        it.reason = Some("lost".into());
    });
    assert_eq!(by_key, (RedriveState::Done, 2));
    assert_eq!(world.times(&process, 0..10), [0, 1, 0, 0, 0, 0, 1, 0, 0, 0]);
    let by_error = ended(|it| it.error = Some("poison: book 12".into()));
    assert_eq!(by_error, (RedriveState::Stopped, 1));
    let nothing = ended(|it| it.kind = Some("library.book_lost.v1".into()));
    assert_eq!(nothing, (RedriveState::Done, 0));
    let fresh = ended(|it| {
        it.reason = Some("poison".into());
        it.key = Some("reader-2".into());
        it.retries_max = Some(0);
    });
    assert_eq!(
        fresh,
        (RedriveState::Stopped, 1),
        "book 17: book 12 was retried"
    );
}

#[test]
fn a_person_stops_a_redrive() {
    let world = World::new();
    let process = world.start();
    world.fail(0..50, "torn");
    world.mend();
    let torn = &world.incidents(&process)[0];
    let redrive = world.redrive(&process, group(torn, 2));
    world.pass(5);
    let by = Decision::by("bo").because("too early");
    let cancelled = process.running.cancel_redrive(SERVICE, redrive.id, &by);
    assert!(world.simulation.run(cancelled).expect("it commits"));
    let stopped = world.state(&process);
    assert!(is(RedriveState::Cancelled, &stopped));
    world.pass(20);
    assert_eq!(world.state(&process).sent, stopped.sent);
    assert_eq!(world.letters(&process) as u64, 50 - stopped.sent);
    let recorded = actions(&world, &process);
    assert_eq!(recorded[1], ["redrive_stopped", "bo", "too early"]);
}

#[test]
fn wrong_numbers_and_too_many_redrives_are_refused() {
    let world = World::new();
    let process = world.start();
    world.fail(0..50, "torn");
    let begin = |rate| {
        let mut selection = Selection::default();
        selection.rate = rate;
        selection.kind = Some("library.book_lost.v1".into());
        let by = Decision::by("ada");
        let begun = process.running.redrive(SERVICE, selection, &by);
        world
            .simulation
            .run(begun)
            .map(drop)
            .map_err(|why| why.code())
    };
    assert_eq!(
        (begin(0), begin(1_001)),
        (Err("bad_selection"), Err("bad_selection"))
    );
    let pause = process.running.pause("loans", "book_lent");
    assert!(world.simulation.run(pause).expect("it commits"));
    for _ in 0..16 {
        // They wait for their canaries, which the paused subscription does not handle.
        world.redrive(&process, Selection::default());
        world.pass(1);
    }
    assert_eq!(begin(1), Err("too_many_redrives"));
}
