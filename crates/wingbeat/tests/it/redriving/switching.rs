//! Kill switches: a subscription that fails too often pauses itself.

use std::time::Duration;

use wingbeat::app::Decision;
use wingbeat::policy::KillSwitch;
use wingbeat::runtime::Control;
use wingbeat::{App, Handler as _, Service};

use super::{Process, World, actions, lend};
use crate::found::Nowhere;

fn start(world: &World, switch: Option<KillSwitch>) -> Process {
    let group = world.simulation.group();
    let ports = world.model.ports(&group, std::sync::Arc::new(Nowhere));
    let service = Service::new("loans").with_state(world.shared.clone());
    let service = match switch {
        Some(switch) => service.on(lend.kill_switch(switch)),
        None => service.on(lend),
    };
    let app = App::new().service(service).outside(["library"]);
    let running = world.simulation.run(app.start(ports)).expect("it starts");
    Process { running, group }
}

fn switch() -> KillSwitch {
    KillSwitch {
        failures: 5,
        percent: 50,
        within: Duration::from_secs(60),
        probe_after: Duration::from_secs(10),
    }
}

fn control(process: &Process) -> Control {
    process.running.subscriptions[0].control()
}

fn pause(process: &Process) -> Option<wingbeat::app::Pause> {
    process.running.pause_of(&process.running.subscriptions[0])
}

#[test]
fn a_subscription_that_fails_too_often_pauses_itself_everywhere() {
    let world = World::new();
    let processes = [start(&world, Some(switch())), start(&world, Some(switch()))];
    world.fail(0..4, "torn");
    assert_eq!(processes.each_ref().map(control), [Control::Running; 2]);
    for book in 4..200 {
        world.lend(book, Some("torn"));
        // Failures count when they are durable.
        world.simulation.advance(Duration::from_millis(10));
    }
    world.pass(3);
    let dead = world.letters(&processes[0]);
    assert!(dead < 200, "the rest waits: {dead}");
    assert_eq!(processes.each_ref().map(control), [Control::Paused; 2]);
    let later = start(&world, Some(switch()));
    assert_eq!(
        control(&later),
        Control::Paused,
        "a replica that starts later"
    );
    let pause = pause(&later).expect("it is paused");
    assert_eq!(pause.by, "kill switch");
    assert!(pause.why.contains("the last: lost"), "{}", pause.why);
    assert!(pause.probe_at.is_some_and(|at| at > pause.since));
    assert_eq!(actions(&world, &later)[0][..2], ["pause", "kill switch"]);

    // Each probe handles one message, at growing distances.
    world.pass(60);
    let probed = world.letters(&later) - dead;
    assert!((1..=3).contains(&probed), "{probed} probes");

    world.mend();
    world.pass(200);
    let all = [&processes[0], &processes[1], &later].map(control);
    assert_eq!(all, [Control::Running; 3]);
    world.pass(30);
    let failed = world.letters(&later);
    let times = world.times(&later, 0..200);
    assert_eq!(times.iter().sum::<u32>() as usize + failed, 200);
    assert_eq!(failed, dead + probed);
}

/// Negative control: without the switch all messages become dead letters.
#[test]
fn without_a_kill_switch_every_message_is_tried() {
    let world = World::new();
    let process = start(&world, None);
    world.fail(0..200, "torn");
    assert_eq!(
        (world.letters(&process), control(&process)),
        (200, Control::Running)
    );
}

#[test]
fn a_pause_of_a_kill_switch_outlives_restarts_and_ends_by_hand() {
    let world = World::new();
    let process = start(&world, Some(switch()));
    world.fail(0..20, "torn");
    assert_eq!(control(&process), Control::Paused);
    process.group.kill();
    let process = start(&world, Some(switch()));
    assert_eq!(control(&process), Control::Paused);
    world.mend();
    let by = Decision::by("ada").because("mended");
    let resumed = process.running.resume_as("loans", "book_lent", &by);
    assert!(world.simulation.run(resumed).expect("it commits"));
    assert_eq!(control(&process), Control::Running, "at once");
    world.pass(5);
    let times = world.times(&process, 0..20);
    assert_eq!(
        times.iter().sum::<u32>() as usize + world.letters(&process),
        20
    );
    let recorded = actions(&world, &process);
    assert_eq!(recorded[1], ["resume", "ada", "mended"]);
}

#[test]
fn a_few_failures_among_many_successes_do_not_trip() {
    let world = World::new();
    let process = start(&world, Some(switch()));
    for book in 0..60 {
        world.lend(book, (book % 4 == 0).then_some("torn"));
    }
    world.pass(5);
    assert_eq!(
        (world.letters(&process), control(&process)),
        (15, Control::Running)
    );
}

#[test]
fn a_pause_by_hand_replaces_that_of_a_kill_switch() {
    let world = World::new();
    let process = start(&world, Some(switch()));
    world.fail(0..20, "torn");
    let by = Decision::by("ada").because("until tomorrow");
    let paused = process.running.pause_as("loans", "book_lent", &by);
    assert!(world.simulation.run(paused).expect("it commits"));
    world.mend();
    world.pass(600);
    assert_eq!(control(&process), Control::Paused, "no probe ends it");
    let pause = pause(&process).expect("it is paused");
    assert_eq!(
        (&*pause.by, &*pause.why, pause.probe_at),
        ("ada", "until tomorrow", None)
    );
}
