//! Requests: each has one outcome within its deadline, and takes effect at most once.

mod embedded;
mod simulated;
#[cfg(feature = "signing")]
mod trusted;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use wingbeat::test::executor::Group;
use wingbeat::test::{Faults, Model, Outages, Simulation, TestApp};
use wingbeat::{
    App, Entity, Error, JsonSchema, Parts, Request, RequestError, Requests, Result, Running,
    Runtime as _, RuntimeExt as _, Service, State, Table, schemars,
};

use crate::transfers::ports;

#[derive(Request, Clone, Serialize, Deserialize, JsonSchema)]
#[request(name = "pricing.get_quote", version = 1, key = sku, reply = Quote)]
pub(crate) struct GetQuote {
    pub(crate) sku: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Quote {
    pub(crate) cents: u64,
    /// The number of quotes of this article so far.
    pub(crate) number: u32,
}

/// A request that no service of these tests answers.
#[derive(Request, Serialize, Deserialize, JsonSchema)]
#[request(name = "pricing.get_discount", version = 1, reply = u32)]
struct GetDiscount {}

/// The quotes of an article.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Quotes(pub(crate) u32);

impl Entity for Quotes {
    const NAME: &'static str = "quotes";
    type Id = String;
}

/// The attempts at a quote that fail.
#[derive(Clone, Default)]
pub(crate) struct Failures(Arc<AtomicU32>);

#[derive(Clone, Default, Parts)]
pub(crate) struct Settings {
    failures: Failures,
}

async fn quote(
    request: GetQuote,
    quotes: Table<Quotes>,
    State(failures): State<Failures>,
) -> Result<Quote> {
    let number = quotes.get(&request.sku).await?.unwrap_or_default().0 + 1;
    quotes.put(&request.sku, Quotes(number))?;
    let left = |left: u32| left.checked_sub(1);
    let failed = failures
        .0
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
    if failed.is_ok() {
        return Err(Error::retry(
            "no_price_list",
            "the price list is being loaded",
        ));
    }
    if request.sku == "tea" {
        return Err(Error::reject("unknown_sku", "there is no such article"));
    }
    Ok(Quote { cents: 30, number })
}

pub(crate) fn pricing(settings: &Settings) -> Service<Settings> {
    let pricing = Service::new("pricing").with_state(settings.clone());
    pricing.answer(quote)
}

pub(crate) fn shop() -> Service {
    Service::new("shop").asks::<GetQuote>()
}

fn app() -> App {
    with(&Settings::default())
}

fn with(settings: &Settings) -> App {
    App::new().service(pricing(settings)).service(shop())
}

const SECOND: Duration = Duration::from_secs(1);

fn get(sku: &str) -> GetQuote {
    GetQuote { sku: sku.into() }
}

fn ask(app: &TestApp, sku: &str, limit: Duration) -> Result<Quote, RequestError> {
    app.run(app.requests("shop").ask(get(sku)).within(limit))
}

fn quotes(app: &TestApp, sku: &str) -> u32 {
    let found = app.run(app.reads("pricing").entity::<Quotes>(&sku.into()));
    found.expect("the store answers").unwrap_or_default().0
}

fn pause(app: &TestApp) {
    let paused = app.run(app.running().pause("pricing", "get_quote"));
    assert!(paused.expect("the store answers"));
    app.pass(SECOND);
}

fn resume(app: &TestApp) {
    let resumed = app.run(app.running().resume("pricing", "get_quote"));
    assert!(resumed.expect("the store answers"));
}

fn code(outcome: Result<Quote, RequestError>) -> String {
    let why = outcome.expect_err("it has no reply");
    why.code().to_owned()
}

#[test]
fn a_reply_is_part_of_the_unit_that_makes_it() {
    let app = TestApp::start(1, app());
    for number in 1..=2 {
        let quote = ask(&app, "egg", 2 * SECOND).expect("a reply");
        assert_eq!(quote, Quote { cents: 30, number });
    }
    assert_eq!(quotes(&app, "egg"), 2);
    assert_eq!(
        (app.requests("shop").pending(), app.requests("shop").late()),
        (0, 0)
    );
    app.until_idle();
}

#[test]
fn a_rejection_is_a_reply_and_takes_no_effect() {
    let app = TestApp::start(1, app());
    let rejected = ask(&app, "tea", 2 * SECOND).expect_err("a rejection");
    let RequestError::Rejected { code, detail, .. } = &rejected else {
        panic!("{rejected}");
    };
    assert_eq!(
        (&**code, &**detail),
        ("unknown_sku", "there is no such article")
    );
    app.until_idle();
    assert_eq!((quotes(&app, "tea"), app.dead_letters("pricing")), (0, 0));
}

#[test]
fn a_failure_that_passes_is_retried_until_the_deadline() {
    let settings = Settings::default();
    let app = TestApp::start(1, with(&settings));
    // More often than it is tried in memory.
    settings.failures.0.store(6, Ordering::SeqCst);
    let quote = ask(&app, "egg", 10 * SECOND).expect("a reply");
    assert_eq!(quote.number, 1);

    settings.failures.0.store(u32::MAX, Ordering::SeqCst);
    assert_eq!(code(ask(&app, "tea", 4 * SECOND)), "reply_timeout");
    app.until_idle();
    let left = settings.failures.0.load(Ordering::SeqCst);
    assert!(u32::MAX - left < 60, "{} attempts", u32::MAX - left);
    assert_eq!((quotes(&app, "tea"), app.dead_letters("pricing")), (0, 0));
}

#[test]
fn a_request_that_comes_after_its_deadline_is_not_handled() {
    let app = TestApp::start(1, app());
    pause(&app);
    assert_eq!(code(ask(&app, "egg", 2 * SECOND)), "reply_timeout");
    app.pass(2 * SECOND);
    resume(&app);
    app.until_idle();
    assert_eq!((quotes(&app, "egg"), app.dead_letters("pricing")), (0, 0));
}

#[test]
fn a_reply_that_comes_late_is_discarded_and_counted() {
    let app = TestApp::start(1, app());
    pause(&app);
    assert_eq!(code(ask(&app, "egg", 2 * SECOND)), "reply_timeout");
    // Within the allowance for clocks that differ.
    resume(&app);
    app.until_idle();
    assert_eq!((quotes(&app, "egg"), app.requests("shop").late()), (1, 1));
    assert_eq!(ask(&app, "egg", 2 * SECOND).expect("a reply").number, 2);
}

#[test]
fn a_caller_that_drops_the_future_forgets_the_request() {
    let app = TestApp::start(1, app());
    pause(&app);
    let requests = app.requests("shop");
    let runtime = app.service("shop").runtime().clone();
    let asking = requests.ask(get("egg")).within(20 * SECOND);
    assert!(app.run(runtime.timeout(SECOND, asking)).is_none());
    assert_eq!(requests.pending(), 0);
    resume(&app);
    app.until_idle();
    assert_eq!((quotes(&app, "egg"), requests.late()), (1, 1));
}

#[test]
fn duplicates_of_a_request_take_effect_once() {
    let app = TestApp::start(1, app());
    app.set_faults(Faults {
        duplicate: 1_000,
        ..Faults::default()
    });
    for number in 1..=5 {
        let quote = ask(&app, "egg", 5 * SECOND).expect("a reply");
        assert_eq!(quote.number, number);
    }
    app.until_idle();
    assert_eq!(quotes(&app, "egg"), 5);
}

#[test]
fn the_number_of_requests_that_wait_is_bounded() {
    let app = TestApp::start(1, app());
    pause(&app);
    let requests = app.requests("shop");
    let asked = (0..1_030).map(|_| requests.ask(get("egg")).within(2 * SECOND));
    let outcomes = app.run(join_all(asked));
    let codes = outcomes.into_iter().map(code);
    let refused = codes.filter(|it| it == "requests_overloaded").count();
    assert_eq!((refused, requests.pending()), (6, 0));
    app.pass(5 * SECOND);
    resume(&app);
    app.until_idle();
    assert_eq!(quotes(&app, "egg"), 0);
    assert_eq!(ask(&app, "egg", 2 * SECOND).expect("a reply").number, 1);
}

#[test]
fn a_request_is_not_sent_while_the_broker_is_unavailable() {
    let app = TestApp::start(1, app());
    app.pass(SECOND);
    app.set_outages(Outages {
        broker: true,
        ..Outages::default()
    });
    app.pass(SECOND);
    assert_eq!(code(ask(&app, "egg", 2 * SECOND)), "request_unavailable");
    app.set_outages(Outages::default());
    app.until_idle();
    assert_eq!(quotes(&app, "egg"), 0);
    assert!(
        ask(&app, "egg", 2 * SECOND).is_ok(),
        "the queue is open again"
    );
}

#[test]
fn a_request_that_the_service_does_not_declare_is_refused() {
    let app = TestApp::start(1, app());
    let asked = app.requests("shop").ask(GetDiscount {}).within(SECOND);
    let refused = app.run(asked).expect_err("it is not declared");
    assert_eq!(refused.code(), "request_undeclared");
}

#[test]
fn the_check_finds_requests_with_no_answer_and_with_two() {
    let codes = |app: App| -> Vec<_> {
        let findings = app.findings().into_iter();
        findings.map(|it| it.code).collect()
    };
    assert_eq!(codes(app()), [""; 0]);
    app().check().expect("it is complete");

    let alone = App::new().service(shop()).service(Service::new("pricing"));
    assert_eq!(codes(alone), ["request_unanswered"]);
    assert_eq!(
        codes(App::new().service(shop()).outside(["pricing"])),
        [""; 0]
    );

    let second = Service::new("discounts").with_state(Settings::default());
    let twice = app().service(second.answer(quote));
    assert_eq!(codes(twice), ["request_answered_twice"]);

    async fn handled(_: GetQuote) -> Result<()> {
        Ok(())
    }
    let handled = App::new()
        .service(shop())
        .service(Service::new("pricing").on(handled));
    assert_eq!(codes(handled), ["request_unanswered"]);
}

/// Processes of their own on one store and one broker.
struct Processes {
    simulation: Simulation,
    model: Model,
}

impl Processes {
    fn new() -> Self {
        let simulation = Simulation::new(3);
        let model = Model::new(simulation.runtime());
        Self { simulation, model }
    }

    fn start(&self, service: &str) -> (Arc<Group>, Running) {
        self.simulation.run(self.started(service))
    }

    async fn started(&self, service: &str) -> (Arc<Group>, Running) {
        let group = self.simulation.group();
        let http = ports(&self.model, group.clone()).http;
        let ports = self.model.ports(&group, http);
        let started = app().run_only([service]).start(ports).await;
        (group, started.expect("it starts"))
    }

    fn quotes(&self, pricing: &Running) -> u32 {
        let reads = pricing.reads("pricing").expect("it runs");
        let found = self.simulation.run(reads.entity::<Quotes>(&"egg".into()));
        found.expect("the store answers").unwrap_or_default().0
    }
}

fn requests(running: &Running) -> Requests {
    running.requests("shop").expect("it asks")
}

#[test]
fn each_replica_receives_the_replies_to_its_own_requests() {
    let processes = Processes::new();
    let (_pricing, _running) = processes.start("pricing");
    let replicas = [processes.start("shop"), processes.start("shop")];
    let asked = (0..40).map(|number| {
        let (_, running) = &replicas[number % 2];
        requests(running)
            .ask(get(&number.to_string()))
            .within(2 * SECOND)
    });
    for outcome in processes.simulation.run(join_all(asked)) {
        assert_eq!(outcome.expect("a reply").number, 1);
    }
    for (_, running) in &replicas {
        assert_eq!(
            (requests(running).pending(), requests(running).late()),
            (0, 0)
        );
    }
}

#[test]
fn a_reply_survives_the_process_that_made_it() {
    let processes = Processes::new();
    let (pricing, _running) = processes.start("pricing");
    let (_shop, shop) = processes.start("shop");
    processes.simulation.advance(SECOND);
    // Once the store has committed the unit, nothing of the process is left to publish the reply.
    pricing.kill_at_commit();
    let asked = requests(&shop).ask(get("egg")).within(30 * SECOND);
    let restarted = async {
        while pricing.is_alive() {
            processes.simulation.sleep(SECOND / 10).await;
        }
        processes.started("pricing").await
    };
    let both = futures_util::future::join(asked, restarted);
    let (reply, (_pricing, running)) = processes.simulation.run(both);
    assert_eq!(reply.expect("a reply").number, 1);
    processes.simulation.advance(30 * SECOND);
    assert_eq!(processes.quotes(&running), 1);
}

#[test]
fn replies_to_a_process_that_has_ended_are_dropped() {
    let processes = Processes::new();
    let (_pricing, running) = processes.start("pricing");
    let (shop, asker) = processes.start("shop");
    let paused = running.pause("pricing", "get_quote");
    processes.simulation.run(paused).expect("the store answers");
    let asked = requests(&asker).ask(get("egg")).within(20 * SECOND);
    let runtime = processes.simulation.runtime();
    assert!(
        processes
            .simulation
            .run(runtime.timeout(SECOND, asked))
            .is_none()
    );
    shop.kill();
    drop(asker);
    let resumed = running.resume("pricing", "get_quote");
    processes
        .simulation
        .run(resumed)
        .expect("the store answers");
    processes.simulation.advance(10 * SECOND);
    assert_eq!(processes.quotes(&running), 1);
    let later = processes.simulation.now() + 3_600 * SECOND;
    assert_eq!(processes.model.unsettled(later), [""; 0]);
    let unroutable = processes.simulation.run(running.unroutable());
    assert_eq!(unroutable.expect("the store answers"), []);
}
