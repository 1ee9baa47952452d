//! Consuming: deliveries and their acknowledgements, on a channel a consumer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wingbeat_core::transport::Settler;
use wingbeat_core::{Consumer, Delivery, Error, Result, Tag};

use crate::link::away;
use crate::topology::Names;
use crate::wire;

/// Broker tags a consumer may use before its numbers meet the next one's.
pub(crate) const TAGS_OF_ONE: u64 = 1 << 40;

/// Deliveries that this process holds of one queue: what waits in the client as well.
pub(crate) type Held = Arc<AtomicU64>;

/// What a consumer is opened with.
pub(crate) struct Opening {
    pub(crate) queue: String,
    pub(crate) prefetch: usize,
    /// Tags of the process are the broker's plus this.
    pub(crate) base: u64,
    pub(crate) names: Names,
    pub(crate) held: Held,
}

/// What is to be done with a delivery; tags are the broker's.
enum Settlement {
    Arrived(u64),
    Done(Vec<u64>),
    GivenBack(Vec<u64>),
}

/// One consumer. Dropped, its channel is closed, and what was not acknowledged comes again.
pub(crate) struct RabbitConsumer {
    deliveries: mpsc::UnboundedReceiver<lapin::message::Delivery>,
    settling: mpsc::UnboundedSender<Settlement>,
    settler: JoinHandle<()>,
    /// Dropped with the consumer, which has the pump close the channel.
    _open: oneshot::Sender<()>,
    base: u64,
    names: Names,
    held: Held,
    /// Of `held`, what is this consumer's.
    mine: Held,
}

impl RabbitConsumer {
    pub(crate) async fn open(connection: &Connection, opening: Opening) -> Result<Self> {
        let channel = connection.create_channel().await.map_err(|e| away(&e))?;
        let prefetch = u16::try_from(opening.prefetch.max(1)).unwrap_or(u16::MAX);
        let qos = channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await;
        qos.map_err(|e| away(&e))?;
        let stream = channel
            .basic_consume(
                opening.queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|e| away(&e))?;
        // Neither can hold more than the prefetch: the broker sends no more until something is settled.
        let (arrived, deliveries) = mpsc::unbounded_channel();
        let (settling, settlements) = mpsc::unbounded_channel();
        let (held, mine) = (opening.held, Held::default());
        let (open, dropped) = oneshot::channel();
        // Bounded by the prefetch: the broker hands out no more until some are acknowledged.
        let pump = Pump {
            channel: channel.clone(),
            arrived,
            settling: settling.clone(),
            held: Arc::clone(&held),
            mine: Arc::clone(&mine),
        };
        drop(tokio::spawn(pump.run(stream, dropped)));
        let settler = tokio::spawn(settle(channel, settlements));
        Ok(Self {
            deliveries,
            settling,
            settler,
            _open: open,
            base: opening.base,
            names: opening.names,
            held,
            mine,
        })
    }

    fn delivery(&self, delivery: &lapin::message::Delivery) -> Delivery {
        Delivery {
            tag: Tag(self.base + delivery.delivery_tag),
            redelivered: delivery.redelivered,
            envelope: wire::envelope(delivery, &self.names),
            given_up: wire::given_up(delivery, &self.names),
        }
    }
}

/// Takes deliveries off the client as they come.
struct Pump {
    channel: Channel,
    arrived: mpsc::UnboundedSender<lapin::message::Delivery>,
    settling: mpsc::UnboundedSender<Settlement>,
    held: Held,
    mine: Held,
}

impl Pump {
    /// Until the consumer is dropped, or the client says that there is no more: an error, or the end of the
    /// stream, which is all that a cancel by the broker shows.
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
            self.held.fetch_add(1, Ordering::SeqCst);
            self.mine.fetch_add(1, Ordering::SeqCst);
            let known = Settlement::Arrived(delivery.delivery_tag);
            if self.settling.send(known).is_err() || self.arrived.send(delivery).is_err() {
                break;
            }
        }
        drop(self.arrived);
        forget(&self.held, &self.mine);
        // The channel first: dropped, the client's consumer cancels itself, and an ordered queue would go on with
        // what comes after the messages that are held here, before it has those back.
        let _ = self.channel.close(200, "done".into()).await;
        drop(stream);
    }
}

/// What the consumer held is the broker's again.
fn forget(held: &Held, mine: &Held) {
    let left = mine.swap(0, Ordering::SeqCst);
    held.fetch_sub(left, Ordering::SeqCst);
}

impl Consumer for RabbitConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let lost = || Error::retry("consumer_lost", "the broker ended the consumer");
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
            held: Arc::clone(&self.held),
            mine: Arc::clone(&self.mine),
        })
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.settler.abort();
        forget(&self.held, &self.mine);
    }
}

struct RabbitSettler {
    settling: mpsc::UnboundedSender<Settlement>,
    base: u64,
    held: Held,
    mine: Held,
}

impl RabbitSettler {
    fn settle(&self, tags: &[Tag], as_what: impl FnOnce(Vec<u64>) -> Settlement) {
        // A tag of an earlier consumer is none of this one's: its message comes again.
        let mine = self.base..self.base + TAGS_OF_ONE;
        let mine = tags.iter().filter(|tag| mine.contains(&tag.0));
        let tags: Vec<u64> = mine.map(|tag| tag.0 - self.base).collect();
        let count = tags.len() as u64;
        if self.settling.send(as_what(tags)).is_err() {
            return; // The consumer is gone, and the messages come again.
        }
        let less = |held: u64| Some(held.saturating_sub(count));
        if self
            .mine
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok_and(|mine| mine > 0)
        {
            let _ = self
                .held
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        }
    }
}

impl Settler for RabbitSettler {
    fn acknowledge(&self, tags: &[Tag]) {
        self.settle(tags, Settlement::Done);
    }

    fn give_back(&self, tags: &[Tag]) {
        self.settle(tags, Settlement::GivenBack);
    }
}

/// Acknowledges what is done: everything up to a tag at once where no earlier one is open, the rest one
/// by one.
async fn settle(channel: Channel, mut settlements: mpsc::UnboundedReceiver<Settlement>) {
    let mut open: BTreeSet<u64> = BTreeSet::new();
    while let Some(first) = settlements.recv().await {
        let (mut done, mut back) = (BTreeSet::new(), Vec::new());
        let mut next = Some(first);
        while let Some(settlement) = next {
            match settlement {
                Settlement::Arrived(tag) => drop(open.insert(tag)),
                Settlement::Done(tags) => done.extend(tags),
                Settlement::GivenBack(tags) => back.extend(tags),
            }
            next = settlements.try_recv().ok();
        }
        for tag in &back {
            open.remove(tag);
            let requeue = BasicNackOptions {
                requeue: true,
                multiple: false,
            };
            let _ = channel.basic_nack(*tag, requeue).await;
        }
        let settled = acknowledge(&channel, &mut open, done).await;
        if let Err(why) = settled {
            // The channel is gone; what was not acknowledged comes again and is known.
            tracing::debug!("acknowledgements are lost: {why}");
            return;
        }
    }
}

async fn acknowledge(
    channel: &Channel,
    open: &mut BTreeSet<u64>,
    mut done: BTreeSet<u64>,
) -> lapin::Result<()> {
    done.retain(|tag| open.contains(tag));
    let up_to = open
        .iter()
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
    open.retain(|tag| !done.contains(tag));
    Ok(())
}
