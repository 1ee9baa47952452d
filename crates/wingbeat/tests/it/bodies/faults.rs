//! The store of bodies fails, and processes die.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wingbeat::bodies::LargeBodies;
use wingbeat::bytes::Bytes;
use wingbeat::ports::Store as _;
use wingbeat::test::executor::Group;
use wingbeat::test::{Faults, Model, Outages, Simulation};
use wingbeat::{CorrelationId, Name, Running};

use super::{ARCHIVE, DOCS, LARGE, MINUTE, Received, STORY, Scan, World, docs, once, scan_of};
use crate::transfers::ports;

/// Returns the number of failures that the dispatchers have counted.
fn counted(world: &World, counter: &str) -> i64 {
    let mut sum = 0;
    for service in ["docs", "index", "archive"] {
        let counters = world.app.run(world.app.reads(service).counters());
        let counters = counters.expect("the store reads").into_iter();
        let of_kind = counters.filter(|(name, _)| name.as_str().starts_with(counter));
        sum += of_kind.map(|(_, count)| count).sum::<i64>();
    }
    sum
}

#[test]
fn a_message_waits_until_its_body_can_be_stored() {
    let world = World::start();
    world.shelf.put_fails.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.pass(MINUTE);
    assert_eq!(world.received("index", "a"), Received::default());
    assert!(world.app.published("docs", STORY).is_empty());
    assert!(world.letters(DOCS).is_empty(), "an outage gives nothing up");
    assert_eq!(counted(&world, "parked:"), 0, "it uses up no attempts");
    world.shelf.put_fails.store(false, Ordering::SeqCst);
    world.app.until_idle();
    assert_eq!(world.received("index", "a"), once(LARGE));
    assert_eq!(world.received("archive", "a"), once(LARGE));
}

#[test]
fn deliveries_wait_until_their_body_can_be_fetched() {
    let mut world = World::start();
    world.shelf.get_fails.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.pass(2 * MINUTE);
    assert!(world.shelf.gets.load(Ordering::SeqCst) > 50, "it retries");
    assert!(world.letters(ARCHIVE).is_empty());
    assert_eq!(counted(&world, "parked:"), 0);
    // Also over a restart.
    world.restart();
    world.app.pass(2 * MINUTE);
    world.shelf.get_fails.store(false, Ordering::SeqCst);
    world.app.until_idle();
    for service in ["index", "archive"] {
        assert_eq!(world.received(service, "a"), once(LARGE), "{service}");
    }
}

#[test]
fn a_process_drains_while_bodies_cannot_be_fetched() {
    let world = World::start();
    world.shelf.get_fails.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.pass(Duration::from_secs(10));
    world.app.run(world.app.running().drain());
    assert!(world.letters(ARCHIVE).is_empty());
}

#[test]
fn a_body_that_is_gone_makes_a_dead_letter() {
    let world = World::start();
    world.shelf.get_fails.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.pass(Duration::from_secs(10));
    let lost = std::mem::take(&mut *world.shelf.bodies.lock().unwrap());
    world.shelf.get_fails.store(false, Ordering::SeqCst);
    world.app.until_idle();
    let letters = world.letters(ARCHIVE);
    assert_eq!((letters.len(), &*letters[0].reason), (1, "body_gone"));
    *world.shelf.bodies.lock().unwrap() = lost;
    world.retry(ARCHIVE);
    world.app.until_idle();
    assert_eq!(world.received("archive", "a"), once(LARGE));
}

#[test]
fn a_body_that_was_changed_makes_a_dead_letter() {
    let flipped = |body: &Bytes| -> Bytes { body.iter().map(|byte| byte ^ 1).collect() };
    let shorter = |body: &Bytes| body.slice(1..);
    let world = World::start();
    world.full.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.until_idle();
    world.full.store(false, Ordering::SeqCst);
    let right = world.shelf.bodies.lock().unwrap().clone();
    for change in [&flipped as &dyn Fn(&Bytes) -> Bytes, &shorter] {
        world.shelf.change(change);
        world.retry(ARCHIVE);
        world.app.until_idle();
        let letters = world.letters(ARCHIVE);
        assert_eq!((letters.len(), &*letters[0].reason), (1, "body_mismatch"));
        world.shelf.bodies.lock().unwrap().clone_from(&right);
    }
    assert_eq!(world.received("archive", "a"), Received::default());
    world.retry(ARCHIVE);
    world.app.until_idle();
    assert_eq!(world.received("archive", "a"), once(LARGE));
}

/// The process dies after the body was stored and before the unit is committed: nothing is
/// published, and the delivery is handled again.
#[test]
fn a_process_that_dies_between_body_and_commit_publishes_nothing() {
    let mut world = World::start();
    world.shelf.put_hangs.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.pass(Duration::from_secs(10));
    assert_eq!(world.shelf.count(), 1);
    assert!(world.app.published("docs", STORY).is_empty());
    world.shelf.put_hangs.store(false, Ordering::SeqCst);
    world.restart();
    world.app.until_idle();
    assert_eq!(world.received("index", "a"), once(LARGE));
    assert_eq!(world.shelf.count(), 1, "the second attempt uses the body");
}

/// Large bodies while processes die, commits are lost and the store is away: every subscriber
/// handles every document once, and whole.
#[test]
fn no_fault_loses_or_repeats_a_large_body() {
    for seed in 0..20 {
        let rough = Rough::new(seed);
        rough.run();
    }
}

const DOCUMENTS: u64 = 6;
/// Above the threshold of this system.
const SIZE: usize = 20_000;

/// A system with faults, on the model's store of bodies.
struct Rough {
    seed: u64,
    simulation: Simulation,
    model: Model,
}

impl Rough {
    fn new(seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        let model = Model::new(simulation.runtime());
        Self {
            seed,
            simulation,
            model,
        }
    }

    fn start(&self) -> (Arc<Group>, Running) {
        let mut bodies =
            LargeBodies::new(self.model.store.bodies().expect("the model keeps bodies"));
        bodies.threshold = 10_000;
        let process = self.simulation.group();
        let app = docs(&Arc::default()).large_bodies(Some(bodies));
        self.model.set_faults(Faults::default());
        let started = app.start(ports(&self.model, process.clone()));
        let running = self.simulation.run(started).expect("it starts");
        self.model.set_faults(Faults {
            commit_unknown: 150,
            store_unavailable: 150,
            confirm_lost: 100,
            duplicate: 200,
            delay: Duration::from_millis(50),
            ..Faults::default()
        });
        (process, running)
    }

    fn doc(&self, number: u64) -> String {
        format!("{number}-{}", self.seed)
    }

    fn run(&self) {
        let mut process = self.start();
        for number in 0..DOCUMENTS {
            let after = (number == 3).then_some(300);
            let scan = Scan {
                after,
                ..scan_of(&self.doc(number), SIZE)
            };
            let published = self.model.publish(CorrelationId(STORY), &scan);
            self.simulation.run(published);
            let moment = Duration::from_millis(50 * (self.seed % 5));
            self.simulation.advance(moment);
            match (self.seed + number) % 4 {
                0 => {
                    process.0.kill();
                    drop(process.1);
                    process = self.start();
                }
                1 => self.outage(),
                _ => {}
            }
        }
        self.model.set_faults(Faults::default());
        self.simulation.advance(15 * MINUTE);
        for service in ["index", "archive"] {
            self.assert_received(&process.1, service);
        }
        drop(process);
        self.simulation.end();
    }

    fn outage(&self) {
        self.model.set_outages(Outages {
            store: true,
            ..Outages::default()
        });
        self.simulation.advance(Duration::from_secs(20));
        self.model.set_outages(Outages::default());
    }

    fn assert_received(&self, running: &Running, service: &'static str) {
        let letters = self
            .simulation
            .run(running.dead_letters(Name::new(service)));
        assert_eq!(letters.expect("the store reads").len(), 0, "{}", self.seed);
        let reads = running.reads(service).expect("it runs");
        for number in 0..DOCUMENTS {
            let doc = self.doc(number);
            let received = self.simulation.run(reads.entity::<Received>(&doc));
            assert_eq!(
                received.expect("the store reads"),
                Some(once(SIZE)),
                "{doc}"
            );
        }
    }
}
