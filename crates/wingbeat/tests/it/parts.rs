//! A system in parts: each process declares the queues of all services, so that an event waits for
//! subscribers that have never run.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::test::{Model, Simulation};
use wingbeat::{
    App, Entity, Event, JsonSchema, Result, Running, Service, Table, run_unit, schemars,
};

use crate::ordered::Nobody;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.lent", version = 1, key = book)]
struct Lent {
    book: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Loans(u32);

impl Entity for Loans {
    const NAME: &'static str = "loans";
    type Id = String;
}

async fn count(event: Lent, loans: Table<Loans>) -> Result<()> {
    let one_more = |known: Option<Loans>| Loans(known.unwrap_or_default().0 + 1);
    loans.update(&event.book, one_more).await.map(drop)
}

fn library() -> Service {
    Service::new("library")
}

/// A service that takes the events, beside the one that has never run.
fn archive() -> Service {
    Service::new("archive").on(count)
}

fn statistics() -> Service {
    Service::new("statistics").on(count)
}

fn system() -> App {
    App::new()
        .service(library())
        .service(archive())
        .service(statistics())
}

/// Starts an app as a process of its own.
fn start(simulation: &Simulation, model: &Model, app: App) -> Result<Running> {
    let process = simulation.group();
    simulation.run(app.start(model.ports(&process, Arc::new(Nobody))))
}

fn loans(simulation: &Simulation, running: &Running, service: &str) -> u32 {
    let reads = running.reads(service).expect("it runs here");
    let loans = simulation.run(async move { reads.entity::<Loans>(&"Emma".to_owned()).await });
    loans.expect("it reads").unwrap_or_default().0
}

#[test]
fn an_event_waits_for_a_service_that_has_never_run() {
    let part = || App::new().service(library()).service(archive());
    for (first, expected) in [
        (system().run_only(["library", "archive"]), 1),
        // The control: without the whole system, nothing declares the queue of `statistics`.
        (part(), 0),
    ] {
        let simulation = Simulation::new(1);
        let model = Model::new(simulation.runtime());
        let running = start(&simulation, &model, first).expect("it starts");
        let library = running.service("library").expect("it runs here");
        let lent = simulation.run(run_unit(&library, |scope| async move {
            let book = "Emma".to_owned();
            scope.publish(&Lent { book })
        }));
        lent.expect("it commits");
        simulation.advance(Duration::from_secs(5));
        assert_eq!(loans(&simulation, &running, "archive"), 1);
        simulation.run(running.drain());

        let later = start(&simulation, &model, system().run_only(["statistics"]));
        let later = later.expect("it starts");
        simulation.advance(Duration::from_secs(5));
        assert_eq!(loans(&simulation, &later, "statistics"), expected);
        simulation.end();
    }
}

#[test]
fn a_part_of_a_system_that_lacks_the_owner_of_an_event_does_not_start() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let part = || App::new().service(statistics());
    let refused = start(&simulation, &model, part()).err();
    let refused = refused.expect("it does not start");
    assert_eq!(refused.code(), "wiring");
    let text = refused.to_string();
    for shown in [
        "statistics.lent",
        "library.lent.v1",
        "`library`",
        "run_only",
    ] {
        assert!(text.contains(shown), "{text}");
    }
    // Another system publishes the event, or the process knows the whole system.
    assert!(part().outside(["library"]).check().is_ok());
    assert!(system().run_only(["statistics"]).check().is_ok());
    simulation.end();
}

#[test]
fn a_service_to_run_that_does_not_exist_is_refused() {
    let refused = system().run_only(["statistic"]).check();
    let text = refused.expect_err("it is refused").to_string();
    assert!(text.contains("`statistic`"), "{text}");
    assert!(text.contains("library, archive, statistics"), "{text}");
}
