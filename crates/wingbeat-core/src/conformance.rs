//! What the conformance suites share: the fixture an adapter brings, and words to write tests with.
//!
//! A suite is a list of async functions named as sentences. An adapter instantiates all of them with
//! one macro and brings the runner, so the same functions run on tokio against real servers and on the
//! seeded executor against the model:
//!
//! ```ignore
//! fn run(test: Test) {
//!     tokio_runtime().block_on(test(Arc::new(SqliteFixture::new())));
//! }
//! mod store { wingbeat_core::store_conformance!(super::run); }
//! mod transport { wingbeat_core::transport_conformance!(super::run); }
//! ```
//!
//! Store and transport come as a pair, since a fused adapter is both at once. The author of only one of
//! them pairs it with the model of the other (`wingbeat-test`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::runtime::SharedRuntime;
use crate::transport::{Binding, Queue};
use crate::unit::{Outcome, Read, Settled, Write};
use crate::{
    Consumer, Delivery, Envelope, Key, Kind, MessageId, Name, Record, RuntimeExt as _, Store,
    Timestamp, Topology, Transport, Unit,
};

/// One test of the store or transport suite.
pub type Test = fn(Arc<dyn Fixture>) -> BoxFuture<'static, ()>;

/// Longest wait for what must happen.
pub const SOON: Duration = Duration::from_secs(60);
/// How long to watch for what must not happen.
pub const A_WHILE: Duration = Duration::from_millis(150);
/// A lease that a test can outlive, and not by accident.
pub const LEASE: Duration = Duration::from_secs(4);

/// The first service of the tests.
pub const ORDERS: Name = Name::new("orders");
/// The second.
pub const STOCK: Name = Name::new("stock");
/// The third.
pub const MAIL: Name = Name::new("mail");
/// All of them.
pub const SERVICES: [Name; 3] = [ORDERS, STOCK, MAIL];
/// A table.
pub const TABLE: Name = Name::new("things");

/// A command that [`RESERVING`] takes.
pub const RESERVE: &str = "stock.reserve.v1";
/// A command that nobody takes.
pub const UNHEARD: &str = "stock.unheard.v1";
/// An event that [`STOCK_PLACED`] and [`MAIL_PLACED`] take.
pub const PLACED: &str = "orders.placed.v1";
/// An event that nobody takes.
pub const IGNORED: &str = "orders.ignored.v1";
/// An event that [`STOCK_MOVED`] takes.
pub const MOVED: &str = "stock.moved.v1";
/// The ordered queue of [`MOVED`].
pub const STOCK_MOVED: Name = Name::new("stock.moved");
/// The queue of [`RESERVE`].
pub const RESERVING: Name = Name::new("stock.reserving");
/// A queue of [`PLACED`].
pub const STOCK_PLACED: Name = Name::new("stock.placed");
/// The other queue of [`PLACED`].
pub const MAIL_PLACED: Name = Name::new("mail.placed");

/// What an adapter brings to be tested. One fixture serves one test.
pub trait Fixture: Send + Sync {
    /// Opens the fixture's data: empty the first time, as it was left later. Before opening again, the
    /// test drops all it was given, which stands for the end of the process.
    fn open(&self) -> BoxFuture<'_, Opened>;
    /// Time and chance for the test itself.
    fn runtime(&self) -> SharedRuntime;
    /// Makes a unit one that the store cannot take at all; `None` if every unit can be taken.
    fn poison(&self, unit: Unit) -> Option<Unit> {
        drop(unit);
        None
    }
    /// The number that a query on tables of the service's own returns, for stores that have SQL.
    fn number<'a>(&'a self, query: &'a str) -> BoxFuture<'a, i64> {
        panic!("this store has no SQL to run {query:?}")
    }
}

/// A store and a transport; in a fused adapter, one thing.
#[derive(Clone)]
pub struct Opened {
    /// Where units are committed.
    pub store: Arc<dyn Store>,
    /// Where messages travel.
    pub transport: Arc<dyn Transport>,
}

/// The queues of the tests.
#[must_use]
pub fn topology() -> Topology {
    let reserve = vec![Binding {
        message: RESERVE,
        kind: Kind::Command,
    }];
    let event = |message| {
        vec![Binding {
            message,
            kind: Kind::Event,
        }]
    };
    let moved = Queue {
        bindings: event(MOVED),
        ordered: true,
    };
    Topology {
        queues: [
            (RESERVING, reserve.into()),
            (STOCK_PLACED, event(PLACED).into()),
            (MAIL_PLACED, event(PLACED).into()),
            (STOCK_MOVED, moved),
        ]
        .into(),
    }
}

/// A fixture that was opened, and the words of the tests.
#[derive(Clone)]
pub struct Bench {
    /// Under test.
    pub store: Arc<dyn Store>,
    /// Under test.
    pub transport: Arc<dyn Transport>,
    /// Time and chance.
    pub runtime: SharedRuntime,
}

impl Bench {
    /// Opens the fixture and makes services and queues ready.
    pub async fn open(fixture: &Arc<dyn Fixture>) -> Self {
        let Opened { store, transport } = fixture.open().await;
        store
            .prepare(&SERVICES, &topology())
            .await
            .expect("the store gets ready");
        transport
            .declare(&topology())
            .await
            .expect("the queues can be declared");
        Self {
            store,
            transport,
            runtime: fixture.runtime(),
        }
    }

    /// Ends the "process" and starts another one on the same data.
    pub async fn reopen(self, fixture: &Arc<dyn Fixture>) -> Self {
        drop(self);
        Self::open(fixture).await
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    /// An empty unit of [`ORDERS`].
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit::new(self.runtime.id().into(), ORDERS, self.now())
    }

    /// A message of the kind; commands and events are told apart by the tests' topology.
    #[must_use]
    pub fn message(&self, kind: &'static str) -> Envelope {
        let id = self.runtime.id();
        let role = if kind == RESERVE || kind == UNHEARD {
            Kind::Command
        } else {
            Kind::Event
        };
        Envelope {
            id: id.into(),
            source: ORDERS.as_str().into(),
            kind: kind.into(),
            role,
            key: id.to_string(),
            time: self.now(),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            body: Bytes::from_static(b"{}"),
        }
    }

    /// Several messages of the kind.
    #[must_use]
    pub fn messages(&self, kind: &'static str, count: usize) -> Vec<Envelope> {
        (0..count).map(|_| self.message(kind)).collect()
    }

    /// The settlement of a delivery that came from no queue, of a new message to [`RESERVING`].
    #[must_use]
    pub fn settlement(&self) -> Settled {
        let message = self.runtime.id().into();
        Settled {
            queue: RESERVING,
            source: ORDERS.to_string(),
            message,
            tag: None,
        }
    }

    /// Commits one unit.
    pub async fn commit(&self, unit: Unit) -> Outcome {
        self.commit_all(vec![unit]).await[0]
    }

    /// Commits units as one batch, again until the store answers.
    pub async fn commit_all(&self, units: Vec<Unit>) -> Vec<Outcome> {
        let units = Arc::new(units);
        for _ in 0..1000 {
            match self.within(self.store.commit(Arc::clone(&units))).await {
                Ok(outcomes) => {
                    assert_eq!(outcomes.len(), units.len(), "one outcome a unit");
                    return outcomes;
                }
                Err(_) => self.runtime.sleep(Duration::from_millis(5)).await,
            }
        }
        panic!("the store did not answer a commit in 1000 submissions");
    }

    /// Loads a record of [`ORDERS`].
    pub async fn load(&self, id: &str) -> Option<Record> {
        self.store
            .load(ORDERS, &key(id))
            .await
            .expect("the store answers")
    }

    /// What waits in the outbox is published, until it is empty; nothing to do for a fused store.
    pub async fn relay(&self) {
        let Some(outbox) = self.store.outbox() else {
            return;
        };
        for _ in 0..1000 {
            let messages = outbox
                .claim(&SERVICES, self.now(), LEASE, 64)
                .await
                .expect("the outbox answers");
            if messages.is_empty() {
                return;
            }
            let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
            let answers = self.within(self.transport.publish(messages)).await;
            let confirmed = ids
                .into_iter()
                .zip(answers)
                .filter(|(_, answer)| answer.is_ok());
            outbox
                .confirmed(confirmed.map(|(id, _)| id).collect())
                .await
                .expect("the outbox answers");
        }
        panic!("the outbox does not run empty");
    }

    /// Publishes messages that must be confirmed.
    pub async fn publish(&self, messages: Vec<Envelope>) {
        for answer in self.within(self.transport.publish(messages)).await {
            assert_eq!(answer, Ok(()), "a routable message is confirmed");
        }
    }

    /// Starts a consumer.
    pub async fn consume(&self, queue: Name, prefetch: usize) -> Box<dyn Consumer> {
        self.within(self.transport.consume(queue, prefetch))
            .await
            .expect("the queue can be consumed")
    }

    /// Takes deliveries until there are `count`; more than that fails the test.
    pub async fn take(&self, consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let deliveries = self
                .within(consumer.next())
                .await
                .expect("the consumer lives");
            assert!(
                !deliveries.is_empty(),
                "next waits for at least one delivery"
            );
            taken.extend(deliveries);
        }
        assert_eq!(taken.len(), count, "exactly these deliveries");
        taken
    }

    /// Watches a consumer for a while: nothing may come.
    pub async fn assert_quiet(&self, consumer: &mut Box<dyn Consumer>) {
        if let Some(Ok(deliveries)) = self.runtime.timeout(A_WHILE, consumer.next()).await {
            panic!(
                "nothing may come, but {} did: {deliveries:?}",
                deliveries.len()
            );
        }
    }

    /// Settles deliveries as the runtime does: the unit is committed, then the tags acknowledged.
    pub async fn settle(
        &self,
        queue: Name,
        consumer: &mut Box<dyn Consumer>,
        deliveries: &[Delivery],
    ) {
        let settler = consumer.settler();
        let settling = |delivery| self.settling(queue, delivery);
        self.commit_all(deliveries.iter().map(settling).collect())
            .await;
        let tags: Vec<_> = deliveries.iter().map(|delivery| delivery.tag).collect();
        settler.acknowledge(&tags);
    }

    /// A unit that settles a delivery and does nothing else.
    #[must_use]
    pub fn settling(&self, queue: Name, delivery: &Delivery) -> Unit {
        let message = envelope(delivery);
        let settles = Settled {
            queue,
            source: message.source.to_string(),
            message: message.id,
            tag: Some(delivery.tag),
        };
        let service = if queue == MAIL_PLACED { MAIL } else { STOCK };
        Unit {
            settles: Some(settles),
            service,
            ..self.unit()
        }
    }

    /// Waits until the queue has this depth.
    pub async fn assert_depth(&self, queue: Name, depth: u64) {
        let mut seen = None;
        for _ in 0..2_000 {
            let found = self
                .within(self.transport.depth(queue))
                .await
                .expect("the queue has a depth");
            if found == depth {
                return;
            }
            seen = Some(found);
            self.runtime.sleep(Duration::from_millis(10)).await;
        }
        panic!("the depth of {queue} stays {seen:?} and does not become {depth}");
    }

    /// Waits, but not for ever.
    pub async fn within<T>(&self, future: impl Future<Output = T> + Send) -> T {
        self.runtime
            .timeout(SOON, future)
            .await
            .expect("it does not take for ever")
    }
}

/// The message of a delivery.
#[must_use]
pub fn envelope(delivery: &Delivery) -> &Envelope {
    delivery
        .envelope
        .as_ref()
        .expect("what was published is a message")
}

/// The ids of messages, sorted.
#[must_use]
pub fn ids<'a>(messages: impl IntoIterator<Item = &'a Envelope>) -> Vec<MessageId> {
    let mut ids: Vec<_> = messages.into_iter().map(|message| message.id).collect();
    ids.sort_unstable();
    ids
}

/// The ids of delivered messages, sorted.
#[must_use]
pub fn delivered(deliveries: &[Delivery]) -> Vec<MessageId> {
    ids(deliveries.iter().map(envelope))
}

/// A key in [`TABLE`].
#[must_use]
pub fn key(id: &str) -> Key {
    Key::new(TABLE, id)
}

/// A write of a text to [`TABLE`].
#[must_use]
pub fn put(id: &str, body: &'static str) -> Write {
    Write {
        key: key(id),
        body: Some(Bytes::from_static(body.as_bytes())),
        due_at: None,
        expires_at: None,
    }
}

/// A read of [`TABLE`].
#[must_use]
pub fn read(id: &str, version: u64) -> Read {
    Read {
        key: key(id),
        version,
    }
}

/// Makes a `#[test]` of each function named, which hands it to the runner.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($run:path, $suite:path, [$($name:ident),* $(,)?]) => {
        $(
            #[test]
            fn $name() {
                use $suite as suite;
                $run(|fixture| ::std::boxed::Box::pin(suite::$name(fixture)));
            }
        )*
    };
}
