//! Versions of one event, side by side and in replicas of two releases.

mod handing_over;
#[cfg(all(feature = "host", feature = "embedded", feature = "servers"))]
mod replicas;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::test::TestApp;
use wingbeat::{
    App, Command, Entity, Event, Handler as _, JsonSchema, Name, Result, Saga, SagaEffects,
    SagaInput, Service, Table, Unexpected, run_unit, schemars,
};

/// An order as the first release knew it.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.placed", version = 1, key = order)]
struct Placed {
    order: String,
}

/// An order with an amount.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.placed", version = 2, key = order)]
struct PlacedV2 {
    order: String,
    cents: u64,
}

/// The orders that mails knows, with their amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    orders: u32,
    cents: u64,
}

impl Entity for Known {
    const NAME: &'static str = "known";
    type Id = String;
}

async fn first(_: Placed, known: Table<Known>) -> Result<()> {
    add(&known, 0).await
}

async fn second(event: PlacedV2, known: Table<Known>) -> Result<()> {
    add(&known, event.cents).await
}

async fn add(known: &Table<Known>, cents: u64) -> Result<()> {
    let add = |known: Option<Known>| {
        let known = known.unwrap_or_default();
        Known {
            orders: known.orders + 1,
            cents: known.cents + cents,
        }
    };
    known.update(&"all".into(), add).await.map(drop)
}

/// The release that knows the first version.
fn old() -> App {
    let orders = Service::new("orders").publishes::<Placed>();
    App::new()
        .service(orders)
        .service(Service::new("mails").on(first))
}

/// The release that replaces it, whose queue has the name of the old one.
fn new() -> App {
    let orders = Service::new("orders").publishes::<PlacedV2>();
    App::new()
        .service(orders)
        .service(Service::new("mails").on(second))
}

fn v1() -> Placed {
    Placed { order: "1".into() }
}

fn v2() -> PlacedV2 {
    PlacedV2 {
        order: "1".into(),
        cents: 250,
    }
}

/// Publishes an event as the service `orders`.
fn publish<M: wingbeat::handler::EventMessage + Clone>(app: &TestApp, event: &M) {
    let orders = app.service("orders");
    let published = run_unit(&orders, |scope| {
        let event = event.clone();
        async move { scope.publish(&event) }
    });
    app.run(published).expect("committed");
}

fn known(app: &TestApp) -> Known {
    let known = app.run(app.reads("mails").entity::<Known>(&"all".into()));
    known.expect("it can be read").unwrap_or_default()
}

fn parked(app: &TestApp) -> u64 {
    let parked = app.run(app.running().parked(Name::new("mails")));
    parked.expect("it can be read").values().sum()
}

#[test]
fn two_versions_of_an_event_live_side_by_side() {
    let both = Service::new("mails")
        .on(first)
        .on(second.named("placed_v2"));
    let orders = Service::new("orders")
        .publishes::<Placed>()
        .publishes::<PlacedV2>();
    let app = App::new().service(orders).service(both);
    let queues: Vec<_> = app.topology().queues.into_keys().collect();
    assert_eq!(queues, ["mails.placed", "mails.placed_v2"].map(Name::new));
    let app = TestApp::start(1, app);
    publish(&app, &v1());
    publish(&app, &v2());
    app.until_idle();
    let expected = Known {
        orders: 2,
        cents: 250,
    };
    assert_eq!(known(&app), expected);
    assert_eq!(app.dead_letters("mails"), 0);
}

/// Leaves an event in the queue of mails, and starts the other release.
fn queued_then<M: wingbeat::handler::EventMessage + Clone>(
    before: App,
    event: &M,
    after: App,
) -> TestApp {
    let mut app = TestApp::start(1, before);
    assert!(
        app.run(app.running().pause("mails", "placed"))
            .expect("paused")
    );
    publish(&app, event);
    app.pass(Duration::from_secs(1));
    app.crash(after);
    assert!(
        app.run(app.running().resume("mails", "placed"))
            .expect("resumed")
    );
    app.pass(Duration::from_secs(60));
    app
}

#[test]
fn a_newer_version_waits_for_a_release_that_knows_it() {
    let mut app = queued_then(new(), &v2(), old());
    assert_eq!((known(&app).orders, parked(&app)), (0, 1));
    assert_eq!(app.dead_letters("mails"), 0);
    // The old release handles what it knows meanwhile, and never looks at the other one again.
    publish(&app, &v1());
    app.pass(Duration::from_secs(3600));
    assert_eq!((known(&app).orders, parked(&app)), (1, 1));
    app.crash(new());
    app.pass(Duration::from_secs(60));
    let expected = Known {
        orders: 2,
        cents: 250,
    };
    assert_eq!((known(&app), parked(&app)), (expected, 0));
    assert_eq!(app.dead_letters("mails"), 0);
}

#[test]
fn a_version_that_no_release_learns_in_a_week_becomes_a_dead_letter() {
    let mut app = queued_then(new(), &v2(), old());
    let day = Duration::from_secs(24 * 3600);
    app.crash_for(6 * day, old());
    app.pass(Duration::from_secs(60));
    assert_eq!((parked(&app), app.dead_letters("mails")), (1, 0));
    app.crash_for(day, old());
    app.pass(Duration::from_secs(60));
    assert_eq!((parked(&app), app.dead_letters("mails")), (0, 1));
    let letters = app.run(app.running().dead_letters(Name::new("mails")));
    assert_eq!(letters.expect("read")[0].reason, "unknown_version");
}

#[test]
fn an_older_version_waits_for_nobody() {
    let app = queued_then(old(), &v1(), new());
    assert_eq!((parked(&app), app.dead_letters("mails")), (0, 1));
}

#[test]
fn a_newer_version_of_a_program_outside_of_the_system_becomes_a_dead_letter() {
    let mut app = TestApp::start(1, new());
    assert!(
        app.run(app.running().pause("mails", "placed"))
            .expect("paused")
    );
    app.publish(Uuid::from_u128(1), &v2());
    app.pass(Duration::from_secs(1));
    app.crash(old());
    assert!(
        app.run(app.running().resume("mails", "placed"))
            .expect("resumed")
    );
    app.pass(Duration::from_secs(60));
    assert_eq!((parked(&app), app.dead_letters("mails")), (0, 1));
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "mails.reminder_due", version = 1, key = order)]
struct ReminderDue {
    order: String,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "mails.reminded", version = 1, key = order)]
struct Reminded {
    order: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.withdrawn", version = 1, key = order)]
struct Withdrawn {
    order: String,
}

#[derive(SagaInput)]
enum OldInput {
    #[saga(start)]
    Placed(Placed),
    Withdrawn(Withdrawn),
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Placed(Placed),
    Withdrawn(Withdrawn),
    #[saga(timer)]
    Due(ReminderDue),
}

#[derive(Default, Serialize, Deserialize)]
struct Reminder;

#[derive(Default, Serialize, Deserialize)]
struct OldReminder;

impl Saga for OldReminder {
    const NAME: &'static str = "reminder";
    type Input = OldInput;

    fn step(&mut self, input: OldInput, effects: &mut SagaEffects<OldInput>) {
        if let OldInput::Withdrawn(_) = input {
            effects.end();
        }
    }

    fn unexpected(&mut self, _: Unexpected, _: OldInput, _: &mut SagaEffects<OldInput>) {}
}

impl Saga for Reminder {
    const NAME: &'static str = "reminder";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Placed(Placed { order }) => {
                effects.after(Duration::from_secs(600), &ReminderDue { order })
            }
            Input::Withdrawn(_) => effects.end(),
            Input::Due(ReminderDue { order }) => effects.publish(&Reminded { order }).end(),
        };
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

/// A release whose service mails has this saga.
fn release<G: Saga>() -> App {
    let orders = Service::new("orders")
        .publishes::<Placed>()
        .publishes::<Withdrawn>();
    App::new()
        .service(orders)
        .service(Service::new("mails").saga::<G>())
}

/// Lets the new release set a timer, and the old one claim it.
fn timer_that_waits() -> TestApp {
    let mut app = TestApp::start(1, release::<Reminder>());
    publish(&app, &v1());
    app.pass(Duration::from_secs(60));
    app.crash(release::<OldReminder>());
    app.pass(Duration::from_secs(3600));
    assert_eq!((parked(&app), app.dead_letters("mails")), (1, 0));
    app
}

fn assert_reminded(app: &TestApp) {
    assert_eq!((parked(app), app.dead_letters("mails")), (0, 0));
    let ended = app.run(app.reads("mails").ended_sagas::<Reminder>());
    assert_eq!(ended.expect("read"), 1);
}

/// A replica of the old release may claim a timer that only the new one sets.
#[test]
fn a_timer_of_a_newer_release_waits_for_it() {
    let mut app = timer_that_waits();
    app.crash(release::<Reminder>());
    app.pass(Duration::from_secs(60));
    assert_reminded(&app);
}

/// A replica of the old release may also claim it after a new one has taken it up.
#[test]
fn a_timer_that_an_old_replica_claims_again_waits_again() {
    let mut app = timer_that_waits();
    let pause = app.running().pause("mails", "reminder");
    assert!(app.run(pause).expect("paused"));
    app.crash(release::<Reminder>());
    app.pass(Duration::from_secs(20));
    // The new release has taken it up, and ends before it handles it.
    app.crash(release::<OldReminder>());
    let resume = app.running().resume("mails", "reminder");
    assert!(app.run(resume).expect("resumed"));
    app.pass(Duration::from_secs(60));
    assert_eq!((parked(&app), app.dead_letters("mails")), (1, 0));
    app.crash(release::<Reminder>());
    app.pass(Duration::from_secs(60));
    assert_reminded(&app);
}

#[test]
fn a_dead_letter_of_a_timer_waits_when_an_old_replica_retries_it() {
    let mut app = timer_that_waits();
    let week = Duration::from_secs(7 * 24 * 3600);
    app.crash_for(week, release::<OldReminder>());
    app.pass(Duration::from_secs(60));
    let letters = app.run(app.running().dead_letters(Name::new("mails")));
    let letters = letters.expect("read");
    assert_eq!((letters.len(), parked(&app)), (1, 0));
    let retried = app
        .running()
        .retry_dead_letter(Name::new("mails"), letters[0].id);
    assert!(app.run(retried).expect("stored"));
    app.pass(Duration::from_secs(60));
    assert_eq!((parked(&app), app.dead_letters("mails")), (1, 0));
    app.crash(release::<Reminder>());
    app.pass(Duration::from_secs(60));
    assert_reminded(&app);
}

#[test]
fn a_timer_that_waits_is_cancelled_with_its_saga() {
    let mut app = timer_that_waits();
    let order = "1".into();
    publish(&app, &Withdrawn { order });
    app.pass(Duration::from_secs(60));
    assert_eq!((parked(&app), app.dead_letters("mails")), (0, 0));
    let ended = app.run(app.reads("mails").ended_sagas::<Reminder>());
    assert_eq!(ended.expect("read"), 1);
    app.crash(release::<Reminder>());
    app.pass(Duration::from_secs(60));
    assert_reminded(&app);
}
