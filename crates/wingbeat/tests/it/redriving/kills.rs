//! Redrives while processes die, and by several replicas.

use super::{RedriveState, World, group, is};

#[test]
fn a_redrive_outlives_the_process_that_runs_it() {
    let world = World::new();
    let first = world.start();
    world.fail(0..80, "torn");
    world.mend();
    let torn = &world.incidents(&first)[0];
    world.redrive(&first, group(torn, 10));
    let mut process = first;
    for _ in 0..6 {
        world.pass(2);
        process.group.kill();
        world.pass(1);
        process = world.start();
    }
    world.pass(60);
    let ended = world.until_ended(&process);
    assert!(is(RedriveState::Done, &ended));
    assert_eq!((ended.sent, ended.failed), (80, 0));
    world.pass(60);
    assert_eq!(
        world.times(&process, 0..80),
        [1; 80],
        "none is lost or doubled"
    );
    assert_eq!(
        (world.incidents(&process).len(), world.letters(&process)),
        (0, 0)
    );
}

#[test]
fn processes_that_die_at_a_commit_lose_and_double_nothing() {
    for polls in 1..24_u64 {
        let world = World::new();
        let first = world.start();
        world.fail(0..30, "torn");
        world.mend();
        let torn = &world.incidents(&first)[0];
        world.redrive(&first, group(torn, 100));
        if polls % 2 == 0 {
            first.group.kill_at_commit();
        } else {
            first.group.kill_after(polls * 7);
        }
        world.pass(2);
        first.group.kill();
        let second = world.start();
        world.pass(60);
        let ended = world.until_ended(&second);
        assert!(is(RedriveState::Done, &ended), "{polls}: {ended:?}");
        assert_eq!(ended.sent, 30, "{polls}");
        world.pass(60);
        assert_eq!(world.times(&second, 0..30), [1; 30], "{polls}");
        assert_eq!(world.letters(&second), 0, "{polls}");
    }
}

#[test]
fn replicas_share_a_redrive_and_sort_each_letter_once() {
    let world = World::new();
    let replicas = [world.start(), world.start(), world.start()];
    world.fail(0..300, "torn");
    let found = world.incidents(&replicas[0]);
    assert_eq!((found[0].count, found[0].failures), (300, 300));
    world.mend();
    world.redrive(&replicas[1], group(&found[0], 100));
    let ended = world.until_ended(&replicas[2]);
    assert_eq!((ended.state, ended.sent), (RedriveState::Done, 300));
    assert!(ended.ended.expect("it ended").since(ended.began).as_secs() >= 3);
    world.pass(5);
    assert_eq!(world.times(&replicas[0], 0..300), [1; 300]);
    assert_eq!(world.incidents(&replicas[0]), []);
}
