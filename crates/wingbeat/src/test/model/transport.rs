//! The model's broker. It delivers in random order, except from ordered queues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use wingbeat_core::envelope::Unfit;
use wingbeat_core::transport::{Refused, Settler};
use wingbeat_core::{
    Consumer, Delivery, Dialog, Envelope, Error, Kind, MessageId, Name, Result, Tag, Topology,
    Transport,
};

use super::{Injector, Outages, lock};

type Confirmed = std::result::Result<(), Refused>;

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    unacknowledged: BTreeMap<Tag, (Waiting, u64)>,
    /// The consumer that an ordered queue delivers to.
    active: Option<u64>,
}

struct Waiting {
    /// The position in the order of arrival.
    position: u64,
    envelope: Envelope,
    redelivered: bool,
}

impl Queue {
    fn put_back(&mut self, tag: Tag) {
        if let Some((waiting, _)) = self.unacknowledged.remove(&tag) {
            self.waiting.push(Waiting {
                redelivered: true,
                ..waiting
            });
        }
    }

    /// Returns the index of the message that arrived first.
    fn first(&self) -> usize {
        let positions = self.waiting.iter().enumerate();
        let first = positions.min_by_key(|(_, waiting)| waiting.position);
        first.map_or(0, |(at, _)| at)
    }
}

#[derive(Default)]
struct Broker {
    topology: Topology,
    queues: BTreeMap<Name, Queue>,
    /// The reply queues, and their consumers.
    replies: BTreeMap<Name, u64>,
    accepted: BTreeSet<MessageId>,
    next: u64,
    positions: u64,
    /// The number of restarts. A restart disconnects the consumers of earlier generations.
    generation: u64,
}

/// A broker in memory.
pub struct ModelTransport {
    injector: Injector,
    broker: Arc<Mutex<Broker>>,
    /// Notified of new messages, acknowledgements and outages.
    changed: Arc<Notify>,
}

impl Broker {
    /// Returns the queues that the message is routed to.
    fn bound_queues(&self, message: &Envelope) -> Vec<Name> {
        if let Some(Dialog::Reply { to }) = &message.dialog {
            let mut open = self.replies.keys().filter(|queue| queue.as_str() == to);
            return open.next().copied().into_iter().collect();
        }
        let queues = self.topology.queues.iter();
        let bound = queues.filter(|(_, queue)| {
            let mut bindings = queue.bindings.iter();
            bindings.any(|binding| binding.message == message.kind && binding.kind == message.role)
        });
        bound.map(|(queue, _)| *queue).collect()
    }
}

fn unavailable() -> Error {
    Error::retry("broker_unavailable", "the broker does not answer")
}

impl ModelTransport {
    pub(crate) fn new(injector: Injector) -> Self {
        Self {
            injector,
            broker: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Restarts the broker: consumers are lost, and unacknowledged messages are redelivered.
    pub fn restart(&self) {
        let mut broker = lock(&self.broker);
        broker.generation += 1;
        // The consumers of reply queues are gone, and their queues with them.
        for queue in std::mem::take(&mut broker.replies).keys() {
            broker.queues.remove(queue);
        }
        drop(broker);
        self.changed.notify_waiters();
    }

    pub(crate) fn outages_changed(&self, before: Outages, now: Outages) {
        if now.broker && !before.broker {
            self.restart();
        } else {
            self.changed.notify_waiters();
        }
    }

    /// Puts a message into a queue, past the exchanges and their bindings, as a program can that
    /// may write to the broker's default exchange.
    ///
    /// # Panics
    ///
    /// If the queue does not exist.
    pub fn put(&self, queue: &str, envelope: Envelope) {
        let mut broker = lock(&self.broker);
        broker.positions += 1;
        let waiting = Waiting {
            position: broker.positions,
            envelope,
            redelivered: false,
        };
        let declared = broker.topology.queues.keys().copied();
        let declared = declared.into_iter().find(|name| name.as_str() == queue);
        let name = declared.unwrap_or_else(|| panic!("there is no queue {queue}"));
        broker.queues.entry(name).or_default().waiting.push(waiting);
        drop(broker);
        self.changed.notify_waiters();
    }

    /// Returns the queues with messages.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let broker = lock(&self.broker);
        let left = broker.queues.iter().filter_map(|(name, queue)| {
            let (waiting, delivered) = (queue.waiting.len(), queue.unacknowledged.len());
            (waiting + delivered > 0)
                .then(|| format!("{name}: {waiting} waiting, {delivered} being handled"))
        });
        left.collect()
    }

    /// Returns the ids of all messages that the broker ever accepted.
    pub(crate) fn accepted(&self) -> BTreeSet<MessageId> {
        lock(&self.broker).accepted.clone()
    }

    /// Waits while the broker blocks publishers.
    async fn blocked(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.injector.outages().broker_blocked {
                return;
            }
            self.injector.count("broker_blocked");
            changed.await;
        }
    }

    fn consumer(&self, broker: &mut Broker, queue: Name, prefetch: usize) -> Box<dyn Consumer> {
        broker.next += 1;
        let channel = Arc::new(Channel {
            queue,
            consumer: broker.next,
            generation: broker.generation,
            broker: Arc::clone(&self.broker),
            changed: Arc::clone(&self.changed),
        });
        Box::new(ModelConsumer {
            channel,
            prefetch,
            injector: self.injector.clone(),
        })
    }

    /// Accepts a message for the queues that are bound to its type, or for this one.
    fn accept(&self, message: &Envelope, only: Option<Name>) -> Confirmed {
        let mut broker = lock(&self.broker);
        let bound = match only {
            Some(queue) if broker.topology.queues.contains_key(&queue) => vec![queue],
            Some(_) => return Err(Refused::Unroutable),
            None => broker.bound_queues(message),
        };
        if bound.is_empty() && message.role == Kind::Command {
            return Err(Refused::Unroutable);
        }
        broker.accepted.insert(message.id);
        for queue in bound {
            let again = self.injector.occurs("duplicate", |faults| faults.duplicate);
            let copies = if again {
                2 + self.injector.random() as usize % 4
            } else {
                1
            };
            for _ in 0..copies {
                broker.positions += 1;
                let waiting = Waiting {
                    position: broker.positions,
                    envelope: message.clone(),
                    redelivered: false,
                };
                broker
                    .queues
                    .entry(queue)
                    .or_default()
                    .waiting
                    .push(waiting);
            }
        }
        Ok(())
    }

    /// Publishes messages, or puts them into this queue.
    async fn send(&self, messages: Vec<Envelope>, only: Option<Name>) -> Vec<Confirmed> {
        self.injector.delay().await;
        self.blocked().await;
        let send = |one| self.publish_one(one, only);
        let answers = messages.iter().map(send).collect();
        self.changed.notify_waiters();
        self.injector.delay().await;
        answers
    }

    fn publish_one(&self, message: &Envelope, only: Option<Name>) -> Confirmed {
        let unconfirmed = |why: &str| Err(Refused::Unconfirmed(why.into()));
        let impossible = |unfit: Unfit| Refused::Impossible(unfit.to_string());
        message.check().map_err(impossible)?;
        if self.injector.broker_is_unavailable() {
            return unconfirmed("the broker does not answer");
        }
        if !self
            .injector
            .occurs("confirm_lost", |faults| faults.confirm_lost)
        {
            return self.accept(message, only);
        }
        let arrives = self.injector.random().is_multiple_of(2);
        match arrives.then(|| self.accept(message, only)) {
            Some(Err(refused)) => Err(refused),
            Some(Ok(())) => unconfirmed("the confirm was lost"),
            None => unconfirmed("the message was lost"),
        }
    }
}

impl Transport for ModelTransport {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.injector.delay().await;
            if self.injector.broker_is_unavailable() {
                return Err(unavailable());
            }
            if self.injector.outages().broker_blocked {
                let why = "the broker blocks publishers";
                return Err(Error::retry("broker_blocked", why));
            }
            Ok(())
        })
    }

    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let queues = topology.queues.clone();
        Box::pin(async move {
            self.injector.delay().await;
            if self.injector.broker_is_unavailable() {
                return Err(unavailable());
            }
            lock(&self.broker).topology.queues.extend(queues);
            Ok(())
        })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(self.send(messages, None))
    }

    fn forward(
        &self,
        queue: Name,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(self.send(messages, Some(queue)))
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            self.injector.delay().await;
            let mut broker = lock(&self.broker);
            if self.injector.broker_is_unavailable() {
                return Err(unavailable());
            }
            if !broker.topology.queues.contains_key(&queue) {
                let why = format!("the queue {queue} was not declared");
                return Err(Error::retry("no_queue", why));
            }
            Ok(self.consumer(&mut broker, queue, prefetch))
        })
    }

    fn replies(&self, queue: &str, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let queue = Name::intern(queue);
        Box::pin(async move {
            self.injector.delay().await;
            let mut broker = lock(&self.broker);
            if self.injector.broker_is_unavailable() {
                return Err(unavailable());
            }
            let consumer = self.consumer(&mut broker, queue, prefetch);
            let number = broker.next;
            broker.replies.insert(queue, number);
            Ok(consumer)
        })
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        let depth = lock(&self.broker)
            .queues
            .get(&queue)
            .map_or(0, |queue| queue.waiting.len() + queue.unacknowledged.len());
        Box::pin(async move { Ok(depth as u64) })
    }
}

/// The connection of one consumer to the broker.
struct Channel {
    queue: Name,
    consumer: u64,
    /// The generation of the broker that the consumer belongs to.
    generation: u64,
    broker: Arc<Mutex<Broker>>,
    changed: Arc<Notify>,
}

struct ModelConsumer {
    channel: Arc<Channel>,
    prefetch: usize,
    injector: Injector,
}

impl ModelConsumer {
    /// Takes deliveries up to the prefetch, in random order unless the queue is ordered.
    fn pull(&self) -> Result<Vec<Delivery>> {
        let mut broker = lock(&self.channel.broker);
        if broker.generation != self.channel.generation {
            return Err(unavailable());
        }
        let mut next = broker.next;
        let declared = broker.topology.queues.get(&self.channel.queue);
        let ordered = declared.is_some_and(|queue| queue.ordered);
        let queue = broker.queues.entry(self.channel.queue).or_default();
        let consumer = self.channel.consumer;
        if ordered && *queue.active.get_or_insert(consumer) != consumer {
            return Ok(Vec::new());
        }
        let unacknowledged = queue
            .unacknowledged
            .values()
            .filter(|(_, by)| *by == self.channel.consumer)
            .count();
        let mut deliveries = Vec::new();
        while unacknowledged + deliveries.len() < self.prefetch && !queue.waiting.is_empty() {
            let index = if ordered {
                queue.first()
            } else {
                self.injector.random() as usize % queue.waiting.len()
            };
            if index > 0 && !ordered {
                self.injector.count("reordered");
            }
            let waiting = queue.waiting.swap_remove(index);
            next += 1;
            deliveries.push(Delivery {
                tag: Tag(next),
                redelivered: waiting.redelivered,
                envelope: Ok(waiting.envelope.clone()),
                dead_lettered: None,
            });
            queue.unacknowledged.insert(Tag(next), (waiting, consumer));
        }
        broker.next = next;
        Ok(deliveries)
    }
}

impl Consumer for ModelConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                let arrived = self.channel.changed.notified();
                let deliveries = self.pull()?;
                if !deliveries.is_empty() {
                    return Ok(deliveries);
                }
                arrived.await;
            }
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.channel) as Arc<dyn Settler>
    }
}

impl Drop for ModelConsumer {
    fn drop(&mut self) {
        let mut broker = lock(&self.channel.broker);
        if broker.replies.get(&self.channel.queue) == Some(&self.channel.consumer) {
            broker.replies.remove(&self.channel.queue);
            broker.queues.remove(&self.channel.queue);
            return;
        }
        let queue = broker.queues.entry(self.channel.queue).or_default();
        let lost: Vec<Tag> = queue
            .unacknowledged
            .iter()
            .filter(|(_, (_, by))| *by == self.channel.consumer)
            .map(|(tag, _)| *tag)
            .collect();
        lost.into_iter().for_each(|tag| queue.put_back(tag));
        queue.active.take_if(|by| *by == self.channel.consumer);
        drop(broker);
        self.channel.changed.notify_waiters();
    }
}

impl Settler for Channel {
    fn acknowledge(&self, tags: &[Tag]) {
        let mut broker = lock(&self.broker);
        let queue = broker.queues.entry(self.queue).or_default();
        tags.iter()
            .for_each(|tag| drop(queue.unacknowledged.remove(tag)));
        drop(broker);
        self.changed.notify_waiters();
    }

    fn requeue(&self, tags: &[Tag]) {
        let mut broker = lock(&self.broker);
        let queue = broker.queues.entry(self.queue).or_default();
        tags.iter().for_each(|tag| queue.put_back(*tag));
        drop(broker);
        self.changed.notify_waiters();
    }
}
