//! Simulations: their wiring is checked first, and their coverage has no unknown gaps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::test::simulator::{Report, Unreachable};
use wingbeat::test::{Client, Process, Simulator, System, Violation, World};
use wingbeat::{
    App, BoxFuture, Call, Command, Error, Event, GaveUp, JsonSchema, Now, Result, Saga,
    SagaEffects, SagaInput, Service, TargetPolicy, Unexpected, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.ordered", version = 1, key = order)]
struct Ordered {
    order: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.cancelled", version = 1, key = order)]
struct Cancelled {
    order: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "parcels.collect", version = 1, key = order)]
struct Collect {
    order: String,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "parcels.ask", target = "carrier", key = order, outcome = Pickup)]
struct Ask {
    order: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "parcels.pickup", version = 1, key = order)]
struct Pickup {
    order: String,
}

impl GaveUp<Ask> for Pickup {
    fn gave_up(call: &Ask, _why: &Error) -> Self {
        let order = call.order.clone();
        Self { order }
    }
}

async fn ask(call: Ask) -> Result<Pickup> {
    Ok(Pickup { order: call.order })
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Ordered(Ordered),
    Pickup(#[allow(dead_code, reason = "a parcel that was collected needs no order")] Pickup),
    #[saga(timer)]
    Collect(Collect),
}

/// Waits for some seconds, and then asks the carrier.
#[derive(Default, Serialize, Deserialize)]
struct Delivery<const SECONDS: u64>;

impl<const SECONDS: u64> Saga for Delivery<SECONDS> {
    const NAME: &'static str = "delivery";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Ordered(Ordered { order }) => {
                effects.after(Duration::from_secs(SECONDS), &Collect { order })
            }
            Input::Collect(Collect { order }) => effects.call(&Ask { order }),
            Input::Pickup(_) => effects.end(),
        };
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

async fn cancelled(_: Cancelled) -> Result<()> {
    Ok(())
}

async fn sweep(_: Now) -> Result<()> {
    Ok(())
}

fn parcels<const SECONDS: u64>() -> Service {
    Service::new("parcels")
        .saga::<Delivery<SECONDS>>()
        .on(cancelled)
        .every("sweep", Duration::from_secs(36_000), sweep)
        .target("carrier", TargetPolicy::default())
        .calls(ask)
}

struct Parcels<const SECONDS: u64>;

impl<const SECONDS: u64> System for Parcels<SECONDS> {
    fn new(_: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        let parcels = |_: &_| App::new().service(parcels::<SECONDS>());
        vec![Process::new("parcels", parcels)]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        vec![Box::pin(order(Client::new(world, 1)))]
    }

    async fn when_idle(&self, _: &World) -> Vec<Violation> {
        Vec::new()
    }
}

/// Orders each parcel twice, and repeats messages of the first one once it has been collected.
async fn order(mut client: Client) {
    let ordered = |order: &str| Ordered {
        order: order.into(),
    };
    for order in ["1", "2", "3"] {
        client.world.publish(&ordered(order)).await;
        client.world.publish(&ordered(order)).await;
        client.pause(Duration::from_secs(10)).await;
    }
    client.world.publish(&ordered("1")).await;
    let order = "1".into();
    client.world.publish(&Pickup { order }).await;
}

/// The gaps of the system, if enough lifetimes are run.
const GAPS: [&str; 5] = [
    "handler parcels.cancelled",
    "schedule parcels.sweep",
    "call parcels.ask retried",
    "call parcels.ask gave_up",
    "saga delivery parcels.pickup.v1 in not_started",
];

/// The names of the gaps, without those of faults, which a few lifetimes cannot all exercise.
fn gaps(report: &Report) -> Vec<&str> {
    let names = report.gaps.iter().map(|gap| gap.name.as_str());
    names.filter(|name| !name.starts_with("fault ")).collect()
}

/// Runs `work`, which panics, and returns the message.
fn panic_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("a panic");
    *panic.downcast::<String>().expect("a message")
}

#[test]
fn parts_that_no_lifetime_exercises_are_gaps() {
    let report = Simulator::new().run::<Parcels<3>>(1..30);
    assert_eq!(gaps(&report), GAPS);
    let message = panic_of(|| report.assert_held());
    assert!(message.contains("handler parcels.cancelled: "), "{message}");
}

#[test]
fn a_fault_that_never_took_effect_is_a_gap_if_the_system_can_meet_it() {
    let report = Simulator::new().run::<Parcels<3>>(1..2);
    let faults = report
        .gaps
        .iter()
        .filter_map(|gap| gap.name.strip_prefix("fault "));
    let faults: Vec<_> = faults.collect();
    assert!(faults.len() > 3, "{faults:?}");
    // No service uses the cache, no client sends requests, and the executor uses no HTTP.
    let impossible = ["cache_lost", "cache_outage", "answer_lost", "outside_fails"];
    assert!(
        !faults.iter().any(|it| impossible.contains(it)),
        "{faults:?}"
    );
}

#[test]
fn a_timer_that_comes_due_only_after_the_faults_is_a_gap() {
    let name = "timer delivery parcels.collect.v1";
    let detail = |report: Report| {
        let mut gaps = report.gaps.into_iter().filter(|gap| gap.name == name);
        gaps.next().map(|gap| gap.detail).unwrap_or_default()
    };
    let after_the_faults = detail(Simulator::new().run::<Parcels<600>>(1..4));
    assert!(
        after_the_faults.contains("only after the clients and faults"),
        "{after_the_faults}"
    );
    // The simulation does not wait for what is due later than in an hour.
    let never = detail(Simulator::new().run::<Parcels<7_200>>(1..4));
    assert!(never.contains("never came due"), "{never}");
}

#[test]
fn accepted_gaps_pass_and_an_accepted_gap_that_does_not_exist_fails() {
    let unreachable = |states| Unreachable {
        saga: "delivery",
        states,
        inputs: &["parcels.pickup.v1"],
        why: "the carrier collects what was ordered",
    };
    let accepted = GAPS[..4]
        .iter()
        .fold(Simulator::new(), |it, gap| it.accept_gap(*gap));
    let accepted = accepted.accept_unreachable([unreachable(&["not_started"])]);
    accepted.run::<Parcels<3>>(1..100).assert_held();

    let report = Simulator::new()
        .accept_gap("handler parcels.delivered")
        .accept_unreachable([unreachable(&["running"])])
        .run::<Parcels<3>>(1..4);
    assert_eq!(
        report.unmatched,
        [
            "handler parcels.delivered",
            "saga delivery parcels.pickup.v1 in running"
        ]
    );
    let accepted = report.gaps.iter().map(|gap| gap.name.clone());
    let accepted = accepted.fold(Simulator::new(), Simulator::accept_gap);
    let report = accepted
        .accept_gap("handler parcels.delivered")
        .run::<Parcels<3>>(1..4);
    assert_eq!(report.gaps, []);
    let message = panic_of(|| report.assert_held());
    assert!(message.contains("there is no such gap"), "{message}");
}

/// A system of one service.
trait Wiring: Send + Sync + 'static {
    fn service() -> Service;
}

struct Wired<W>(std::marker::PhantomData<W>);

impl<W: Wiring> System for Wired<W> {
    fn new(_: &World) -> Self {
        Self(std::marker::PhantomData)
    }

    fn processes(&self) -> Vec<Process> {
        vec![Process::new("parcels", |_| {
            App::new().service(W::service())
        })]
    }

    fn clients(&self, _: &World) -> Vec<BoxFuture<'static, ()>> {
        Vec::new()
    }

    async fn when_idle(&self, _: &World) -> Vec<Violation> {
        Vec::new()
    }
}

/// A service that calls an outside system without a target.
struct NoTarget;

impl Wiring for NoTarget {
    fn service() -> Service {
        Service::new("parcels").calls(ask)
    }
}

/// A service that sends a command which no service handles.
struct NoQueue;

async fn collect(ordered: Ordered) -> Result<Option<Collect>> {
    let order = ordered.order;
    Ok(Some(Collect { order }))
}

impl Wiring for NoQueue {
    fn service() -> Service {
        Service::new("parcels").on(collect)
    }
}

/// Runs lifetimes of the system; returns the panic and the number of lifetimes.
fn start<W: Wiring>() -> (String, u64) {
    let lifetimes = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&lifetimes);
    let simulator = Simulator::new().progress(move |done| count.store(done, Ordering::SeqCst));
    let message = panic_of(|| drop(simulator.run::<Wired<W>>(1..4)));
    (message, lifetimes.load(Ordering::SeqCst))
}

#[test]
fn a_call_without_a_target_ends_the_simulation_before_the_first_lifetime() {
    let (message, lifetimes) = start::<NoTarget>();
    assert!(
        message.contains("parcels.ask has no target `carrier`"),
        "{message}"
    );
    assert!(
        message.contains("[wiring: docs/errors/wiring.md]"),
        "{message}"
    );
    assert_eq!(lifetimes, 0);
    let why = Simulator::check::<Wired<NoTarget>>(1).expect_err("a finding");
    assert_eq!(why.code(), "wiring");
}

#[test]
fn a_command_without_a_handler_ends_the_simulation_before_the_first_lifetime() {
    let (message, lifetimes) = start::<NoQueue>();
    assert!(
        message.contains("parcels sends parcels.collect.v1"),
        "{message}"
    );
    assert_eq!(lifetimes, 0);
}

/// A system whose client asks a service that does not exist.
struct Misdirected;

impl System for Misdirected {
    fn new(_: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        vec![Process::new("parcels", |_| {
            App::new().service(parcels::<3>())
        })]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let client = Client::new(world, 1);
        let ask = wingbeat::test::simulator::Ask::get("parcel", "/parcels");
        vec![Box::pin(async move { drop(client.ask(ask).await) })]
    }

    async fn when_idle(&self, _: &World) -> Vec<Violation> {
        Vec::new()
    }
}

#[test]
fn a_client_that_asks_an_unknown_process_violates_an_invariant() {
    let report = Simulator::new()
        .without_minimization()
        .run::<Misdirected>(1..2);
    let violation = &report.failures[0].violation;
    assert_eq!(violation.invariant, "nothing panics");
    assert!(
        violation.detail.contains("no process `parcel`"),
        "{violation:?}"
    );
}
