//! Continuous traffic, during which a test disturbs the broker.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wingbeat::TokioRuntime;
use wingbeat::test::model::Model;
use wingbeat_core::conformance::{Bench, RESERVE, RESERVING, topology};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Envelope, MessageId, RuntimeExt as _, Transport as _};
use wingbeat_rabbitmq::{Config, RabbitMq};
use wingbeat_servers::RabbitMq as Server;

use crate::conformance::{block_on, open_with};

/// The time limit for recovery, for a slow machine.
fn recovery_limit() -> Duration {
    #[cfg(feature = "sabotage")]
    if crate::controls::is_control() {
        return Duration::from_secs(20);
    }
    Duration::from_secs(90)
}

/// The pause between two checks, and between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// The size of a batch, large enough that some messages are always unconfirmed.
const BATCH: usize = 20;

/// Runs a test that disturbs its broker. Such tests share a broker and run one after another. A
/// test that fails leaves none behind: the next one starts another broker.
pub(crate) fn disturb<F: Future<Output = ()>>(test: impl FnOnce(Arc<Server>) -> F) {
    static SERVER: Mutex<Option<Arc<Server>>> = Mutex::new(None);
    let mut turn = lock(&SERVER);
    let server = turn.take();
    let server = server.unwrap_or_else(|| Arc::new(Server::start()));
    block_on(test(Arc::clone(&server)));
    *turn = Some(server);
}

/// Creates a configuration with its own exchanges and queues.
pub(crate) fn config(server: &Server) -> Config {
    let mut config = Config::new(server.url());
    let runtime: SharedRuntime = TokioRuntime::new();
    config.namespace = format!("{}.", runtime.id().simple());
    config
}

/// Opens a transport, with the test bench of the conformance suite.
pub(crate) async fn bench(config: &Config) -> (Bench, Arc<RabbitMq>) {
    let runtime: SharedRuntime = TokioRuntime::new();
    let transport = open_with(config, &runtime).await;
    transport.declare(&topology()).await.unwrap();
    let store = Model::new(Arc::clone(&runtime)).store;
    let of_bench = Arc::clone(&transport);
    let bench = Bench {
        store,
        transport: of_bench,
        runtime,
    };
    (bench, transport)
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < recovery_limit(), "timed out: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Publishes until the broker has confirmed all messages, as the relay does.
pub(crate) async fn publish(transport: &RabbitMq, mut messages: Vec<Envelope>) {
    while !messages.is_empty() {
        let answers = transport.publish(messages.clone()).await;
        let mut answers = answers.into_iter();
        messages.retain(|_| answers.next().unwrap().is_err());
        if !messages.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A publisher and a consumer that run until [`Traffic::end`].
pub(crate) struct Traffic {
    pub(crate) bench: Bench,
    pub(crate) transport: Arc<RabbitMq>,
    confirmed: Mutex<BTreeSet<MessageId>>,
    consumed: Mutex<BTreeSet<MessageId>>,
    ending: AtomicBool,
}

impl Traffic {
    /// Starts the publisher and the consumer.
    pub(crate) async fn start(config: &Config) -> Arc<Self> {
        let (bench, transport) = bench(config).await;
        let traffic = Arc::new(Self {
            bench,
            transport,
            confirmed: Mutex::default(),
            consumed: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        drop(tokio::spawn(Arc::clone(&traffic).publishing()));
        drop(tokio::spawn(Arc::clone(&traffic).consuming()));
        traffic.continues().await;
        traffic
    }

    async fn publishing(self: Arc<Self>) {
        while !self.ending.load(Ordering::SeqCst) {
            let messages = self.bench.messages(RESERVE, BATCH);
            let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
            publish(&self.transport, messages).await;
            lock(&self.confirmed).extend(ids);
        }
    }

    async fn consuming(self: Arc<Self>) {
        loop {
            let Ok(mut consumer) = self.transport.consume(RESERVING, 64).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Ok(deliveries) = consumer.next().await {
                let messages = deliveries.iter().map(|it| it.envelope.as_ref().unwrap().id);
                lock(&self.consumed).extend(messages);
                let tags: Vec<_> = deliveries.iter().map(|delivery| delivery.tag).collect();
                consumer.settler().acknowledge(&tags);
            }
        }
    }

    /// Waits until many more messages were published and consumed.
    pub(crate) async fn continues(&self) {
        let counts = || (lock(&self.confirmed).len(), lock(&self.consumed).len());
        let (confirmed, consumed) = counts();
        let more = async || {
            let now = counts();
            now.0 >= confirmed + 10 * BATCH && now.1 >= consumed + 10 * BATCH
        };
        until("more messages are published and consumed", more).await;
    }

    /// Stops the publisher, and waits until every confirmed message was consumed.
    pub(crate) async fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        let all = async || lock(&self.confirmed).is_subset(&lock(&self.consumed));
        until("every confirmed message is consumed", all).await;
        self.transport.ping().await.unwrap();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
