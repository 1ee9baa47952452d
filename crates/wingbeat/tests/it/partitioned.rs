//! Subscriptions with partitions: several replicas work, and the order of each key survives
//! failures, restarts and another number of partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::runtime::Control;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat::{
    App, Entity, Error, Event, Handler as _, JsonSchema, Name, Part, Result, Retry, Running,
    Runtime as _, RuntimeExt as _, Service, State, Table, schemars,
};

use crate::ordered::Nobody;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
    number: u32,
}

/// The readings of a meter in the order in which they were handled, and the replicas that did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Log {
    numbers: Vec<u32>,
    replicas: BTreeSet<u32>,
}

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

/// A replica: its number, and the remaining failures of each reading over all replicas.
#[derive(Clone)]
struct Replica {
    number: u32,
    trouble: Arc<Mutex<BTreeMap<(String, u32), u32>>>,
}

impl Part<Replica> for Replica {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

async fn keep(event: MeterRead, State(replica): State<Replica>, logs: Table<Log>) -> Result<()> {
    {
        let mut left = replica.trouble.lock().expect("nobody panics with it");
        if let Some(times) = left.get_mut(&(event.meter.clone(), event.number))
            && *times > 0
        {
            *times -= 1;
            return Err(Error::retry("not_yet", "it fails at first"));
        }
    }
    let kept = logs.update(&event.meter, |known| {
        let mut log: Log = known.unwrap_or_default();
        log.numbers.push(event.number);
        log.replicas.insert(replica.number);
        log
    });
    kept.await.map(drop)
}

const METERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const READINGS: u32 = 30;
const SECOND: Duration = Duration::from_secs(1);

/// A release with this number of partitions; 0 for an ordered subscription.
fn app(replica: Replica, partitions: u32) -> App {
    let retry = Retry {
        parked: vec![2 * SECOND; 4],
        ..Retry::default()
    };
    let service = Service::new("meters").with_state(replica);
    let handler = keep.retry(retry);
    let handler = match partitions {
        0 => handler.ordered(),
        _ => handler.partitioned(partitions),
    };
    App::new().service(service.on(handler))
}

async fn logs(running: &Running) -> Vec<Log> {
    let reads = running.reads("meters").expect("it runs");
    let mut logs = Vec::new();
    for meter in METERS {
        let log = reads.entity::<Log>(&meter.to_owned()).await;
        logs.push(log.expect("reads").unwrap_or_default());
    }
    logs
}

fn numbers(logs: &[Log]) -> Vec<Vec<u32>> {
    logs.iter().map(|log| log.numbers.clone()).collect()
}

fn in_order() -> Vec<Vec<u32>> {
    vec![(0..READINGS).collect(); METERS.len()]
}

fn of(model: &Model, world: &Simulation, number: u32) {
    for meter in METERS {
        let meter = meter.into();
        let reading = MeterRead { meter, number };
        world.run(model.publish(Uuid::from_u128(1).into(), &reading));
    }
}

/// Three replicas, which are killed and restarted at random while readings arrive, some of which
/// fail repeatedly. Each entry of `sizes` is a release with another number of partitions, rolled
/// out one replica after another. Returns the logs, and the number of dead letters.
fn story(seed: u64, sizes: &[u32]) -> (Vec<Log>, usize) {
    let world = Simulation::new(seed);
    let model = Model::new(world.runtime());
    let trouble = Arc::<Mutex<BTreeMap<_, _>>>::default();
    for meter in METERS {
        for number in (0..READINGS).step_by(7) {
            let times = 1 + world.random() as u32 % 9;
            let mut left = trouble.lock().expect("nobody panics with it");
            left.insert((meter.to_owned(), number), times);
        }
    }
    let launch = |number: usize, partitions: u32| {
        let (group, trouble) = (world.group(), Arc::clone(&trouble));
        let ports = model.ports(&group, Arc::new(Nobody));
        let replica = Replica {
            number: number as u32,
            trouble,
        };
        let started = app(replica, partitions).allow_unknown_owners().start(ports);
        (group, world.run(started).expect("starts"))
    };
    let mut releases = [sizes[0]; 3];
    let mut replicas: Vec<_> = (0..3).map(|at| launch(at, sizes[0])).collect();
    world.advance(10 * SECOND);
    model.set_faults(Faults {
        duplicate: 100,
        commit_unknown: 100,
        confirm_lost: 100,
        ..Faults::default()
    });
    for number in 0..READINGS {
        of(&model, &world, number);
        let release = sizes[number as usize * sizes.len() / READINGS as usize];
        let outdated = releases.iter().position(|it| *it != release);
        match (outdated, world.random() % 8) {
            (Some(at), 0..4) => {
                releases[at] = release;
                replicas[at].0.kill();
                replicas[at] = launch(at, release);
            }
            (_, 4) => {
                let at = world.random() as usize % 3;
                replicas[at].0.kill();
                replicas[at] = launch(at, releases[at]);
            }
            (_, 5) => model.transport.restart(),
            _ => {
                let moment = world.jitter(4 * SECOND);
                world.advance(moment);
            }
        }
    }
    world.advance(3_600 * SECOND);
    let running = &replicas[0].1;
    let found = world.run(logs(running));
    let letters = world.run(running.dead_letters("meters".into()));
    let letters = letters.expect("reads").len();
    world.end();
    (found, letters)
}

#[test]
fn the_order_of_each_key_survives_restarts_and_another_number_of_partitions() {
    crate::again::disable();
    for seed in 0..12 {
        let (logs, letters) = story(seed, &[2, 5, 3]);
        assert_eq!(numbers(&logs), in_order(), "seed {seed}");
        assert_eq!(letters, 0, "seed {seed}");
    }
}

/// Releases with an ordered subscription precede and follow those with partitions.
#[test]
fn the_order_of_each_key_survives_the_way_from_and_to_an_ordered_subscription() {
    crate::again::disable();
    for seed in 0..4 {
        for sizes in [&[0, 4][..], &[3, 0], &[2, 0, 4, 0]] {
            let (logs, letters) = story(seed, sizes);
            assert_eq!(numbers(&logs), in_order(), "seed {seed}, {sizes:?}");
            assert_eq!(letters, 0, "seed {seed}, {sizes:?}");
        }
    }
}

/// The negative control of the test above: an ordered release handles new messages at once.
#[test]
fn unless_the_partitions_are_empty_an_ordered_release_handles_newer_messages_first() {
    let guard =
        "partitioned::the_order_of_each_key_survives_the_way_from_and_to_an_ordered_subscription";
    crate::again::fails_without("partitions-empty", guard);
}

/// The negative control of the test of growth: messages overtake those in another partition.
#[test]
fn unless_the_partitions_are_empty_messages_overtake_when_their_number_changes() {
    let guard =
        "partitioned::the_order_of_each_key_survives_restarts_and_another_number_of_partitions";
    crate::again::fails_without("partitions-empty", guard);
}

#[test]
fn all_replicas_work_and_the_others_take_over_from_a_dead_one() {
    let world = Simulation::new(7);
    let model = Model::new(world.runtime());
    let launch = |number: u32| {
        let group = world.group();
        let ports = model.ports(&group, Arc::new(Nobody));
        let replica = Replica {
            number,
            trouble: Arc::default(),
        };
        let started = app(replica, 6).allow_unknown_owners().start(ports);
        (group, world.run(started).expect("starts"))
    };
    let replicas = [launch(0), launch(1), launch(2)];
    let active = |at: usize| -> Vec<Name> {
        let subscriptions = replicas[at].1.subscriptions.iter();
        let partitions = subscriptions.filter(|it| it.partition_of.is_some());
        let active = partitions.filter(|it| it.control() == Control::Running);
        active.map(|it| it.queue).collect()
    };
    world.advance(10 * SECOND);
    for at in 0..3 {
        assert_eq!(active(at).len(), 2, "of replica {at}");
    }
    for number in 0..READINGS / 2 {
        of(&model, &world, number);
        world.advance(SECOND);
    }
    let before = world.run(logs(&replicas[0].1));
    let workers: BTreeSet<u32> = before.iter().flat_map(|log| log.replicas.clone()).collect();
    assert_eq!(workers, [0, 1, 2].into());
    assert!(
        before.iter().all(|log| log.replicas.len() == 1),
        "{before:?}"
    );

    replicas[1].0.kill();
    for number in READINGS / 2..READINGS {
        of(&model, &world, number);
        world.advance(SECOND);
    }
    world.advance(20 * SECOND);
    let after = world.run(logs(&replicas[0].1));
    assert_eq!(numbers(&after), in_order());
    assert_eq!((active(0).len(), active(2).len()), (3, 3));

    world.run(replicas[0].1.drain());
    world.advance(3 * SECOND);
    assert_eq!(active(2).len(), 6, "a replica that drains leaves at once");
    world.end();
}

#[test]
fn an_operator_pauses_a_subscription_with_its_partitions() {
    let world = Simulation::new(8);
    let model = Model::new(world.runtime());
    let group = world.group();
    let ports = model.ports(&group, Arc::new(Nobody));
    let replica = Replica {
        number: 0,
        trouble: Arc::default(),
    };
    let started = app(replica, 2).allow_unknown_owners().start(ports);
    let running = world.run(started).expect("starts");
    world.advance(SECOND);
    let controls = || -> Vec<_> {
        let all = running.subscriptions.iter();
        all.map(wingbeat::app::RunningSubscription::control)
            .collect()
    };
    assert_eq!(controls(), [Control::Running; 3]);
    assert!(
        world
            .run(running.pause("meters", "read"))
            .expect("it pauses")
    );
    assert_eq!(controls(), [Control::Paused; 3]);
    of(&model, &world, 0);
    world.advance(5 * SECOND);
    assert_eq!(
        numbers(&world.run(logs(&running))),
        vec![Vec::<u32>::new(); 8]
    );
    assert!(
        world
            .run(running.resume("meters", "read"))
            .expect("it resumes")
    );
    world.advance(5 * SECOND);
    assert_eq!(numbers(&world.run(logs(&running))), vec![vec![0]; 8]);
    world.end();
}

#[test]
fn the_number_of_partitions_is_checked() {
    let replica = || Replica {
        number: 0,
        trouble: Arc::default(),
    };
    let with_partitions = |replica, count| {
        let service = Service::new("meters").with_state(replica);
        App::new().service(service.on(keep.partitioned(count)))
    };
    for wrong in [0, 65] {
        let checked = with_partitions(replica(), wrong)
            .allow_unknown_owners()
            .check();
        let found = checked.expect_err("it is out of range").to_string();
        assert!(found.contains("takes 1 to 64"), "{found}");
    }
    for right in [1, 64] {
        let checked = with_partitions(replica(), right)
            .allow_unknown_owners()
            .check();
        checked.expect("it is in range");
    }
    let both = keep.ordered().partitioned(4);
    let both = Service::new("meters").with_state(replica()).on(both);
    let checked = App::new().service(both).allow_unknown_owners().check();
    let found = checked.expect_err("it is both").to_string();
    assert!(found.contains("both ordered and partitioned"), "{found}");
}
