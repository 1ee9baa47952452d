//! Messages that are published and consumed without a pause while a test makes trouble.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use wingbeat::TokioRuntime;
use wingbeat::test::model::Model;
use wingbeat_core::conformance::{Bench, RESERVE, RESERVING, topology};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Envelope, MessageId, RuntimeExt as _, Transport as _};
use wingbeat_rabbitmq::{Config, RabbitMq};
use wingbeat_servers::RabbitMq as Server;

use crate::conformance::{block_on, open_with};

/// Longest wait for anything to heal, on a slow machine.
fn patience() -> Duration {
    #[cfg(feature = "sabotage")]
    if crate::controls::lacks_something() {
        return Duration::from_secs(20);
    }
    Duration::from_secs(90)
}

/// Between two looks, and between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// Messages published at once, so that some are always on their way.
const BATCH: usize = 20;

/// Runs a test that makes trouble, on a broker that such tests have for themselves, one after the other.
pub(crate) fn disturb<F: Future<Output = ()>>(test: impl FnOnce(Arc<Server>) -> F) {
    static SERVER: OnceLock<Mutex<Arc<Server>>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Mutex::new(Arc::new(Server::start())));
    let server = server.lock().unwrap_or_else(PoisonError::into_inner);
    block_on(test(Arc::clone(&server)));
}

/// A configuration with exchanges and queues of its own.
pub(crate) fn config(server: &Server) -> Config {
    let mut config = Config::new(server.url());
    let runtime: SharedRuntime = TokioRuntime::new();
    config.namespace = format!("{}.", runtime.id().simple());
    config
}

/// A transport with the words of the contract tests.
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

/// Waits until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < patience(), "never: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Publishes until the broker has confirmed it, as the relay does.
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

/// See the module.
pub(crate) struct Traffic {
    pub(crate) bench: Bench,
    pub(crate) transport: Arc<RabbitMq>,
    confirmed: Mutex<BTreeSet<MessageId>>,
    consumed: Mutex<BTreeSet<MessageId>>,
    over: AtomicBool,
}

impl Traffic {
    /// Starts to publish and to consume.
    pub(crate) async fn start(config: &Config) -> Arc<Self> {
        let (bench, transport) = bench(config).await;
        let traffic = Arc::new(Self {
            bench,
            transport,
            confirmed: Mutex::default(),
            consumed: Mutex::default(),
            over: AtomicBool::new(false),
        });
        drop(tokio::spawn(Arc::clone(&traffic).publishing()));
        drop(tokio::spawn(Arc::clone(&traffic).consuming()));
        traffic.goes_on().await;
        traffic
    }

    async fn publishing(self: Arc<Self>) {
        while !self.over.load(Ordering::SeqCst) {
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

    /// Waits until much more was published and consumed.
    pub(crate) async fn goes_on(&self) {
        let counts = || (lock(&self.confirmed).len(), lock(&self.consumed).len());
        let (confirmed, consumed) = counts();
        let more = async || {
            let now = counts();
            now.0 >= confirmed + 10 * BATCH && now.1 >= consumed + 10 * BATCH
        };
        until("messages go on", more).await;
    }

    /// All that was confirmed arrives.
    pub(crate) async fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        let all = async || lock(&self.confirmed).is_subset(&lock(&self.consumed));
        until("all that was confirmed is consumed", all).await;
        self.transport.ping().await.unwrap();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
