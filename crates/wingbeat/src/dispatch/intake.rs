//! The consumer of a queue, which is replaced when it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::transport::Settler;
use wingbeat_core::{Consumer, Delivery, Error, Result, Transport};

use super::work::{Stats, Subscription};
use crate::unit::ServiceContext;

/// The pause after a failed attempt to consume.
const RECONSUME: Duration = Duration::from_millis(200);
/// The lifetime from which a consumer counts as working.
const WORKING: Duration = Duration::from_secs(10);
/// The longest pause after consumers that were lost soon after their start.
const RECONSUME_MAX: Duration = Duration::from_secs(30);

/// The consumers that were lost, each soon after its start.
#[derive(Default)]
struct Losses {
    count: u32,
    started: Duration,
    /// The time before which no consumer is started.
    until: Duration,
}

impl Losses {
    /// Records that a consumer was lost. The first one is replaced at once; while consumers do not
    /// last, the pauses grow.
    fn lost(&mut self, now: Duration) {
        if now.saturating_sub(self.started) >= WORKING {
            self.count = 0;
        }
        let pause = match self.count {
            0 => Duration::ZERO,
            count => (RECONSUME * 2_u32.pow(count.min(16))).min(RECONSUME_MAX),
        };
        self.count += 1;
        self.until = now + pause;
    }
}

/// The consumer of a queue. It is made again when it is lost, without keeping the dispatcher from
/// its other work: a broker that is unavailable may take long to answer.
pub(super) struct Intake {
    service: Arc<ServiceContext>,
    subscription: Arc<Subscription>,
    transport: Arc<dyn Transport>,
    stats: Arc<Stats>,
    consumer: Option<Box<dyn Consumer>>,
    /// The largest number of unacknowledged deliveries.
    prefetch: usize,
    /// The next consumer, while the transport makes it.
    connecting: Option<BoxFuture<'static, Result<Box<dyn Consumer>>>>,
    /// Acknowledges deliveries of the last consumer.
    pub(super) settler: Option<Arc<dyn Settler>>,
    losses: Losses,
    /// Takes one delivery at a time: the subscription is probed.
    pub(super) probes: bool,
    /// The number of consumers so far.
    pub(super) consumers: u64,
}

impl Intake {
    pub(super) fn new(
        service: Arc<ServiceContext>,
        subscription: Arc<Subscription>,
        transport: Arc<dyn Transport>,
        stats: Arc<Stats>,
        prefetch: usize,
    ) -> Self {
        Self {
            prefetch,
            service,
            subscription,
            transport,
            stats,
            consumer: None,
            connecting: None,
            settler: None,
            losses: Losses::default(),
            probes: false,
            consumers: 0,
        }
    }

    /// Sets the prefetch. Returns whether the consumer was closed, because it has another one.
    pub(super) fn limit(&mut self, prefetch: usize) -> bool {
        let changes = self.prefetch != prefetch;
        self.prefetch = prefetch;
        changes && self.close()
    }

    /// Closes the consumer. Returns whether there was one.
    pub(super) fn close(&mut self) -> bool {
        self.connecting = None;
        self.consumer.take().is_some()
    }

    /// Returns whether there is a consumer.
    pub(super) fn is_open(&self) -> bool {
        self.consumer.is_some()
    }

    /// Returns the next deliveries, or the error with which the consumer was lost. Consumes first
    /// if there is no consumer. While the committer is `full`, it only consumes. The future can be
    /// dropped at any time.
    pub(super) async fn next(&mut self, full: bool) -> Result<Vec<Delivery>> {
        loop {
            let Some(consumer) = &mut self.consumer else {
                self.consume().await;
                continue;
            };
            if full {
                std::future::pending::<()>().await;
            }
            let delivered = consumer.next().await;
            if let Err(why) = &delivered {
                self.outage("consumer lost, consuming again", why);
                self.losses.lost(self.service.runtime.elapsed());
                self.consumer = None;
            }
            return delivered;
        }
    }

    /// Makes one attempt to consume, after the pause that lost consumers require.
    async fn consume(&mut self) {
        let runtime = &self.service.runtime;
        let pause = self.losses.until.saturating_sub(runtime.elapsed());
        if !pause.is_zero() {
            runtime.sleep(pause).await;
        }
        let connecting = self.connecting.get_or_insert_with(|| {
            let queue = self.subscription.queue;
            let prefetch = if self.probes { 1 } else { self.prefetch };
            let transport = Arc::clone(&self.transport);
            Box::pin(async move { transport.consume(queue, prefetch).await })
        });
        let consumed = connecting.await;
        self.connecting = None;
        let now = runtime.elapsed();
        match consumed {
            Ok(consumer) => {
                self.losses.started = now;
                self.consumers += 1;
                self.settler = Some(consumer.settler());
                self.consumer = Some(consumer);
            }
            Err(why) => {
                self.outage("cannot consume, trying again", &why);
                self.losses.until = now + RECONSUME;
            }
        }
    }

    /// Logs a failure of the transport.
    fn outage(&self, what: &str, why: &Error) {
        let now = self.service.runtime.elapsed();
        if let Some(suppressed) = self.stats.outages.admit(now) {
            let (queue, code) = (self.subscription.queue, why.code());
            tracing::warn!(%queue, code, suppressed, "{what}: {why}");
        }
    }
}
