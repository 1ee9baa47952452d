//! The conformance suites of the ports, for the tests of adapters (feature `conformance`).
//!
//! - [`store`], [`transport`], [`cache`], [`bodies`]: the suites.
//! - [`Fixture`]: the adapter under test, for stores and transports. The cache and the store of
//!   bodies have their own, [`cache::Fixture`] and [`bodies::Fixture`].
//! - [`Bench`]: the steps that the tests of stores and transports consist of.
//! - [`RealTime`]: the real clock, for adapters to real servers.
//!
//! A suite is a list of async functions, one per promise of the port. A macro turns each into a
//! `#[test]`. The adapter brings a [`Fixture`], which opens the adapter on fresh data, and a
//! runner, which drives the future. So the same tests run on tokio with real servers, and on the
//! seeded executor with the in-memory model:
//!
//! ```
//! # use std::sync::Arc;
//! # use futures_util::future::BoxFuture;
//! # use wingbeat_core::conformance::{Fixture, Opened};
//! # use wingbeat_core::runtime::SharedRuntime;
//! # struct MyFixture;
//! # impl MyFixture {
//! #     fn new() -> Self { Self }
//! # }
//! # impl Fixture for MyFixture {
//! #     fn open(&self) -> BoxFuture<'_, Opened> { unreachable!("the example only compiles") }
//! #     fn runtime(&self) -> SharedRuntime { unreachable!("the example only compiles") }
//! # }
//! # fn tokio_runtime() -> tokio::runtime::Runtime { unreachable!("the example only compiles") }
//! # fn main() {}
//! use wingbeat_core::conformance::Test;
//!
//! fn run(test: Test) {
//!     tokio_runtime().block_on(test(Arc::new(MyFixture::new())));
//! }
//! mod store {
//!     wingbeat_core::store_conformance!(super::run);
//! }
//! mod transport {
//!     wingbeat_core::transport_conformance!(super::run);
//! }
//! ```
//!
//! A fixture opens a store and a transport together, since one adapter may be both. The author of
//! only one of them adds the other from the in-memory model (`wingbeat::test::Model`).
//! `docs/writing-an-adapter.md` is the guide.

pub mod allotments;
pub mod bodies;
pub mod cache;
pub mod store;
pub mod transport;

mod real_time;

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

pub use real_time::RealTime;

/// One test of the store or transport suite.
pub type Test = fn(Arc<dyn Fixture>) -> BoxFuture<'static, ()>;

/// The time limit for anything that must happen.
pub const SOON: Duration = Duration::from_secs(60);
/// The time to watch for anything that must not happen.
pub const A_WHILE: Duration = Duration::from_millis(150);
/// A lease that ends within a test, but not while a slow machine runs the lines before its end.
pub const LEASE: Duration = Duration::from_secs(4);

/// The first service of the tests.
pub const ORDERS: Name = Name::new("orders");
/// The second service.
pub const STOCK: Name = Name::new("stock");
/// The third service.
pub const MAIL: Name = Name::new("mail");
/// All services of the tests.
pub const SERVICES: [Name; 3] = [ORDERS, STOCK, MAIL];
/// The table of the tests.
pub const TABLE: Name = Name::new("things");

/// A command that is bound to [`RESERVING`].
pub const RESERVE: &str = "stock.reserve.v1";
/// A command without a queue.
pub const UNHEARD: &str = "stock.unheard.v1";
/// An event that is bound to [`STOCK_PLACED`] and [`MAIL_PLACED`].
pub const PLACED: &str = "orders.placed.v1";
/// An event without a queue.
pub const IGNORED: &str = "orders.ignored.v1";
/// An event that is bound to [`STOCK_MOVED`].
pub const MOVED: &str = "stock.moved.v1";
/// The ordered queue of [`MOVED`].
pub const STOCK_MOVED: Name = Name::new("stock.moved");
/// An ordered queue without bindings.
pub const PARTITION: Name = Name::new("stock.moved.p0");
/// The queue of [`RESERVE`].
pub const RESERVING: Name = Name::new("stock.reserving");
/// A queue of [`PLACED`].
pub const STOCK_PLACED: Name = Name::new("stock.placed");
/// The other queue of [`PLACED`].
pub const MAIL_PLACED: Name = Name::new("mail.placed");

/// The adapter under test, with data of its own. Each test has its own fixture.
pub trait Fixture: Send + Sync {
    /// Opens the adapter on the data of this fixture, which is empty at the first call. Before a
    /// test opens again, it drops everything from the call before; together this stands for a
    /// restart of the process.
    fn open(&self) -> BoxFuture<'_, Opened>;
    /// Returns the clock, timers and tasks of the test itself.
    fn runtime(&self) -> SharedRuntime;
    /// Changes a unit with one write into a unit that the store must refuse, for example with a
    /// value that it cannot represent. Returns `None` if the store accepts every unit.
    fn poison(&self, unit: Unit) -> Option<Unit> {
        drop(unit);
        None
    }
    /// Runs a query that returns one number on the tables of the service, over a connection of its
    /// own. Only stores with SQL implement it.
    fn number<'a>(&'a self, query: &'a str) -> BoxFuture<'a, i64> {
        panic!("the fixture of this store runs no SQL: {query:?}")
    }
}

/// An opened store and transport, which may be one adapter.
#[derive(Clone)]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The transport.
    pub transport: Arc<dyn Transport>,
}

/// Returns the queues of the tests.
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
    let partition = Queue {
        bindings: Vec::new(),
        ordered: true,
    };
    Topology {
        queues: [
            (RESERVING, reserve.into()),
            (STOCK_PLACED, event(PLACED).into()),
            (MAIL_PLACED, event(PLACED).into()),
            (STOCK_MOVED, moved),
            (PARTITION, partition),
        ]
        .into(),
    }
}

/// An opened fixture, with the steps that tests consist of.
#[derive(Clone)]
pub struct Bench {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The transport.
    pub transport: Arc<dyn Transport>,
    /// The clock, timers and tasks of the test.
    pub runtime: SharedRuntime,
}

impl Bench {
    /// Opens the fixture, prepares the store and declares the queues.
    pub async fn open(fixture: &Arc<dyn Fixture>) -> Self {
        let Opened { store, transport } = fixture.open().await;
        store
            .prepare(&SERVICES, &topology())
            .await
            .expect("the store can be prepared");
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

    /// Drops the adapter and opens it again on the same data, as a restart of the process does.
    pub async fn reopen(self, fixture: &Arc<dyn Fixture>) -> Self {
        drop(self);
        Self::open(fixture).await
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    /// Creates an empty unit of [`ORDERS`].
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit::new(self.runtime.id().into(), ORDERS, self.now())
    }

    /// Creates a message of a type. [`RESERVE`] and [`UNHEARD`] are commands, all others events.
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
            propagation: Default::default(),
            signature: None,
            dialog: None,
            body: Bytes::from_static(b"{}"),
        }
    }

    /// Creates several messages of a type.
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

    /// Commits units as one batch, and submits them again until the store reports outcomes.
    pub async fn commit_all(&self, units: Vec<Unit>) -> Vec<Outcome> {
        let units = Arc::new(units);
        for _ in 0..1000 {
            match self.within(self.store.commit(Arc::clone(&units))).await {
                Ok(outcomes) => {
                    assert_eq!(outcomes.len(), units.len(), "one outcome per unit");
                    return outcomes;
                }
                Err(_) => self.runtime.sleep(Duration::from_millis(5)).await,
            }
        }
        panic!("the store reported no outcomes in 1000 submissions");
    }

    /// Loads a record of [`ORDERS`].
    pub async fn load(&self, id: &str) -> Option<Record> {
        self.store
            .load(ORDERS, &key(id))
            .await
            .expect("the store can be read")
    }

    /// Publishes the messages in the outbox until it is empty, as the relay does. A store that is
    /// its own broker has no outbox.
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
        panic!("the outbox is not empty after 1000 batches");
    }

    /// Publishes messages, all of which must be confirmed.
    pub async fn publish(&self, messages: Vec<Envelope>) {
        for answer in self.within(self.transport.publish(messages)).await {
            assert_eq!(answer, Ok(()), "a routable message is confirmed");
        }
    }

    /// Starts a consumer of a queue.
    pub async fn consume(&self, queue: Name, prefetch: usize) -> Box<dyn Consumer> {
        self.within(self.transport.consume(queue, prefetch))
            .await
            .expect("the queue can be consumed")
    }

    /// Receives exactly `count` deliveries; fails the test if more arrive with the last ones.
    pub async fn take(&self, consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let deliveries = self
                .within(consumer.next())
                .await
                .expect("the consumer is open");
            assert!(
                !deliveries.is_empty(),
                "`next` returns at least one delivery"
            );
            taken.extend(deliveries);
        }
        assert_eq!(taken.len(), count, "no further deliveries");
        taken
    }

    /// Fails the test if the consumer receives a delivery within [`A_WHILE`].
    pub async fn assert_quiet(&self, consumer: &mut Box<dyn Consumer>) {
        if let Some(Ok(deliveries)) = self.runtime.timeout(A_WHILE, consumer.next()).await {
            panic!(
                "no delivery is expected, but {} arrived: {deliveries:?}",
                deliveries.len()
            );
        }
    }

    /// Settles deliveries as the runtime does: commits a unit for each, then acknowledges them.
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

    /// Creates a unit that settles a delivery and has no other effect.
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
            settles: vec![settles],
            service,
            ..self.unit()
        }
    }

    /// Waits until the queue has this depth; fails the test if it never does.
    pub async fn assert_depth(&self, queue: Name, depth: u64) {
        let mut seen = None;
        for _ in 0..2_000 {
            let found = self
                .within(self.transport.depth(queue))
                .await
                .expect("the depth can be read");
            if found == depth {
                return;
            }
            seen = Some(found);
            self.runtime.sleep(Duration::from_millis(10)).await;
        }
        panic!("the depth of {queue} is {seen:?} and does not become {depth}");
    }

    /// Waits for `future`; fails the test after [`SOON`].
    pub async fn within<T>(&self, future: impl Future<Output = T> + Send) -> T {
        self.runtime
            .timeout(SOON, future)
            .await
            .expect("it completes within a minute")
    }
}

/// Returns the message of a delivery.
#[must_use]
pub fn envelope(delivery: &Delivery) -> &Envelope {
    delivery
        .envelope
        .as_ref()
        .expect("the delivery is a message")
}

/// Returns the ids of messages, sorted.
#[must_use]
pub fn ids<'a>(messages: impl IntoIterator<Item = &'a Envelope>) -> Vec<MessageId> {
    let mut ids: Vec<_> = messages.into_iter().map(|message| message.id).collect();
    ids.sort_unstable();
    ids
}

/// Returns the ids of delivered messages, sorted.
#[must_use]
pub fn delivered(deliveries: &[Delivery]) -> Vec<MessageId> {
    ids(deliveries.iter().map(envelope))
}

/// Returns a key in [`TABLE`].
#[must_use]
pub fn key(id: &str) -> Key {
    Key::new(TABLE, id)
}

/// Returns a write of a text to [`TABLE`].
#[must_use]
pub fn put(id: &str, body: &'static str) -> Write {
    Write {
        key: key(id),
        body: Some(Bytes::from_static(body.as_bytes())),
        due_at: None,
        expires_at: None,
    }
}

/// Returns a read of [`TABLE`].
#[must_use]
pub fn read(id: &str, version: u64) -> Read {
    Read {
        key: key(id),
        version,
    }
}

/// Turns each named function into a `#[test]` that passes it to the runner.
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
