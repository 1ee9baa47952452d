//! A subscription from the beginning receives the past of its message first, in order and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::app::ReplayStatus;
use wingbeat::test::simulator::Report;
use wingbeat::test::{Client, Outages, Process, Simulator, System, TestApp, Violation, World};
use wingbeat::{
    Aggregate, App, BoxFuture, Command, Entity, Error, Event, Handler as _, Happened, JsonSchema,
    Meta, Repo, Result, Runtime as _, Service, Table, Uuid, schemars,
};

use crate::again::{self, fails_without};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "bank.deposit", version = 1, key = account)]
struct Deposit {
    account: String,
    cents: i64,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.deposited", version = 1, key = account)]
struct Deposited {
    account: String,
    cents: i64,
    balance: i64,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Account {
    balance: i64,
}

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Added(i64),
    /// Other services do not learn of it.
    Noted,
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type Id = String;
    type Command = i64;
    type Event = AccountEvent;
    type Error = ();

    fn decide(&self, cents: i64) -> Result<Vec<AccountEvent>, ()> {
        let added = AccountEvent::Added(cents);
        Ok(match cents % 3 {
            0 => vec![added, AccountEvent::Noted],
            1 => vec![AccountEvent::Noted, added],
            _ => vec![added],
        })
    }

    fn apply(&mut self, event: &AccountEvent) {
        if let AccountEvent::Added(cents) = event {
            self.balance += cents;
        }
    }
}

async fn deposit(command: Deposit, accounts: Repo<Account>) -> Result<()> {
    let Ok(_) = accounts.execute(&command.account, command.cents).await? else {
        return Err(Error::reject("refused", "an account takes every deposit"));
    };
    Ok(())
}

fn deposited(it: Happened<'_, Account>) -> Option<Deposited> {
    match it.event {
        AccountEvent::Added(cents) => Some(Deposited {
            account: it.id.into(),
            cents: *cents,
            balance: it.state.balance,
        }),
        AccountEvent::Noted => None,
    }
}

fn bank() -> Service {
    Service::new("bank")
        .on(deposit)
        .publishes_history(deposited)
}

/// An account as the reports know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    deposits: u32,
    balance: i64,
    replayed: u32,
    /// The position of the last replayed deposit.
    last: u64,
    /// A deposit came that had not been published when the subscription began.
    live: bool,
    /// A deposit of the past came after a later one.
    disorder: bool,
}

impl Entity for Shown {
    const NAME: &'static str = "shown";
    type Id = String;
}

/// A sum of this many cents cannot be shown.
const POISON: i64 = 13_000;

async fn show(event: Deposited, meta: Meta, accounts: Table<Shown>) -> Result<()> {
    if event.cents == POISON {
        return Err(Error::reject("poison", "an unlucky sum"));
    }
    let sequence = meta.sequence.expect("an event of a history has a position");
    let count = |shown: Option<Shown>| {
        let mut shown = shown.unwrap_or_default();
        shown.deposits += 1;
        shown.balance += event.cents;
        if meta.replayed {
            shown.replayed += 1;
            shown.disorder |= shown.live || sequence <= shown.last;
            // All replayed deposits before this one have been counted.
            shown.disorder |= shown.balance != event.balance;
            shown.last = sequence;
        } else {
            shown.live = true;
        }
        shown
    };
    accounts.update(&event.account, count).await?;
    Ok(())
}

fn reports() -> Service {
    Service::new("reports").on(show.from_beginning())
}

fn put(app: &TestApp, account: &str, cents: i64) {
    let account = account.into();
    app.publish(Uuid::nil(), &Deposit { account, cents });
}

fn shown(app: &TestApp) -> Vec<(String, Shown)> {
    let all = app.run(app.reads("reports").entities::<Shown>(None, 10_000));
    all.expect("the store answers")
}

fn earlier() -> App {
    App::new().service(bank()).service(Service::new("reports"))
}

fn later() -> App {
    App::new().service(bank()).service(reports())
}

#[test]
fn a_late_subscriber_receives_the_past_and_then_the_present() {
    let mut app = TestApp::start(1, earlier());
    for cents in 1..=600 {
        put(&app, "long", cents);
    }
    for number in 0..300 {
        put(&app, &format!("short-{number:03}"), number);
    }
    app.until_idle();
    app.crash(later());
    put(&app, "long", 601);
    put(&app, "new", 5);
    app.until_idle();

    let all = shown(&app);
    assert_eq!(all.len(), 302);
    assert!(all.iter().all(|(_, it)| !it.disorder));
    let of = |id: &str| &all.iter().find(|(of, _)| of == id).expect("it is shown").1;
    assert_eq!((of("long").deposits, of("long").balance), (601, 601 * 301));
    assert!(of("long").replayed >= 600);
    assert_eq!(of("short-299").replayed, 1);
    assert_eq!((of("new").deposits, of("new").balance), (1, 5));
    assert_eq!(app.dead_letters("reports"), 0);

    let status = app.run(app.running().replays()).expect("the store answers");
    let [status] = &status[..] else {
        panic!("one replay: {status:?}");
    };
    assert_eq!(
        (&*status.queue, &*status.message),
        ("reports.deposited", "bank.deposited.v1")
    );
    assert!(
        status.messages >= 900 && status.aggregates >= 301,
        "{status:?}"
    );
    assert!(status.done.is_some());
}

#[test]
fn a_replay_happens_once() {
    let mut app = TestApp::start(1, earlier());
    put(&app, "a", 1);
    app.until_idle();
    app.crash(later());
    app.until_idle();
    app.crash(later());
    app.until_idle();
    assert_eq!(shown(&app)[0].1.deposits, 1);
}

/// A replayed message is the message that was published, so the inbox recognizes it.
#[test]
fn a_subscription_that_begins_later_handles_nothing_twice() {
    let reports = || Service::new("reports").on(show);
    let live = App::new().service(bank()).service(reports());
    let mut app = TestApp::start(1, live);
    for cents in 1..=9 {
        put(&app, "a", cents);
    }
    app.until_idle();
    assert_eq!(shown(&app)[0].1.deposits, 9);
    app.crash(later());
    // Otherwise the past may contain the last deposit, too.
    app.until_idle();
    put(&app, "a", 10);
    app.until_idle();
    let (_, a) = &shown(&app)[0];
    assert_eq!((a.deposits, a.balance, a.replayed), (10, 55, 0));
}

#[test]
fn an_event_of_the_past_that_is_refused_becomes_a_dead_letter_and_the_replay_goes_on() {
    let mut app = TestApp::start(1, earlier());
    for cents in [1, POISON, 2] {
        put(&app, "a", cents);
    }
    app.until_idle();
    let show = |event: Deposited, accounts: Table<Shown>| async move {
        if event.cents == POISON {
            return Err(Error::reject("poison", "an unlucky sum"));
        }
        let count = |shown: Option<Shown>| Shown {
            balance: shown.unwrap_or_default().balance + event.cents,
            ..Shown::default()
        };
        accounts.update(&event.account, count).await.map(|_| ())
    };
    let reports = Service::new("reports").on(show.from_beginning());
    app.crash(App::new().service(bank()).service(reports));
    put(&app, "a", 4);
    app.until_idle();
    assert_eq!(shown(&app)[0].1.balance, 7);
    assert_eq!(app.dead_letters("reports"), 1);
}

fn status(app: &TestApp) -> ReplayStatus {
    let mut all = app.run(app.running().replays()).expect("the store answers");
    all.pop().expect("a replay")
}

#[test]
fn an_owner_stops_repeating_a_chapter_that_nobody_confirms() {
    let mut app = TestApp::start(1, earlier());
    put(&app, "a", 1);
    app.until_idle();
    app.crash(later());
    let paused = app.run(app.running().pause("reports", "deposited.replay"));
    assert!(paused.expect("the store answers"));
    app.pass(Duration::from_secs(1_200));
    assert!(status(&app).waiting, "{:?}", status(&app));
    assert_eq!(status(&app).done, None);

    // The subscriber starts again, and asks again.
    app.crash(later());
    app.pass(Duration::from_secs(5));
    assert!(!status(&app).waiting, "{:?}", status(&app));
    let resumed = app.run(app.running().resume("reports", "deposited.replay"));
    assert!(resumed.expect("the store answers"));
    app.until_idle();
    assert!(status(&app).done.is_some());
    assert_eq!(shown(&app)[0].1.deposits, 1);
}

/// Outboxes find messages by their ids: the model panics if two with one id wait.
#[test]
fn copies_of_an_event_of_the_past_have_ids_of_their_own() {
    let mut app = TestApp::start(1, earlier());
    put(&app, "a", 1);
    app.until_idle();
    app.crash(later());
    let paused = app.run(app.running().pause("reports", "deposited.replay"));
    assert!(paused.expect("the store answers"));
    app.pass(Duration::from_secs(5));
    // The broker accepts nothing while the owner repeats what nobody confirms.
    app.set_outages(Outages {
        broker_blocked: true,
        ..Outages::default()
    });
    app.pass(Duration::from_secs(1_200));
    assert!(status(&app).waiting, "{:?}", status(&app));
    app.set_outages(Outages::default());
    let resumed = app.run(app.running().resume("reports", "deposited.replay"));
    assert!(resumed.expect("the store answers"));
    app.until_idle();
    assert_eq!(shown(&app)[0].1.deposits, 1);
}

#[test]
fn a_past_that_cannot_be_sent_is_shown_and_tried_again() {
    static FAILS: AtomicBool = AtomicBool::new(false);
    let fragile = |it: Happened<'_, Account>| {
        assert!(!FAILS.load(Ordering::SeqCst), "a fault of the function");
        deposited(it)
    };
    let bank = || Service::new("bank").on(deposit).publishes_history(fragile);
    let before = App::new().service(bank()).service(Service::new("reports"));
    let mut app = TestApp::start(1, before);
    put(&app, "a", 1);
    app.until_idle();
    FAILS.store(true, Ordering::SeqCst);
    app.crash(App::new().service(bank()).service(reports()));
    app.pass(Duration::from_secs(30));
    let failure = status(&app).failure.expect("it fails");
    assert!(failure.starts_with("panicked: "), "{failure}");
    FAILS.store(false, Ordering::SeqCst);
    app.pass(Duration::from_secs(400));
    app.until_idle();
    assert_eq!(status(&app).failure, None);
    assert_eq!(shown(&app)[0].1.deposits, 1);
}

fn findings(app: App) -> String {
    app.check().expect_err("a finding").to_string()
}

#[test]
fn a_past_that_cannot_be_replayed_is_refused_by_name() {
    let without = Service::new("bank").on(deposit).publishes::<Deposited>();
    let found = findings(App::new().service(without).service(reports()));
    let expected = "reports.deposited cannot begin at the beginning of bank.deposited.v1: the \
                    service bank stores no history of it";
    assert!(found.contains(expected), "{found}");

    let command = Service::new("bank").on(deposit.from_beginning());
    let found = findings(App::new().service(command));
    assert!(found.contains("it is a command"), "{found}");

    let outside = App::new().service(reports()).outside(["bank"]);
    let found = findings(outside);
    assert!(found.contains("`bank` is another system"), "{found}");

    let twice = bank().publishes_history(deposited);
    let found = findings(App::new().service(twice));
    assert!(found.contains("published from two histories"), "{found}");
    later().check().expect("it can be replayed");
}

/// A bank and its reports, which subscribe while deposits are made.
struct Late<const REPLICAS: usize> {
    late: Arc<AtomicBool>,
}

/// The stored form of an account.
#[derive(Deserialize)]
struct Stored {
    s: Account,
}

async fn make_deposits(mut client: Client, from: i64, until: i64) {
    for cents in from..until {
        for account in ["a", "b", "c", "d"] {
            let account = account.into();
            client.world.publish(&Deposit { account, cents }).await;
        }
        client.pause(Duration::from_millis(400)).await;
    }
}

impl<const REPLICAS: usize> System for Late<REPLICAS> {
    fn new(_: &World) -> Self {
        Self {
            late: Arc::default(),
        }
    }

    fn processes(&self) -> Vec<Process> {
        let late = Arc::clone(&self.late);
        let reports = move |_: &_| {
            let service = if late.load(Ordering::SeqCst) {
                reports()
            } else {
                Service::new("reports")
            };
            App::new().service(service)
        };
        vec![
            Process::new("bank", |_: &_| App::new().service(bank())).replicas(REPLICAS),
            Process::new("reports", reports).replicas(REPLICAS),
        ]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let (world, late) = (world.clone(), Arc::clone(&self.late));
        vec![
            Box::pin(make_deposits(Client::new(&world, 0), 1, 60)),
            Box::pin(async move {
                world.simulation().sleep(Duration::from_secs(10)).await;
                late.store(true, Ordering::SeqCst);
                world.restart("reports", Duration::from_millis(300)).await;
            }),
        ]
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let mut found = Vec::new();
        let shown = world.entities::<Shown>("reports");
        for (id, account) in world.records::<Stored>("bank", "account") {
            let of = shown.iter().find(|(of, _)| *of == id);
            let shown = of.map(|(_, shown)| shown.clone()).unwrap_or_default();
            if (shown.balance, shown.deposits) != (account.s.balance, 59) {
                let detail = format!("{shown:?}, but the balance is {}", account.s.balance);
                found.push(Violation::new("the view equals its source", &id, detail));
            }
            if shown.disorder {
                let detail = format!("{shown:?}");
                found.push(Violation::new("the past comes first", &id, detail));
            }
        }
        found
    }
}

fn simulated<const REPLICAS: usize>(seeds: std::ops::Range<u64>) -> Report {
    again::disable();
    Simulator::new()
        .without_minimization()
        .until_failure()
        .run::<Late<REPLICAS>>(seeds)
}

#[test]
fn a_late_subscriber_of_two_replicas_equals_its_source_under_every_fault() {
    let failures = simulated::<2>(1..60).failures;
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_late_subscriber_of_three_replicas_equals_its_source_under_every_fault() {
    let failures = simulated::<3>(100..140).failures;
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn without_the_gate_the_present_overtakes_the_past() {
    let guard = "replaying::a_late_subscriber_of_two_replicas_equals_its_source_under_every_fault";
    fails_without("replay-first", guard);
}

#[test]
fn a_paused_subscription_stays_paused_after_its_past() {
    let mut app = TestApp::start(1, earlier());
    put(&app, "a", 1);
    app.until_idle();
    app.crash(later());
    let paused = app.run(app.running().pause("reports", "deposited"));
    assert!(paused.expect("the store answers"));
    put(&app, "a", 2);
    app.pass(Duration::from_secs(10));
    assert_eq!(shown(&app)[0].1.replayed, shown(&app)[0].1.deposits);
    let resumed = app.run(app.running().resume("reports", "deposited"));
    assert!(resumed.expect("the store answers"));
    app.until_idle();
    assert_eq!(shown(&app)[0].1.deposits, 2);
}
