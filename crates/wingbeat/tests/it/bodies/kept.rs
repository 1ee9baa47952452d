//! Bodies are kept for their retention, and deleted afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wingbeat::ports::Transport as _;
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Simulation};
use wingbeat::{Message, Running};
use wingbeat_core::bodies::day;

use super::{ARCHIVE, LARGE, Scan, Shelf, on, scan_of};
use crate::transfers::{envelope, ports};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A system whose processes begin on later days: their clocks are ahead.
struct Calendar {
    simulation: Simulation,
    model: Model,
    shelf: Arc<Shelf>,
    full: Arc<AtomicBool>,
    process: Option<(Arc<Group>, Running)>,
}

impl Calendar {
    fn start() -> Self {
        let simulation = Simulation::new(1);
        let mut calendar = Self {
            model: Model::new(simulation.runtime()),
            simulation,
            shelf: Arc::default(),
            full: Arc::default(),
            process: None,
        };
        calendar.on_day(0);
        calendar
    }

    /// Kills the process, and runs another one after so many days for some minutes: the store is
    /// swept twice.
    fn on_day(&mut self, days: u32) {
        if let Some((process, running)) = self.process.take() {
            process.kill();
            drop(running);
        }
        let skew = i64::try_from((DAY * days).as_millis()).expect("a skew of some days");
        let process = self.simulation.skewed_group(skew);
        let app = on(&self.full, &self.shelf);
        let started = app.start(ports(&self.model, process.clone()));
        let running = self.simulation.run(started).expect("it starts");
        self.process = Some((process, running));
        self.simulation.advance(Duration::from_secs(160));
    }

    fn publish<M: Message>(&self, message: &M) {
        let sent = vec![envelope(&self.simulation, message)];
        let sent = self.model.transport.publish(sent);
        assert!(self.simulation.run(sent)[0].is_ok());
        self.simulation.advance(Duration::from_secs(30));
    }

    fn running(&self) -> &Running {
        &self.process.as_ref().expect("it runs").1
    }

    /// Returns the reasons of the archive's dead letters.
    fn reasons(&self) -> Vec<String> {
        let letters = self.simulation.run(self.running().dead_letters(ARCHIVE));
        let letters = letters.expect("the store reads").into_iter();
        letters.map(|it| it.reason).collect()
    }
}

impl Drop for Calendar {
    fn drop(&mut self) {
        self.process = None;
        self.simulation.end();
    }
}

#[test]
fn bodies_are_deleted_after_their_retention() {
    let mut calendar = Calendar::start();
    calendar.publish(&scan_of("a", LARGE));
    calendar.on_day(1);
    calendar.publish(&scan_of("b", LARGE));
    assert_eq!(calendar.shelf.count(), 2);
    for (day, kept) in [(29, 2), (30, 2), (31, 1), (32, 0)] {
        calendar.on_day(day);
        assert_eq!(calendar.shelf.count(), kept, "day {day}");
    }
}

#[test]
fn a_dead_letter_that_is_older_than_its_body_stays_a_dead_letter() {
    let mut calendar = Calendar::start();
    calendar.full.store(true, Ordering::SeqCst);
    calendar.publish(&scan_of("a", LARGE));
    assert_eq!(calendar.reasons(), ["full"]);
    calendar.full.store(false, Ordering::SeqCst);
    calendar.on_day(32);
    let letters = calendar.running().dead_letters(ARCHIVE);
    let letters = calendar.simulation.run(letters).expect("the store reads");
    let retried = calendar.running().retry_dead_letter(ARCHIVE, letters[0].id);
    assert!(calendar.simulation.run(retried).expect("it can be retried"));
    calendar.simulation.advance(Duration::from_secs(60));
    assert_eq!(calendar.reasons(), ["body_gone"]);
}

/// A body that was stored for a unit that was never committed.
#[test]
fn an_orphan_is_deleted_like_other_bodies() {
    let mut calendar = Calendar::start();
    calendar.shelf.put_hangs.store(true, Ordering::SeqCst);
    calendar.publish(&scan_of("a", (1 << 20) + 1));
    // The process dies, and no later attempt succeeds.
    calendar.shelf.put_fails.store(true, Ordering::SeqCst);
    calendar.on_day(29);
    assert_eq!(calendar.shelf.count(), 1);
    calendar.on_day(31);
    assert_eq!(calendar.shelf.count(), 0);
    assert_eq!(
        calendar.shelf.gets.load(Ordering::SeqCst),
        0,
        "nobody gets it"
    );
}

#[test]
fn the_body_of_a_delayed_message_is_kept_from_its_time() {
    let calendar = Calendar::start();
    let after = Some((40 * DAY).as_secs());
    calendar.publish(&Scan {
        after,
        ..scan_of("a", LARGE)
    });
    let bodies = calendar.shelf.bodies.lock().unwrap();
    let days: Vec<u32> = bodies.keys().map(|(day, _)| *day).collect();
    let now = calendar.simulation.runtime().now();
    assert_eq!(days, [day(now + 40 * DAY)]);
}
