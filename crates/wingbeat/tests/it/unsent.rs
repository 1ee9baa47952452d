//! Messages that the broker does not accept are retried after a pause, and do not delay others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::ports::{Envelope, MessageId, Transport};
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Outages, Simulation};
use wingbeat::transport::Refused;
use wingbeat::{
    App, BoxFuture, Command, Effects, Entity, Event, JsonSchema, Message as _, Now, Result,
    Running, Service, Table, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "clock.ticked", version = 1, key = at)]
struct Ticked {
    at: String,
}

/// A command without a subscription.
#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "attic.store", version = 1, key = at)]
struct Store {
    at: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Count {
    ticks: u64,
}

impl Entity for Count {
    const NAME: &'static str = "count";
    type Id = String;
}

async fn tick(Now(now): Now) -> Result<Effects> {
    let at = now.to_string();
    let mut effects = Effects::new();
    if now.as_micros() / 1_000_000 % 100 == 0 {
        effects.send(&Store { at: at.clone() });
    }
    effects.publish(&Ticked { at });
    Ok(effects)
}

async fn count(_: Ticked, counts: Table<Count>) -> Result<()> {
    let all = "all".to_owned();
    let counted = counts.update(&all, |known| Count {
        ticks: known.unwrap_or_default().ticks + 1,
    });
    counted.await.map(drop)
}

/// A transport that counts what is published through it.
struct Counting {
    inner: Arc<dyn Transport>,
    published: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Transport for Counting {
    forward_transport!(ping, declare, consume, depth);

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        let mut published = self.published.lock().expect("nobody panics with it");
        for message in &messages {
            *published.entry(message.kind.to_string()).or_default() += 1;
        }
        drop(published);
        self.inner.publish(messages)
    }
}

struct Clock {
    world: Simulation,
    model: Model,
    running: Running,
    published: Arc<Mutex<BTreeMap<String, u64>>>,
    _process: Arc<Group>,
}

impl Clock {
    fn start() -> Self {
        let world = Simulation::new(7);
        let model = Model::new(world.runtime());
        let process = world.group();
        let published = Arc::<Mutex<BTreeMap<String, u64>>>::default();
        let ports = model.ports(&process, Arc::new(crate::ordered::Nobody));
        let transport = Counting {
            inner: ports.transport,
            published: Arc::clone(&published),
        };
        let ports = Ports {
            transport: Arc::new(transport),
            ..ports
        };
        let clock = Service::new("clock").every("tick", Duration::from_secs(1), tick);
        let app = App::new().service(clock.on(count));
        let running = world
            .run(app.allow_unknown_owners().start(ports))
            .expect("it starts");
        Self {
            world,
            model,
            running,
            published,
            _process: process,
        }
    }

    fn counted(&self) -> u64 {
        let reads = self.running.reads("clock").expect("it runs");
        let all = self.world.run(async {
            let all = reads.entity::<Count>(&"all".to_owned()).await;
            all.expect("it reads")
        });
        all.unwrap_or_default().ticks
    }

    fn published(&self, kind: &str) -> u64 {
        let published = self.published.lock().expect("nobody panics with it");
        published.get(kind).copied().unwrap_or_default()
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.world.end();
    }
}

#[test]
fn unconfirmed_messages_are_published_soon_after_an_outage() {
    let clock = Clock::start();
    clock.world.advance(Duration::from_secs(10));
    clock.model.set_outages(Outages {
        broker: true,
        ..Outages::default()
    });
    clock.world.advance(Duration::from_secs(20));
    let before = clock.counted();
    assert!(before <= 11, "nothing arrives during the outage: {before}");
    clock.model.set_outages(Outages::default());
    clock.world.advance(Duration::from_secs(10));
    assert!(clock.counted() >= 38, "{} of 40 arrived", clock.counted());
    let published = clock.published(Ticked::NAME);
    assert!(published < 400, "no spinning: {published} attempts");
}

#[test]
fn unroutable_messages_are_retried_with_growing_pauses() {
    let clock = Clock::start();
    clock.world.advance(Duration::from_secs(1_000));
    assert!(clock.counted() >= 995, "{} of 1000", clock.counted());
    let listed = clock.world.run(clock.running.unroutable());
    let listed = listed.expect("the store reads");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].kind, Store::NAME);
    assert!(listed[0].waiting >= 9, "{listed:?}");
    let (published, messages) = (clock.published(Store::NAME), listed[0].waiting);
    // One attempt after each pause: at most 1000 s / 30 s, and a few before the pause has grown.
    assert!(
        published <= messages * 45,
        "{published} attempts at {messages}"
    );
    assert!(
        published >= messages * 5,
        "{published} attempts at {messages}"
    );
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.shown", version = 1, key = meter)]
struct Shown {
    meter: String,
    at: i64,
}

async fn show(Now(now): Now) -> Result<Effects> {
    let mut effects = Effects::new();
    for meter in ["a", "b"] {
        effects.publish(&Shown {
            meter: meter.into(),
            at: now.as_micros(),
        });
    }
    Ok(effects)
}

/// A broker that rejects the first message of the meter `a`, as long as it is full.
struct Full {
    inner: Arc<dyn Transport>,
    full: Arc<AtomicBool>,
    rejected: Mutex<Option<MessageId>>,
    /// The messages that the broker has accepted, in its order.
    accepted: Arc<Mutex<Vec<Shown>>>,
}

impl Transport for Full {
    forward_transport!(ping, declare, consume, depth);

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            let mut answers = self.inner.publish(messages.clone()).await;
            for (message, answer) in messages.iter().zip(&mut answers) {
                let mut rejected = self.rejected.lock().expect("nobody panics with it");
                let is_first =
                    message.key == "a" && *rejected.get_or_insert(message.id) == message.id;
                if is_first && self.full.load(Ordering::SeqCst) {
                    *answer = Err(Refused::Unconfirmed("the queue is full".into()));
                }
                if answer.is_ok() {
                    let shown = serde_json::from_slice(&message.body).expect("it is JSON");
                    let mut accepted = self.accepted.lock().expect("nobody panics with it");
                    accepted.push(shown);
                }
            }
            answers
        })
    }
}

/// Two meters that are shown once a second.
struct Meters {
    world: Simulation,
    model: Model,
    full: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<Shown>>>,
    _running: Running,
    _process: Arc<Group>,
}

impl Meters {
    fn start(full: bool) -> Self {
        let world = Simulation::new(7);
        let model = Model::new(world.runtime());
        let process = world.group();
        let ports = model.ports(&process, Arc::new(crate::ordered::Nobody));
        let full = Arc::new(AtomicBool::new(full));
        let accepted = Arc::<Mutex<Vec<Shown>>>::default();
        let transport = Full {
            inner: ports.transport,
            full: Arc::clone(&full),
            rejected: Mutex::default(),
            accepted: Arc::clone(&accepted),
        };
        let ports = Ports {
            transport: Arc::new(transport),
            ..ports
        };
        let meters = Service::new("meters").every("show", Duration::from_secs(1), show);
        let started = App::new().service(meters).start(ports);
        let running = world.run(started).expect("it starts");
        Self {
            world,
            model,
            full,
            accepted,
            _running: running,
            _process: process,
        }
    }

    /// Returns the times of the accepted messages of a meter, in the order of the broker.
    fn accepted(&self, meter: &str) -> Vec<i64> {
        let accepted = self.accepted.lock().expect("nobody panics with it");
        let of_meter = accepted.iter().filter(|it| it.meter == meter);
        of_meter.map(|it| it.at).collect()
    }

    /// Checks that all messages of a meter were accepted in their order.
    fn assert_in_order(&self, meter: &str, least: usize) {
        let accepted = self.accepted(meter);
        assert!(accepted.is_sorted(), "{meter}: {accepted:?}");
        assert!(accepted.len() >= least, "{meter}: {}", accepted.len());
        let last = accepted.last().expect("there are some");
        let age = self.world.runtime().now().as_micros() - last;
        assert!(age <= 2_000_000, "{meter}: the last one is {age} µs old");
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.world.end();
    }
}

#[test]
fn a_rejected_message_holds_back_only_later_messages_of_its_key() {
    let meters = Meters::start(true);
    meters.world.advance(Duration::from_secs(30));
    assert_eq!(meters.accepted("a"), [0; 0], "they wait for the first one");
    meters.assert_in_order("b", 28);
    meters.full.store(false, Ordering::SeqCst);
    meters.world.advance(Duration::from_secs(30));
    meters.assert_in_order("a", 57);
    meters.assert_in_order("b", 57);
}

#[test]
fn messages_keep_their_order_over_an_outage_of_the_broker() {
    let meters = Meters::start(false);
    for seconds in [3, 20, 60] {
        meters.model.set_outages(Outages {
            broker: true,
            ..Outages::default()
        });
        meters.world.advance(Duration::from_secs(seconds));
        meters.model.set_outages(Outages::default());
        meters.world.advance(Duration::from_secs(30));
    }
    meters.assert_in_order("a", 165);
    meters.assert_in_order("b", 165);
}
