//! The hand-over of many waiting deliveries to a release that knows them.

use std::sync::{Arc, Mutex};

use wingbeat::ports::Store as _;
use wingbeat::test::executor::Group;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat::{Ports, Running, Runtime as _};

use crate::found::Nowhere;
use crate::refusing::Refusing;

use super::*;

const WAITING: Name = Name::new("wb.waiting");

/// The ids after which the waiting deliveries were read.
type Scans = Arc<Mutex<Vec<String>>>;

/// Leaves deliveries for a newer release, and starts it.
fn waiting(deliveries: usize) -> (Simulation, Model, Running, Scans) {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let start = |group: &Arc<Group>, app: App, store: &dyn Fn(Ports) -> Ports| {
        let ports = store(model.ports(group, Arc::new(Nowhere)));
        let started = app.allow_unknown_owners().start(ports);
        simulation.run(started).expect("it starts")
    };
    let first = simulation.group();
    let running = start(&first, new(), &|ports| ports);
    let paused = running.pause("mails", "placed");
    assert!(simulation.run(paused).expect("it is stored"));
    let orders = running.service("orders").expect("it runs");
    for _ in 0..deliveries {
        let published = run_unit(&orders, |scope| async move { scope.publish(&v2()) });
        simulation.run(published).expect("committed");
    }
    simulation.advance(Duration::from_secs(1));
    first.kill();
    drop(running);
    let second = simulation.group();
    let running = start(&second, old(), &|ports| ports);
    let resumed = running.resume("mails", "placed");
    assert!(simulation.run(resumed).expect("it is stored"));
    simulation.advance(Duration::from_secs(10));
    assert_eq!(left(&simulation, &model), deliveries);
    second.kill();
    drop(running);
    let delay = Duration::from_millis(20);
    model.set_faults(Faults {
        delay,
        ..Faults::default()
    });
    let scans = Scans::default();
    let seen = Arc::clone(&scans);
    let hides = move |table: Name, after: Option<&str>| {
        if let (WAITING, Some(after)) = (table, after) {
            seen.lock().expect("not poisoned").push(after.to_owned());
        }
        false
    };
    let hides = Arc::new(hides);
    let running = start(&simulation.group(), new(), &|ports| {
        let store = Arc::new(Refusing {
            inner: ports.store,
            refuses: Arc::new(|_| false),
            hides: hides.clone(),
        });
        Ports { store, ..ports }
    });
    (simulation, model, running, scans)
}

fn left(simulation: &Simulation, model: &Model) -> usize {
    let store = Arc::clone(&model.store);
    let waiting = simulation.run(store.scan(Name::new("mails"), WAITING, None, 1_000));
    waiting.expect("it can be read").len()
}

/// A store may have to skip everything that was deleted since the start of a scan.
#[test]
fn each_page_of_waiting_deliveries_begins_after_the_last_one() {
    let (simulation, model, running, scans) = waiting(40);
    simulation.advance(Duration::from_secs(10));
    assert_eq!(left(&simulation, &model), 0);
    let scans = scans.lock().expect("not poisoned").clone();
    assert!(scans.len() >= 3, "{scans:?}");
    assert!(scans.is_sorted_by(|one, next| one < next), "{scans:?}");
    let reads = running.reads("mails").expect("it runs");
    let known = simulation.run(reads.entity::<Known>(&"all".into()));
    assert_eq!(known.expect("it can be read").expect("it is").orders, 40);
    simulation.end();
}

#[test]
fn a_process_that_drains_leaves_the_waiting_deliveries_to_others() {
    let (simulation, model, running, scans) = waiting(200);
    let begun = || scans.lock().expect("not poisoned").len();
    simulation.run(async {
        while begun() < 2 {
            simulation.sleep(Duration::from_micros(100)).await;
        }
        running.drain().await;
    });
    simulation.advance(Duration::from_secs(60));
    assert!(begun() <= 3, "{} pages", begun());
    assert!(left(&simulation, &model) > 100);
    simulation.end();
}
