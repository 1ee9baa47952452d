//! Pausing a subscription reaches all replicas of its service, and outlives restarts.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::Store;
use wingbeat::runtime::Control;
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Outages, Simulation};
use wingbeat::{
    App, Call, Entity, Error, Event, GaveUp, JsonSchema, Message as _, Now, Ports, Result, Running,
    Saga, SagaEffects, SagaInput, Service, Table, TargetPolicy, Unexpected, schemars,
};

use crate::found::Nowhere;
use crate::refusing::Refusing;
use crate::transfers::publish;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = book)]
pub(crate) struct BookLent {
    pub(crate) book: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Loans {
    count: u32,
}

impl Entity for Loans {
    const NAME: &'static str = "loans";
    type Id = String;
}

async fn count(_: BookLent, loans: Table<Loans>) -> Result<()> {
    let all = "all".to_owned();
    let counted = loans.update(&all, |known| Loans {
        count: known.unwrap_or_default().count + 1,
    });
    counted.await.map(drop)
}

/// The service of the tests, also for those on real adapters.
pub(crate) fn statistics() -> App {
    App::new()
        .service(Service::new("statistics").on(count))
        .outside(["library"])
}

/// The name of its subscription.
pub(crate) const SUBSCRIPTION: &str = "book_lent";

/// One replica of the service.
struct Replica {
    running: Running,
    _process: Arc<Group>,
}

impl Replica {
    fn start(simulation: &Simulation, model: &Model, app: App) -> Self {
        Self::start_on(simulation, model, app, |store| store)
    }

    fn start_on(
        simulation: &Simulation,
        model: &Model,
        app: App,
        change: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let process = simulation.group();
        let ports = model.ports(&process, Arc::new(Nowhere));
        let ports = Ports {
            store: change(ports.store),
            ..ports
        };
        let running = simulation.run(app.start(ports)).expect("it starts");
        Self {
            running,
            _process: process,
        }
    }

    fn control(&self) -> Control {
        self.running.subscriptions[0].control()
    }

    fn counted(&self, simulation: &Simulation) -> u32 {
        let reads = self.running.reads("statistics").expect("it runs");
        let loans = simulation.run(async {
            let all = reads.entity::<Loans>(&"all".to_owned()).await;
            all.expect("the store reads")
        });
        loans.unwrap_or_default().count
    }
}

fn lend(simulation: &Simulation, model: &Model, books: u32) {
    for book in 0..books {
        let book = book.to_string();
        simulation.run(publish(simulation, model, &BookLent { book }));
    }
}

/// The longest time until the other replicas notice.
const NOTICED: Duration = Duration::from_millis(1_500);

#[test]
fn a_pause_reaches_all_replicas_and_outlives_a_restart() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let start = || Replica::start(&simulation, &model, statistics());
    let (first, second) = (start(), start());
    lend(&simulation, &model, 20);
    simulation.advance(Duration::from_secs(5));
    assert_eq!(first.counted(&simulation), 20);

    let pause = first.running.pause("statistics", SUBSCRIPTION);
    assert!(simulation.run(pause).expect("the store writes"));
    assert_eq!(first.control(), Control::Paused, "at once");
    simulation.advance(NOTICED);
    assert_eq!(second.control(), Control::Paused);
    lend(&simulation, &model, 20);
    simulation.advance(Duration::from_secs(60));
    assert_eq!(first.counted(&simulation), 20);

    drop((first, second));
    let (first, second) = (start(), start());
    assert_eq!(
        (first.control(), second.control()),
        (Control::Paused, Control::Paused)
    );
    simulation.advance(Duration::from_secs(60));
    assert_eq!(first.counted(&simulation), 20);

    let resume = second.running.resume("statistics", SUBSCRIPTION);
    assert!(simulation.run(resume).expect("the store writes"));
    assert_eq!(second.control(), Control::Running, "at once");
    simulation.advance(NOTICED);
    assert_eq!(first.control(), Control::Running);
    simulation.advance(Duration::from_secs(5));
    assert_eq!(first.counted(&simulation), 40);
    drop((first, second));
    simulation.end();
}

/// Negative control: without the records in the store, a pause stays in its process.
#[test]
fn a_replica_that_does_not_see_the_records_goes_on() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let first = Replica::start(&simulation, &model, statistics());
    let blind = Replica::start_on(&simulation, &model, statistics(), |inner| {
        Arc::new(Refusing {
            inner,
            refuses: Arc::new(|_| false),
            hides: Arc::new(|table, _| table.as_str() == "wb.paused"),
        })
    });
    let pause = first.running.pause("statistics", SUBSCRIPTION);
    assert!(simulation.run(pause).expect("the store writes"));
    simulation.advance(NOTICED);
    assert_eq!(
        (first.control(), blind.control()),
        (Control::Paused, Control::Running)
    );
    lend(&simulation, &model, 20);
    simulation.advance(Duration::from_secs(60));
    assert_eq!(first.counted(&simulation), 20);
    drop((first, blind));
    simulation.end();
}

#[test]
fn pausing_twice_and_resuming_twice_succeeds_from_either_replica() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let start = || Replica::start(&simulation, &model, statistics());
    let (first, second) = (start(), start());
    for (pauses, wanted) in [(true, Control::Paused), (false, Control::Running)] {
        for replica in [&first, &second, &first] {
            let set = async {
                match pauses {
                    true => replica.running.pause("statistics", SUBSCRIPTION).await,
                    false => replica.running.resume("statistics", SUBSCRIPTION).await,
                }
            };
            assert!(simulation.run(set).expect("the store writes"));
            assert_eq!(replica.control(), wanted);
        }
        simulation.advance(NOTICED);
        assert_eq!((first.control(), second.control()), (wanted, wanted));
    }
    let unknown = simulation.run(first.running.pause("statistics", "none"));
    assert!(!unknown.expect("no error"));
    drop((first, second));
    simulation.end();
}

/// A pause that cannot be stored is not applied either: other replicas would never see it.
#[test]
fn a_pause_during_an_outage_of_the_store_fails_and_changes_nothing() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let replica = Replica::start(&simulation, &model, statistics());
    model.set_outages(Outages {
        store: true,
        ..Outages::default()
    });
    let paused = simulation.run(replica.running.pause("statistics", SUBSCRIPTION));
    let code = paused.map_err(|why| why.code());
    assert_eq!(code, Err("store_unavailable"));
    assert_eq!(replica.control(), Control::Running);
    model.set_outages(Outages::default());
    simulation.advance(Duration::from_secs(5));
    assert_eq!(replica.control(), Control::Running);
    drop(replica);
    simulation.end();
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.overdue", version = 1, key = book)]
struct Overdue {
    book: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.missed", version = 1, key = book)]
struct Missed {
    book: String,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Lent(BookLent),
    #[saga(timer)]
    Overdue(Overdue),
}

#[derive(Default, Serialize, Deserialize)]
struct Reminder;

impl Saga for Reminder {
    const NAME: &'static str = "reminder";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Lent(BookLent { book }) => {
                effects.after(Duration::from_secs(10), &Overdue { book });
            }
            Input::Overdue(Overdue { book }) => {
                effects.publish(&Missed { book }).end();
            }
        }
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

#[derive(Call, Clone, Serialize, Deserialize)]
#[call(name = "library.ring", target = "bell", key = at, outcome = Rang)]
struct Ring {
    at: i64,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.rang", version = 1, key = at)]
struct Rang {
    at: i64,
}

impl GaveUp<Ring> for Rang {
    fn gave_up(call: &Ring, _: &Error) -> Self {
        Self { at: call.at }
    }
}

async fn strike(Now(now): Now) -> Result<Ring> {
    Ok(Ring {
        at: now.as_micros(),
    })
}

async fn ring(call: Ring) -> Result<Rang> {
    Ok(Rang { at: call.at })
}

#[test]
fn timers_of_a_paused_subscription_do_not_hold_up_other_due_records() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let library = Service::new("library")
        .saga::<Reminder>()
        .every("strike", Duration::from_secs(1), strike)
        .target("bell", TargetPolicy::default())
        .calls(ring);
    let replica = Replica::start(&simulation, &model, App::new().service(library));
    lend(&simulation, &model, 600);
    simulation.advance(Duration::from_secs(5));
    let pause = replica.running.pause("library", Reminder::NAME);
    assert!(simulation.run(pause).expect("the store writes"));
    simulation.advance(Duration::from_secs(30));
    let timers = || model.store.records("library".into(), "wb.timer".into());
    assert_eq!(timers().len(), 600, "they wait");
    let units = model.store.log().into_iter();
    let messages = units.flat_map(|unit| unit.messages);
    let rang = messages.filter(|it| it.kind == Rang::NAME).count();
    assert!(rang >= 30, "{rang} of 35 calls were carried out");

    let resume = replica.running.resume("library", Reminder::NAME);
    assert!(simulation.run(resume).expect("the store writes"));
    simulation.advance(Duration::from_secs(60));
    assert_eq!(timers().len(), 0, "all are handled");
    drop(replica);
    simulation.end();
}
