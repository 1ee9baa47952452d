//! Batch handlers on the model: what one unit contains, when it starts, and what happens to a batch
//! that fails.

mod failing;
mod faults;
mod simulated;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::app::DeadLetter;
use wingbeat::handler::Configured;
use wingbeat::ports::Envelope;
use wingbeat::test::executor::Group;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat::{
    App, Batch, Entity, Error, Event, Handler as _, JsonSchema, Part, Result, Running, Service,
    State, Table, schemars,
};

use crate::again::fails_without;
use crate::ordered::Nobody;
use crate::transfers::envelope;

const SECOND: Duration = Duration::from_secs(1);
const QUEUE: &str = "totals.sold";

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "till.sold", version = 1, key = till)]
pub(crate) struct Sold {
    pub(crate) till: String,
    pub(crate) number: u32,
}

fn sold(till: impl ToString, number: u32) -> Sold {
    let till = till.to_string();
    Sold { till, number }
}

/// The sales of a till, in the order in which they took effect.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sales {
    pub(crate) numbers: Vec<u32>,
}

impl Entity for Sales {
    const NAME: &'static str = "sales";
    type Id = String;
}

/// The failure that a handler reports for a sale.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Reject,
    Panic,
    /// Fails this often with a retryable error.
    Retry(u32),
}

/// The troubles, and the runs of the handler, over all replicas.
#[derive(Clone, Default)]
struct Desk {
    troubles: Arc<Mutex<BTreeMap<u32, Trouble>>>,
    /// The numbers of each run.
    runs: Arc<Mutex<Vec<Vec<u32>>>>,
}

impl Part<Desk> for Desk {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

impl Desk {
    fn is_to(&self, number: u32, trouble: Trouble) {
        let mut troubles = self.troubles.lock().expect("nobody panics with it");
        troubles.insert(number, trouble);
    }

    fn runs(&self) -> Vec<Vec<u32>> {
        self.runs.lock().expect("nobody panics with it").clone()
    }

    /// Notes a run. Returns the trouble that it has.
    fn begin(&self, numbers: Vec<u32>) -> Option<Trouble> {
        let mut troubles = self.troubles.lock().expect("nobody panics with it");
        let mut found = None;
        for number in &numbers {
            match troubles.get_mut(number) {
                Some(Trouble::Retry(0)) | None => {}
                Some(Trouble::Retry(left)) => {
                    *left -= 1;
                    found = Some(Trouble::Retry(*left));
                }
                Some(trouble) => found = Some(*trouble),
            }
        }
        self.runs
            .lock()
            .expect("nobody panics with it")
            .push(numbers);
        found
    }
}

async fn keep(batch: Batch<Sold>, State(desk): State<Desk>, sales: Table<Sales>) -> Result<()> {
    let trouble = desk.begin(batch.iter().map(|sold| sold.number).collect());
    for sold in &batch {
        let add = |known: Option<Sales>| {
            let mut sales = known.unwrap_or_default();
            sales.numbers.push(sold.number);
            sales
        };
        sales.update(&sold.till, add).await?;
    }
    match trouble {
        None => Ok(()),
        Some(Trouble::Reject) => Err(Error::reject("refused_sale", "no such sale")),
        Some(Trouble::Panic) => panic!("a planned panic"),
        Some(Trouble::Retry(_)) => Err(Error::retry("not_yet", "it fails at first")),
    }
}

type Keep = fn(Batch<Sold>, State<Desk>, Table<Sales>) -> wingbeat::BoxFuture<'static, Result<()>>;

fn keep_boxed(
    batch: Batch<Sold>,
    desk: State<Desk>,
    sales: Table<Sales>,
) -> wingbeat::BoxFuture<'static, Result<()>> {
    Box::pin(keep(batch, desk, sales))
}

/// A handler of up to this many sales.
fn gathering(up_to: usize, within: Duration) -> Configured<Configured<Keep>> {
    (keep_boxed as Keep).up_to(up_to).within(within)
}

/// A process with the subscription.
struct Tills {
    world: Simulation,
    model: Model,
    desk: Desk,
    group: Arc<Group>,
    running: Running,
}

impl Tills {
    fn start(up_to: usize, within: Duration) -> Self {
        Self::with(7, |service| service.on(gathering(up_to, within)))
    }

    fn with(seed: u64, on: impl Fn(Service<Desk>) -> Service<Desk>) -> Self {
        crate::again::disable();
        let world = Simulation::new(seed);
        let model = Model::new(world.runtime());
        let desk = Desk::default();
        let (group, running) = launch(&world, &model, &desk, &on);
        Self {
            world,
            model,
            desk,
            group,
            running,
        }
    }

    fn sell(&self, till: impl ToString, number: u32) {
        let sold = sold(till, number);
        self.world
            .run(self.model.publish(Uuid::from_u128(1).into(), &sold));
    }

    fn envelope(&self, till: impl ToString, number: u32) -> Envelope {
        envelope(&self.world, &sold(till, number))
    }

    fn put(&self, envelope: &Envelope) {
        self.model.transport.put(QUEUE, envelope.clone());
    }

    /// Returns the numbers of deliveries that each unit has settled.
    fn units(&self) -> Vec<usize> {
        let log = self.model.store.log();
        let settled = log.iter().map(|unit| unit.settled.len());
        settled.filter(|count| *count > 0).collect()
    }

    fn sales(&self, till: impl ToString) -> Vec<u32> {
        let reads = self.running.reads("totals").expect("it runs");
        let sales = self.world.run(async move {
            let till = till.to_string();
            reads.entity::<Sales>(&till).await.expect("it can be read")
        });
        sales.unwrap_or_default().numbers
    }

    fn dead_letters(&self) -> Vec<DeadLetter> {
        let letters = self.running.dead_letters("totals".into());
        self.world.run(letters).expect("they can be read")
    }
}

fn launch(
    world: &Simulation,
    model: &Model,
    desk: &Desk,
    on: &impl Fn(Service<Desk>) -> Service<Desk>,
) -> (Arc<Group>, Running) {
    let group = world.group();
    let ports = model.ports(&group, Arc::new(Nobody));
    let service = on(Service::new("totals").with_state(desk.clone()));
    let started = App::new()
        .service(service)
        .allow_unknown_owners()
        .start(ports);
    (group, world.run(started).expect("it starts"))
}

/// Returns the key of the message of a dead letter.
fn key(letter: &DeadLetter) -> String {
    letter.message().expect("it has its message").key
}

#[test]
fn n_messages_are_one_commit() {
    let tills = Tills::start(100, 10 * SECOND);
    for number in 0..200 {
        tills.sell(number, number);
    }
    tills.world.advance(SECOND);
    assert_eq!(tills.units(), [100, 100]);
    assert!((0..200).all(|number| tills.sales(number) == [number]));
    let left = tills.model.unsettled(tills.world.runtime().now());
    assert!(left.is_empty(), "everything is acknowledged: {left:?}");
}

#[test]
fn what_has_gathered_within_the_time_is_one_batch() {
    let tills = Tills::start(100, 10 * SECOND);
    tills.sell("a", 1);
    tills.world.advance(6 * SECOND);
    tills.sell("b", 2);
    tills.sell("a", 3);
    tills.world.advance(3 * SECOND);
    assert!(tills.desk.runs().is_empty(), "the batch waits for more");
    tills.world.advance(2 * SECOND);
    assert_eq!(tills.units(), [3]);
    assert_eq!(tills.sales("a").len() + tills.sales("b").len(), 3);
}

#[test]
fn draining_handles_what_has_gathered_at_once() {
    let tills = Tills::start(100, 60 * SECOND);
    for number in 0..5 {
        tills.sell("a", number);
    }
    tills.world.advance(SECOND);
    assert!(tills.desk.runs().is_empty(), "the batch waits for more");
    let before = tills.world.runtime().now();
    tills.world.run(tills.running.drain());
    let waited = tills.world.runtime().now().since(before);
    assert!(waited < SECOND, "{waited:?}");
    assert_eq!(tills.units(), [5]);
}

/// The default prefetch is smaller than two such batches.
#[test]
fn the_prefetch_has_room_for_a_batch() {
    let tills = Tills::start(800, 60 * SECOND);
    for number in 0..800 {
        tills.sell(number, number);
    }
    tills.world.advance(SECOND);
    assert_eq!(tills.units(), [800]);
}

#[test]
fn a_message_that_waits_twice_is_handled_once() {
    let tills = Tills::start(100, SECOND);
    let first = tills.envelope("a", 1);
    for _ in 0..3 {
        tills.put(&first);
    }
    tills.sell("b", 2);
    tills.world.advance(5 * SECOND);
    tills.put(&first);
    tills.sell("c", 3);
    tills.world.advance(5 * SECOND);
    let all: Vec<u32> = tills.desk.runs().concat();
    let runs = all.iter().filter(|number| **number == 1).count();
    assert_eq!(runs, 1, "a duplicate never reaches the handler: {all:?}");
    assert_eq!(tills.sales("a"), [1]);
    let left = tills.model.unsettled(tills.world.runtime().now());
    assert!(left.is_empty(), "duplicates are acknowledged: {left:?}");
}

/// The process is killed between the commit and the acknowledgement: it never learns that the batch
/// is durable.
#[test]
fn a_process_that_is_killed_before_it_acknowledges_handles_nothing_twice() {
    let mut tills = Tills::start(10, SECOND);
    tills.world.advance(SECOND); // What the process stores at its start is durable.
    for number in 0..30 {
        tills.sell(number % 3, number);
    }
    tills.model.set_faults(Faults {
        commit_unknown: 1_000,
        ..Faults::default()
    });
    while tills.units().is_empty() {
        tills.world.advance(Duration::from_millis(1));
    }
    tills.group.kill();
    tills.model.set_faults(Faults::default());
    let on = |service: Service<Desk>| service.on(gathering(10, SECOND));
    (tills.group, tills.running) = launch(&tills.world, &tills.model, &tills.desk, &on);
    tills.world.advance(60 * SECOND);
    let mut sales: Vec<u32> = (0..3).flat_map(|till| tills.sales(till)).collect();
    sales.sort_unstable();
    assert_eq!(sales, (0..30).collect::<Vec<_>>());
    let left = tills.model.unsettled(tills.world.runtime().now());
    assert!(left.is_empty(), "everything is acknowledged: {left:?}");
}

#[test]
fn a_killed_process_is_noticed_without_the_inbox() {
    let test = "a_process_that_is_killed_before_it_acknowledges_handles_nothing_twice";
    fails_without("inbox", &format!("batches::{test}"));
}

#[test]
fn a_batch_out_of_range_is_refused() {
    let service = || Service::new("totals").with_state(Desk::default());
    for handler in [
        gathering(0, SECOND),
        gathering(1_001, SECOND),
        gathering(10, 61 * SECOND),
    ] {
        let app = App::new().service(service().on(handler));
        let why = app
            .allow_unknown_owners()
            .check()
            .expect_err("it is refused");
        assert_eq!(why.code(), "wiring");
        assert!(why.to_string().contains("batches of totals.sold"), "{why}");
    }
    let app = App::new().service(service().on(gathering(1_000, 60 * SECOND)));
    assert!(app.allow_unknown_owners().check().is_ok());
}
