//! Consumers: deliveries and their acknowledgements. Each consumer has its own channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::Settler;
use wingbeat_core::{Consumer, Delivery, Error, Result, Tag};

use crate::connection::{timed_out, unavailable};
use crate::topology::Names;
use crate::wire;

/// The number of delivery tags reserved for one consumer, so that tags are unique within the
/// process.
pub(crate) const TAGS_PER_CONSUMER: u64 = 1 << 40;

/// The largest number of bytes of unacknowledged bodies. A consumer that has more is opened again
/// with [`PREFETCH_OF_LARGE`].
const BYTES_MAX: usize = PREFETCH_OF_LARGE as usize * BODY_MAX;
/// The prefetch of a queue with large messages. RabbitMQ limits the number of deliveries only, not
/// their bytes.
const PREFETCH_OF_LARGE: u16 = 32;

/// A count of unacknowledged deliveries, including those that the client has buffered.
type InFlight = AtomicU64;

/// The state of a queue in this process, shared by its consumers.
#[derive(Debug, Default)]
pub(crate) struct QueueState {
    in_flight: InFlight,
    /// Set once a consumer had too many bytes in flight, until the process ends.
    large: AtomicBool,
}

impl QueueState {
    /// Returns the number of unacknowledged deliveries.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Subtracts the deliveries of a consumer that has ended: the broker requeues them.
    fn release(&self, own: &InFlight) {
        let left = own.swap(0, Ordering::SeqCst);
        self.in_flight.fetch_sub(left, Ordering::SeqCst);
    }
}

/// The parameters of a new consumer.
pub(crate) struct Options {
    pub(crate) queue: String,
    pub(crate) prefetch: usize,
    /// The difference between tags of the process and delivery tags of the channel.
    pub(crate) base: u64,
    pub(crate) names: Names,
    pub(crate) state: Arc<QueueState>,
    pub(crate) runtime: SharedRuntime,
}

/// A step in the life of a delivery, with the delivery tags of the channel.
enum Settlement {
    /// With the size of the body.
    Received(u64, usize),
    Acknowledge(Vec<u64>),
    Requeue(Vec<u64>),
}

/// A consumer. Dropping it closes its channel, and the broker redelivers unacknowledged messages.
pub(crate) struct RabbitConsumer {
    deliveries: mpsc::UnboundedReceiver<lapin::message::Delivery>,
    settling: mpsc::UnboundedSender<Settlement>,
    settler: JoinHandle<()>,
    /// Dropped with the consumer, upon which the pump closes the channel.
    _open: oneshot::Sender<()>,
    base: u64,
    names: Names,
    state: Arc<QueueState>,
    runtime: SharedRuntime,
    /// The deliveries in flight that belong to this consumer.
    own: Arc<InFlight>,
}

impl RabbitConsumer {
    /// Opens a consumer. If the caller drops the future, the consumer is opened all the same, and
    /// then closed: the broker may know it already, and would deliver messages to nobody.
    pub(crate) async fn open(connection: Arc<Connection>, options: Options) -> Result<Self> {
        let opening = tokio::spawn(Self::open_on(connection, options));
        opening.await.unwrap_or_else(|_| Err(timed_out())) // It panicked.
    }

    async fn open_on(connection: Arc<Connection>, options: Options) -> Result<Self> {
        let channel = connection
            .create_channel()
            .await
            .map_err(|e| unavailable(&e))?;
        let mut prefetch = u16::try_from(options.prefetch.max(1)).unwrap_or(u16::MAX);
        if options.state.large.load(Ordering::Relaxed) {
            prefetch = prefetch.min(PREFETCH_OF_LARGE);
        }
        let qos = channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await;
        qos.map_err(|e| unavailable(&e))?;
        let stream = channel
            .basic_consume(
                options.queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|e| unavailable(&e))?;
        // The prefetch bounds both queues: the broker delivers no more until something is settled.
        let (received, deliveries) = mpsc::unbounded_channel();
        let (settling, settlements) = mpsc::unbounded_channel();
        let (own, bytes) = (Arc::<InFlight>::default(), Arc::<AtomicUsize>::default());
        let (open, dropped) = oneshot::channel();
        let pump = Pump {
            channel: channel.clone(),
            received,
            settling: settling.clone(),
            state: Arc::clone(&options.state),
            own: Arc::clone(&own),
            bytes: Arc::clone(&bytes),
            prefetch,
        };
        drop(tokio::spawn(pump.run(stream, dropped)));
        let settler = tokio::spawn(settle(channel, settlements, bytes));
        Ok(Self {
            deliveries,
            settling,
            settler,
            _open: open,
            base: options.base,
            names: options.names,
            state: options.state,
            runtime: options.runtime,
            own,
        })
    }

    fn delivery(&self, delivery: &lapin::message::Delivery) -> Delivery {
        Delivery {
            tag: Tag(self.base + delivery.delivery_tag),
            redelivered: delivery.redelivered,
            envelope: wire::envelope(delivery, &self.names, self.runtime.now()),
            dead_lettered: wire::dead_lettered(delivery, &self.names),
        }
    }
}

/// The task that moves deliveries from the client to the consumer.
struct Pump {
    channel: Channel,
    received: mpsc::UnboundedSender<lapin::message::Delivery>,
    settling: mpsc::UnboundedSender<Settlement>,
    state: Arc<QueueState>,
    own: Arc<InFlight>,
    /// The bytes of unacknowledged bodies.
    bytes: Arc<AtomicUsize>,
    prefetch: u16,
}

impl Pump {
    /// Runs until the consumer is dropped, or the client reports an error or the end of the stream.
    /// The end of the stream is all that the client shows of a cancellation by the broker.
    async fn run(self, mut stream: lapin::Consumer, mut dropped: oneshot::Receiver<()>) {
        loop {
            let next = tokio::select! {
                biased;
                _ = &mut dropped => break,
                next = stream.next() => next,
            };
            let Some(Ok(delivery)) = next else {
                break;
            };
            self.state.in_flight.fetch_add(1, Ordering::SeqCst);
            self.own.fetch_add(1, Ordering::SeqCst);
            let size = delivery.data.len();
            let bytes = self.bytes.fetch_add(size, Ordering::SeqCst) + size;
            let known = Settlement::Received(delivery.delivery_tag, size);
            if self.settling.send(known).is_err() || self.received.send(delivery).is_err() {
                break;
            }
            if bytes > BYTES_MAX && self.prefetch > PREFETCH_OF_LARGE {
                self.state.large.store(true, Ordering::Relaxed);
                tracing::warn!(
                    bytes,
                    "a queue has large messages: its prefetch is {PREFETCH_OF_LARGE} from now on"
                );
                break;
            }
        }
        drop(self.received);
        self.state.release(&self.own);
        // The channel is closed first. A dropped `stream` cancels itself, and an ordered queue
        // would then deliver later messages to the next consumer before it has requeued the ones in
        // flight here.
        let mut closing = std::pin::pin!(self.channel.close(200, "done".into()));
        loop {
            // The client would buffer what the broker has already sent.
            tokio::select! {
                biased;
                _ = &mut closing => break,
                dropped = stream.next() => if dropped.is_none() {
                    let _ = closing.await;
                    break;
                }
            }
        }
        drop(stream);
    }
}

impl Consumer for RabbitConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let lost = || Error::retry("consumer_lost", "RabbitMQ ended the consumer");
            let first = self.deliveries.recv().await.ok_or_else(lost)?;
            let mut all = vec![self.delivery(&first)];
            while let Ok(next) = self.deliveries.try_recv() {
                all.push(self.delivery(&next));
            }
            Ok(all)
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(RabbitSettler {
            settling: self.settling.clone(),
            base: self.base,
            state: Arc::clone(&self.state),
            own: Arc::clone(&self.own),
        })
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.settler.abort();
        self.state.release(&self.own);
    }
}

struct RabbitSettler {
    settling: mpsc::UnboundedSender<Settlement>,
    base: u64,
    state: Arc<QueueState>,
    own: Arc<InFlight>,
}

impl RabbitSettler {
    fn settle(&self, tags: &[Tag], settlement: impl FnOnce(Vec<u64>) -> Settlement) {
        // Tags of an earlier consumer are ignored: the broker has redelivered their messages.
        let own = self.base..self.base + TAGS_PER_CONSUMER;
        let own = tags.iter().filter(|tag| own.contains(&tag.0));
        let tags: Vec<u64> = own.map(|tag| tag.0 - self.base).collect();
        let count = tags.len() as u64;
        if self.settling.send(settlement(tags)).is_err() {
            return; // The consumer has ended, and the broker redelivers the messages.
        }
        let less = |in_flight: u64| Some(in_flight.saturating_sub(count));
        if self
            .own
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok_and(|own| own > 0)
        {
            let _ = self
                .state
                .in_flight
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        }
    }
}

impl Settler for RabbitSettler {
    fn acknowledge(&self, tags: &[Tag]) {
        self.settle(tags, Settlement::Acknowledge);
    }

    fn requeue(&self, tags: &[Tag]) {
        self.settle(tags, Settlement::Requeue);
    }
}

/// The unacknowledged deliveries of a channel.
struct Open {
    /// The sizes of their bodies, by tag.
    sizes: BTreeMap<u64, usize>,
    /// The sum of the sizes.
    bytes: Arc<AtomicUsize>,
}

impl Open {
    fn remove(&mut self, tag: &u64) {
        let size = self.sizes.remove(tag).unwrap_or_default();
        self.bytes.fetch_sub(size, Ordering::SeqCst);
    }
}

/// Sends acknowledgements and requeues to the broker, in batches, until the consumer ends.
async fn settle(
    channel: Channel,
    mut settlements: mpsc::UnboundedReceiver<Settlement>,
    bytes: Arc<AtomicUsize>,
) {
    let mut open = Open {
        sizes: BTreeMap::new(),
        bytes,
    };
    while let Some(first) = settlements.recv().await {
        let (mut done, mut requeued) = (BTreeSet::new(), Vec::new());
        let mut next = Some(first);
        while let Some(settlement) = next {
            match settlement {
                Settlement::Received(tag, size) => {
                    open.sizes.insert(tag, size);
                }
                Settlement::Acknowledge(tags) => done.extend(tags),
                Settlement::Requeue(tags) => requeued.extend(tags),
            }
            next = settlements.try_recv().ok();
        }
        for tag in &requeued {
            open.remove(tag);
            let requeue = BasicNackOptions {
                requeue: true,
                multiple: false,
            };
            let _ = channel.basic_nack(*tag, requeue).await;
        }
        if let Err(why) = acknowledge(&channel, &mut open, done).await {
            // The channel is closed. The broker redelivers, and the inbox recognizes the messages.
            tracing::debug!("RabbitMQ did not receive acknowledgements: {why}");
            return;
        }
    }
}

/// Acknowledges `done`: with one frame all tags before the first open one, the others one by one.
async fn acknowledge(
    channel: &Channel,
    open: &mut Open,
    mut done: BTreeSet<u64>,
) -> lapin::Result<()> {
    done.retain(|tag| open.sizes.contains_key(tag));
    let up_to = open
        .sizes
        .keys()
        .take_while(|tag| done.contains(tag))
        .last()
        .copied();
    if let Some(tag) = up_to {
        channel
            .basic_ack(tag, BasicAckOptions { multiple: true })
            .await?;
    }
    let single = done
        .iter()
        .filter(|tag| up_to.is_none_or(|last| **tag > last));
    let single = single.map(|tag| channel.basic_ack(*tag, BasicAckOptions::default()));
    futures_util::future::try_join_all(single).await?;
    for tag in &done {
        open.remove(tag);
    }
    Ok(())
}
