//! Messages that the broker does not accept are retried after a pause, and do not delay others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Outages, Simulation};
use wingbeat::transport::Refused;
use wingbeat::{
    App, BoxFuture, Command, Consumer, Effects, Entity, Envelope, Event, JsonSchema, Message as _,
    Name, Now, Result, Running, Service, Table, Topology, Transport, schemars,
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
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.ping()
    }

    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        self.inner.declare(topology)
    }

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

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        self.inner.consume(queue, prefetch)
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        self.inner.depth(queue)
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
