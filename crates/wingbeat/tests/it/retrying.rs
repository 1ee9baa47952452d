//! Retry policies with rules for certain errors, and with a maximum age.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::app::DeadLetter;
use wingbeat::ports::{Envelope, Transport as _};
use wingbeat::test::{Model, Outages, Simulation, TestApp};
use wingbeat::{
    Aggregate, App, Attempts, Class, Command, Entity, Error, Event, Handler as _, Happened,
    JsonSchema, Message as _, Part, Repo, Result, Retry, RuntimeExt as _, Scope, Service, State,
    Table, encode_body, schemars,
};

use crate::ordered::Nobody;
use crate::transfers::publish;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
    number: u32,
}

/// The readings of a meter, in the order in which they were handled.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Log {
    numbers: Vec<u32>,
}

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

/// The errors of the next attempts at each reading, and the number of its attempts.
#[derive(Clone, Default)]
struct Trouble(Arc<Mutex<BTreeMap<u32, Failing>>>);

/// The errors of the next attempts at a reading, and the number of attempts so far.
type Failing = (Vec<Error>, u32);

impl Part<Trouble> for Trouble {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

impl Trouble {
    fn at(&self, number: u32, errors: impl IntoIterator<Item = Error>) {
        let mut errors: Vec<Error> = errors.into_iter().collect();
        errors.reverse();
        let mut all = self.0.lock().expect("nobody panics with it");
        all.insert(number, (errors, 0));
    }

    fn attempt(&self, number: u32) -> Result<()> {
        let mut all = self.0.lock().expect("nobody panics with it");
        let (errors, attempts) = all.entry(number).or_default();
        *attempts += 1;
        errors.pop().map_or(Ok(()), Err)
    }

    fn attempts(&self, number: u32) -> u32 {
        let all = self.0.lock().expect("nobody panics with it");
        all.get(&number).map_or(0, |(_, attempts)| *attempts)
    }
}

async fn keep(event: MeterRead, State(trouble): State<Trouble>, logs: Table<Log>) -> Result<()> {
    trouble.attempt(event.number)?;
    let kept = logs.update(&event.meter, |known| {
        let mut log: Log = known.unwrap_or_default();
        log.numbers.push(event.number);
        log
    });
    kept.await.map(drop)
}

fn busy() -> Error {
    Error::retry("busy", "the meter is busy")
}

fn closed() -> Error {
    Error::reject("closed", "the meter is closed")
}

fn app(retry: Retry, ordered: bool, trouble: &Trouble) -> App {
    let service = Service::new("meters").with_state(trouble.clone());
    let handler = keep.retry(retry).named("readings");
    let service = if ordered {
        service.on(handler.ordered())
    } else {
        service.on(handler)
    };
    App::new().service(service).allow_unknown_owners()
}

struct Scene {
    app: TestApp,
    trouble: Trouble,
}

impl Scene {
    fn new(retry: Retry) -> Self {
        Self::start(retry, false)
    }

    fn ordered(retry: Retry) -> Self {
        Self::start(retry, true)
    }

    fn start(retry: Retry, ordered: bool) -> Self {
        let trouble = Trouble::default();
        let app = TestApp::start(1, app(retry, ordered, &trouble));
        Self { app, trouble }
    }

    fn read(&self, number: u32) {
        let meter = "a".into();
        let reading = MeterRead { meter, number };
        self.app.publish(Uuid::from_u128(number.into()), &reading);
        // The queue of the model keeps no order, so this message has to arrive before the next.
        self.app.pass(100 * MILLI);
    }

    fn pause(&self) {
        let pause = self.app.running().pause("meters", "readings");
        assert!(self.app.run(pause).expect("it is stored"));
    }

    fn resume(&self) {
        let resume = self.app.running().resume("meters", "readings");
        assert!(self.app.run(resume).expect("it is stored"));
    }

    fn store_is_unavailable(&self, store: bool) {
        let outages = Outages::default();
        self.app.set_outages(Outages { store, ..outages });
    }

    fn log(&self) -> Vec<u32> {
        let reads = self.app.reads("meters");
        let log = self.app.run(reads.entity::<Log>(&"a".to_owned()));
        log.expect("reads").unwrap_or_default().numbers
    }

    fn letters(&self) -> Vec<DeadLetter> {
        let letters = self.app.running().dead_letters("meters".into());
        self.app.run(letters).expect("reads")
    }

    fn reasons(&self) -> Vec<String> {
        let letters = self.letters().into_iter();
        letters.map(|letter| letter.reason).collect()
    }
}

#[test]
fn an_error_with_a_rule_for_a_dead_letter_is_not_tried_again() {
    let rule = |retry: Retry| retry.on_code("busy", Attempts::none());
    for (retry, attempts) in [(rule(Retry::default()), 1), (Retry::default(), 2)] {
        let scene = Scene::new(retry);
        scene.trouble.at(1, [busy()]);
        scene.read(1);
        scene.app.pass(SECOND);
        assert_eq!(scene.trouble.attempts(1), attempts);
        let letters = if attempts == 1 { vec!["busy"] } else { vec![] };
        assert_eq!(scene.reasons(), letters);
    }
}

#[test]
fn a_rule_has_pauses_of_its_own() {
    let rule = Attempts::parked([MINUTE, 2 * MINUTE]);
    let scene = Scene::new(Retry::default().on_code("busy", rule));
    scene.trouble.at(1, [busy(), busy()]);
    scene.read(1);
    scene.app.pass(59 * SECOND);
    assert_eq!(scene.trouble.attempts(1), 1);
    scene.app.pass(20 * SECOND);
    assert_eq!(scene.trouble.attempts(1), 2);
    scene.app.pass(100 * SECOND);
    assert_eq!(scene.trouble.attempts(1), 2);
    scene.app.pass(MINUTE);
    assert_eq!((scene.trouble.attempts(1), scene.log()), (3, vec![1]));
}

#[test]
fn a_class_has_a_rule_too_so_that_a_rejected_message_is_tried_again() {
    let rule = Attempts::parked([SECOND]);
    let scene = Scene::new(Retry::default().on_class(Class::Reject, rule));
    scene.trouble.at(1, [closed()]);
    scene.trouble.at(2, [closed(), closed()]);
    scene.read(1);
    scene.read(2);
    scene.app.pass(10 * SECOND);
    assert_eq!(scene.log(), [1]);
    assert_eq!(scene.reasons(), ["closed"]);
    let without = Scene::new(Retry::default());
    without.trouble.at(1, [closed()]);
    without.read(1);
    without.app.pass(10 * SECOND);
    assert_eq!(without.reasons(), ["closed"]);
}

#[test]
fn later_messages_of_a_key_wait_behind_one_that_is_held() {
    let pauses = [SECOND, SECOND, SECOND];
    let orders = [
        (Attempts::held(pauses), vec![1, 2, 3]),
        (Attempts::parked(pauses), vec![2, 3, 1]),
    ];
    for (rule, expected) in orders {
        let scene = Scene::new(Retry::default().on_code("busy", rule));
        scene.trouble.at(1, [busy(), busy(), busy()]);
        (1..=3).for_each(|number| scene.read(number));
        let other = MeterRead {
            meter: "b".into(),
            number: 9,
        };
        scene.app.publish(Uuid::from_u128(9), &other);
        scene.app.pass(SECOND);
        assert_eq!(scene.trouble.attempts(9), 1, "other keys do not wait");
        scene.app.pass(10 * SECOND);
        assert_eq!(scene.log(), expected);
    }
}

#[test]
fn after_the_last_held_attempt_the_others_proceed() {
    let rule = Attempts::in_place([SECOND]).then_held([SECOND]);
    let scene = Scene::new(Retry::default().on_code("busy", rule));
    scene.trouble.at(1, [busy(), busy(), busy()]);
    (1..=2).for_each(|number| scene.read(number));
    scene.app.pass(20 * SECOND);
    assert_eq!((scene.trouble.attempts(1), scene.log()), (3, vec![2]));
    assert_eq!(scene.reasons(), ["busy"]);
}

#[test]
fn a_held_delivery_is_released_when_its_subscription_is_paused() {
    let rule = Attempts::held([MINUTE]);
    let scene = Scene::new(Retry::default().on_code("busy", rule));
    scene.trouble.at(1, [busy()]);
    (1..=2).for_each(|number| scene.read(number));
    scene.app.pass(SECOND);
    scene.pause();
    scene.app.pass(SECOND);
    assert_eq!(scene.log(), Vec::<u32>::new());
    scene.resume();
    scene.app.pass(SECOND);
    // The queue is not ordered: it may deliver the released messages in any order.
    let mut log = scene.log();
    log.sort_unstable();
    assert_eq!(log, [1, 2], "long before the pause of a minute");
}

#[test]
fn an_ordered_subscription_may_park_certain_errors() {
    let rule = Attempts::parked([SECOND]);
    for (retry, expected) in [
        (Retry::default().on_code("busy", rule), vec![2, 1]),
        (Retry::default(), vec![1, 2]),
    ] {
        let scene = Scene::ordered(retry);
        scene.trouble.at(1, [busy()]);
        scene.read(1);
        scene.read(2);
        scene.app.pass(20 * SECOND);
        assert_eq!(scene.log(), expected);
    }
}

#[test]
fn the_attempts_of_a_rule_survive_a_crash() {
    let rule = || Attempts::parked([10 * SECOND, 10 * SECOND]);
    let retry = || Retry::default().on_code("busy", rule());
    let mut scene = Scene::new(retry());
    scene.trouble.at(1, (0..9).map(|_| busy()));
    scene.read(1);
    scene.app.pass(SECOND);
    let again = app(retry(), false, &scene.trouble);
    scene.app.crash(again);
    scene.app.pass(MINUTE);
    assert_eq!(scene.trouble.attempts(1), 3);
    assert_eq!(scene.reasons(), ["busy"]);
}

#[test]
fn attempts_after_one_error_do_not_use_up_those_after_another() {
    let retry = Retry {
        quick: 1,
        parked: vec![SECOND; 2],
        ..Retry::default()
    };
    let scene = Scene::new(retry.on_code("busy", Attempts::parked([SECOND; 2])));
    let other = || Error::retry("other", "it fails");
    scene.trouble.at(1, [busy(), other(), busy(), other()]);
    scene
        .trouble
        .at(2, [busy(), other(), busy(), other(), other()]);
    scene.read(1);
    scene.read(2);
    scene.app.pass(20 * SECOND);
    assert_eq!(scene.log(), [1]);
    assert_eq!(scene.reasons(), ["other"]);
    assert_eq!(scene.letters()[0].failures.parked, 4);
}

#[test]
fn no_delivery_becomes_a_dead_letter_while_the_store_is_unavailable() {
    let rule = || Attempts::none();
    let scene = Scene::new(Retry::default().on_class(Class::Retry, rule()));
    scene.app.set_outages(Outages {
        store: true,
        ..Outages::default()
    });
    scene.read(1);
    scene.app.pass(20 * SECOND);
    scene.app.set_outages(Outages::default());
    scene.app.pass(20 * SECOND);
    assert_eq!((scene.log(), scene.reasons()), (vec![1], vec![]));
}

#[test]
fn an_outage_of_the_store_uses_up_no_attempt() {
    let rule = Attempts::parked([SECOND, SECOND]);
    let scene = Scene::new(Retry::default().on_class(Class::Retry, rule));
    scene.store_is_unavailable(true);
    scene.read(1);
    scene.app.pass(20 * SECOND);
    scene.trouble.at(1, [busy(), busy()]);
    scene.store_is_unavailable(false);
    scene.app.pass(MINUTE);
    assert_eq!((scene.log(), scene.reasons()), (vec![1], vec![]));
}

#[test]
fn a_delivery_is_not_too_old_after_an_outage_of_the_store_before_an_attempt() {
    let rules = [
        None,
        Some(Attempts::none()),
        Some(Attempts::in_place([10 * SECOND; 3])),
        Some(Attempts::held([10 * SECOND; 3])),
        Some(Attempts::parked([10 * SECOND; 3])),
    ];
    for (rule, ordered) in rules.iter().flat_map(|rule| [(rule, false), (rule, true)]) {
        let mut retry = Retry::default().max_age(20 * SECOND);
        if let Some(rule) = rule {
            retry = retry.on_class(Class::Retry, rule.clone());
        }
        let scene = Scene::start(retry, ordered);
        scene.store_is_unavailable(true);
        scene.read(1);
        scene.app.pass(MINUTE);
        scene.store_is_unavailable(false);
        scene.app.pass(MINUTE);
        let found = (scene.log(), scene.reasons());
        assert_eq!(found, (vec![1], vec![]), "{rule:?}, ordered: {ordered}");
    }
}

/// Like [`keep`], but all readings are in one log, and handling the first one takes ten seconds.
async fn keep_slowly(
    event: MeterRead,
    State(trouble): State<Trouble>,
    scope: Scope,
    logs: Table<Log>,
) -> Result<()> {
    trouble.attempt(event.number)?;
    let id = "a".to_owned();
    let mut log = logs.get(&id).await?.unwrap_or_default();
    if event.number == 1 {
        scope.runtime().sleep(10 * SECOND).await;
    }
    log.numbers.push(event.number);
    logs.put(&id, log)
}

#[test]
fn a_delivery_that_was_handled_on_stale_data_is_handled_again_at_any_age() {
    let trouble = Trouble::default();
    trouble.at(1, [busy()]);
    let handler = keep_slowly.retry(Retry::default().max_age(5 * SECOND));
    let service = Service::new("meters").with_state(trouble.clone());
    let app = App::new().service(service.on(handler.named("readings")));
    let app = TestApp::start(1, app);
    for (meter, number) in [("a", 1), ("b", 2)] {
        let meter = meter.into();
        app.publish(Uuid::from_u128(1), &MeterRead { meter, number });
        app.pass(SECOND);
    }
    app.pass(MINUTE);
    assert_eq!(trouble.attempts(1), 3, "failed, stale, handled");
    let scene = Scene { app, trouble };
    assert_eq!((scene.log(), scene.reasons()), (vec![2, 1], vec![]));
}

/// The record of a parked delivery stays claimed for 30 seconds only.
#[test]
fn a_pause_of_a_delivery_from_the_store_does_not_let_another_replica_take_it() {
    let default = Retry {
        quick: 1,
        parked: vec![MINUTE],
        ..Retry::default()
    };
    let quick = Retry {
        quick: 2,
        backoff: MINUTE,
        parked: vec![MINUTE],
        ..Retry::default()
    };
    let rule = |rule| Retry::default().on_code("busy", rule);
    for (retry, ordered) in [
        (rule(Attempts::held([MINUTE])), false),
        (rule(Attempts::held([MINUTE])), true),
        (rule(Attempts::in_place([MINUTE])), false),
        (default, true),
        (quick, false),
    ] {
        let what = format!("{retry:?}, ordered: {ordered}");
        let world = Simulation::new(1);
        let model = Model::new(world.runtime());
        let trouble = Trouble::default();
        let start = || {
            let ports = model.ports(&world.group(), Arc::new(Nobody));
            let started = app(retry.clone(), ordered, &trouble).start(ports);
            world.run(started).expect("it starts")
        };
        let running = start();
        const READINGS: u32 = 8;
        for number in 1..=READINGS {
            trouble.at(number, [closed()]);
            let meter = format!("m{number}");
            world.run(publish(&world, &model, &MeterRead { meter, number }));
        }
        world.advance(SECOND);
        let letters = world.run(running.dead_letters("meters".into()));
        let letters = letters.expect("reads");
        assert_eq!(letters.len(), 8, "{what}");
        let other = start();
        for number in 1..=READINGS {
            trouble.at(number, [busy()]);
        }
        for letter in letters {
            let retried = running.retry_dead_letter("meters".into(), letter.id);
            assert!(world.run(retried).expect("it is stored"));
        }
        let attempts = || (1..=READINGS).map(|number| trouble.attempts(number));
        world.advance(50 * SECOND);
        assert!(attempts().all(|count| count == 1), "{what}");
        world.advance(10 * MINUTE);
        assert!(attempts().all(|count| count == 2), "{what}");
        let reads = running.reads("meters").expect("it runs");
        for number in 1..=READINGS {
            let log = world.run(reads.entity::<Log>(&format!("m{number}")));
            assert_eq!(log.expect("reads").expect("kept").numbers, [number]);
        }
        drop(other);
        world.end();
    }
}

#[test]
fn an_old_delivery_is_not_tried_again() {
    let limited = Retry::default().max_age(20 * SECOND);
    for (retry, letters) in [(limited, vec!["too_old"]), (Retry::default(), vec![])] {
        let scene = Scene::new(retry);
        scene.trouble.at(1, (0..90).map(|_| busy()));
        scene.read(1);
        scene.app.pass(19 * SECOND);
        assert_eq!(scene.reasons(), Vec::<String>::new());
        let attempts = scene.trouble.attempts(1);
        scene.app.pass(3 * SECOND);
        assert_eq!(scene.reasons(), letters);
        assert_eq!(scene.trouble.attempts(1), attempts);
        if let Some(letter) = scene.letters().first() {
            let error = "the message is older than 20s; first error: the meter is busy";
            assert_eq!(letter.error, error);
            assert_eq!(letter.failures.attempts, attempts);
        }
    }
}

#[test]
fn an_old_delivery_that_is_held_makes_way_for_the_next() {
    let retry = Retry::default().on_code("busy", Attempts::held([MINUTE]));
    let scene = Scene::new(retry.max_age(5 * SECOND));
    scene.trouble.at(1, [busy()]);
    (1..=2).for_each(|number| scene.read(number));
    scene.app.pass(4 * SECOND);
    assert_eq!(scene.log(), Vec::<u32>::new());
    scene.app.pass(2 * SECOND);
    assert_eq!(
        (scene.log(), scene.reasons()),
        (vec![2], vec!["too_old".into()])
    );
}

#[test]
fn an_old_message_is_tried_once_and_again_when_an_operator_retries_it() {
    let scene = Scene::new(Retry::default().max_age(SECOND));
    scene.trouble.at(1, [busy(), busy()]);
    scene.pause();
    scene.read(1);
    scene.read(2);
    scene.app.pass(MINUTE);
    scene.resume();
    scene.app.pass(2 * SECOND);
    assert_eq!(
        (scene.log(), scene.reasons()),
        (vec![2], vec!["too_old".into()])
    );
    assert_eq!(scene.trouble.attempts(1), 1);
    for (reasons, log) in [(vec!["too_old"], vec![2]), (vec![], vec![2, 1])] {
        let letter = scene.letters().remove(0);
        let retried = scene
            .app
            .running()
            .retry_dead_letter("meters".into(), letter.id);
        assert!(scene.app.run(retried).expect("it is stored"));
        scene.app.pass(MINUTE);
        assert_eq!(
            (scene.reasons(), scene.log()),
            (reasons.into_iter().map(String::from).collect(), log)
        );
    }
}

/// Handles a message that was published at this time, in seconds after its receipt, with a maximum
/// age of ten seconds. Returns the number of attempts after `after`, and the dead letters.
fn published(at: i64, after: Duration) -> (u32, usize) {
    let world = Simulation::new(1);
    let model = Model::new(world.runtime());
    let trouble = Trouble::default();
    trouble.at(1, (0..90).map(|_| busy()));
    let retry = Retry::default().max_age(10 * SECOND);
    let ports = model.ports(&world.group(), Arc::new(Nobody));
    let running = world.run(app(retry, false, &trouble).start(ports));
    let running = running.expect("it starts");
    let reading = MeterRead {
        meter: "a".into(),
        number: 1,
    };
    let runtime = world.runtime();
    let envelope = Envelope {
        id: runtime.id().into(),
        source: "stranger".into(),
        kind: MeterRead::NAME.into(),
        role: MeterRead::KIND,
        key: reading.key(),
        time: wingbeat::Timestamp::from_micros(runtime.now().as_micros() + at * 1_000_000),
        correlation: runtime.id().into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        signature: None,
        dialog: None,
        body: encode_body(&reading),
    };
    assert_eq!(world.run(model.transport.publish(vec![envelope])), [Ok(())]);
    world.advance(after);
    let letters = world.run(running.dead_letters("meters".into()));
    let letters = letters.expect("reads").len();
    world.end();
    (trouble.attempts(1), letters)
}

#[test]
fn a_time_of_publication_that_cannot_be_true_does_not_count() {
    const DAY: i64 = 24 * 3_600;
    assert_eq!(published(-11, 8 * SECOND), (1, 1), "it is too old");
    assert_eq!(published(-5, 3 * SECOND).1, 0);
    assert_eq!(published(-5, 8 * SECOND).1, 1);
    for wrong in [3_600, -61 * DAY] {
        let (attempts, letters) = published(wrong, 8 * SECOND);
        assert!(attempts > 3 && letters == 0, "{wrong}: {attempts}");
        assert_eq!(published(wrong, 13 * SECOND).1, 1, "{wrong}");
    }
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "bank.deposit", version = 1, key = account)]
struct Deposit {
    account: String,
    cents: u64,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.deposited", version = 1, key = account)]
struct Deposited {
    account: String,
    cents: u64,
}

#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Account {
    cents: u64,
}

#[derive(Serialize, Deserialize)]
struct Added(u64);

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type Id = String;
    type Command = u64;
    type Event = Added;
    type Error = ();

    fn decide(&self, cents: u64) -> std::result::Result<Vec<Added>, ()> {
        Ok(vec![Added(cents)])
    }

    fn apply(&mut self, Added(cents): &Added) {
        self.cents += cents;
    }
}

async fn deposit(command: Deposit, accounts: Repo<Account>) -> Result<()> {
    let _ = accounts.execute(&command.account, command.cents).await?;
    Ok(())
}

async fn report(event: Deposited, State(trouble): State<Trouble>, logs: Table<Log>) -> Result<()> {
    let number = u32::try_from(event.cents).expect("it is small");
    let read = MeterRead {
        meter: event.account,
        number,
    };
    keep(read, State(trouble), logs).await
}

#[test]
fn a_replayed_message_is_not_too_old() {
    fn bank() -> Service {
        let happened = |it: Happened<'_, Account>| {
            Some(Deposited {
                account: it.id.into(),
                cents: it.event.0,
            })
        };
        Service::new("bank").on(deposit).publishes_history(happened)
    }
    let trouble = Trouble::default();
    trouble.at(7, [busy(), busy(), busy(), busy()]);
    let earlier = App::new().service(bank()).service(Service::new("meters"));
    let mut app = TestApp::start(1, earlier);
    let account = "a".into();
    app.publish(Uuid::nil(), &Deposit { account, cents: 7 });
    app.pass(10 * MINUTE);
    let retry = Retry::default().max_age(MINUTE);
    let meters = Service::new("meters").with_state(trouble.clone());
    let meters = meters.on(report.retry(retry).from_beginning());
    app.crash(App::new().service(bank()).service(meters));
    app.pass(MINUTE);
    let scene = Scene { app, trouble };
    assert_eq!((scene.log(), scene.reasons()), (vec![7], vec![]));
    assert_eq!(scene.trouble.attempts(7), 5);
}
