//! The model's broker. It delivers in random order where the port guarantees none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use wingbeat_core::transport::{Refused, Settler};
use wingbeat_core::{
    Consumer, Delivery, Envelope, Error, Kind, MessageId, Name, Result, Tag, Topology, Transport,
};

use super::{Outages, Weather, lock};

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    unacknowledged: BTreeMap<Tag, (Waiting, u64)>,
    /// The consumer that an ordered queue delivers to.
    active: Option<u64>,
}

struct Waiting {
    /// The place in the order of arrival.
    place: u64,
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
        let places = self.waiting.iter().enumerate();
        let first = places.min_by_key(|(_, waiting)| waiting.place);
        first.map_or(0, |(at, _)| at)
    }
}

#[derive(Default)]
struct Broker {
    topology: Topology,
    queues: BTreeMap<Name, Queue>,
    taken: BTreeSet<MessageId>,
    next: u64,
    places: u64,
    starts: u64,
}

/// A broker in memory.
pub struct ModelTransport {
    weather: Weather,
    broker: Arc<Mutex<Broker>>,
    arrived: Arc<Notify>,
}

impl Broker {
    /// Returns the queues that the message is routed to.
    fn bound(&self, message: &Envelope) -> Vec<Name> {
        let queues = self.topology.queues.iter();
        let bound = queues.filter(|(_, queue)| {
            let mut bindings = queue.bindings.iter();
            bindings.any(|binding| binding.message == message.kind && binding.kind == message.role)
        });
        bound.map(|(queue, _)| *queue).collect()
    }
}

fn away() -> Error {
    Error::retry("broker_unavailable", "the broker does not answer")
}

impl ModelTransport {
    pub(crate) fn new(weather: Weather) -> Self {
        Self {
            weather,
            broker: Arc::default(),
            arrived: Arc::default(),
        }
    }

    /// Restarts the broker: consumers are lost, and unacknowledged messages are redelivered.
    pub fn restart(&self) {
        lock(&self.broker).starts += 1;
        self.arrived.notify_waiters();
    }

    pub(crate) fn weather_changed(&self, before: Outages, now: Outages) {
        match now.broker && !before.broker {
            true => self.restart(),
            false => self.arrived.notify_waiters(),
        }
    }

    /// Returns the queues with messages.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let broker = lock(&self.broker);
        let left = broker.queues.iter().filter_map(|(name, queue)| {
            let (waiting, held) = (queue.waiting.len(), queue.unacknowledged.len());
            (waiting + held > 0).then(|| format!("{name}: {waiting} waiting, {held} being handled"))
        });
        left.collect()
    }

    /// Returns the ids of all messages that the broker ever accepted.
    pub(crate) fn taken(&self) -> BTreeSet<MessageId> {
        lock(&self.broker).taken.clone()
    }

    /// Waits while the broker blocks publishers.
    async fn blocked(&self) {
        loop {
            let changed = self.arrived.notified();
            if !self.weather.outages().broker_blocked {
                return;
            }
            self.weather.count("broker_blocked");
            changed.await;
        }
    }

    fn take(&self, message: &Envelope) -> std::result::Result<(), Refused> {
        let mut broker = lock(&self.broker);
        let bound = broker.bound(message);
        if bound.is_empty() && message.role == Kind::Command {
            return Err(Refused::Unroutable);
        }
        broker.taken.insert(message.id);
        for queue in bound {
            let again = self.weather.strikes("duplicate", |faults| faults.duplicate);
            let copies = match again {
                true => 2 + self.weather.random() as usize % 4,
                false => 1,
            };
            for _ in 0..copies {
                broker.places += 1;
                let waiting = Waiting {
                    place: broker.places,
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

    fn publish_one(&self, message: &Envelope) -> std::result::Result<(), Refused> {
        let unconfirmed = |why: &str| Err(Refused::Unconfirmed(why.into()));
        if self.weather.broker_is_unavailable() {
            return unconfirmed("the broker does not answer");
        }
        if !self
            .weather
            .strikes("confirm_lost", |faults| faults.confirm_lost)
        {
            return self.take(message);
        }
        let arrives = self.weather.random().is_multiple_of(2);
        match arrives.then(|| self.take(message)) {
            Some(Err(refused)) => Err(refused),
            Some(Ok(())) => unconfirmed("the confirm was lost"),
            None => unconfirmed("the message was lost"),
        }
    }
}

impl Transport for ModelTransport {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.weather.delay().await;
            if self.weather.broker_is_unavailable() {
                return Err(away());
            }
            if self.weather.outages().broker_blocked {
                let why = "the broker lets publishers wait";
                return Err(Error::retry("broker_blocked", why));
            }
            Ok(())
        })
    }

    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let queues = topology.queues.clone();
        Box::pin(async move {
            self.weather.delay().await;
            if self.weather.broker_is_unavailable() {
                return Err(away());
            }
            lock(&self.broker).topology.queues.extend(queues);
            Ok(())
        })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            self.weather.delay().await;
            self.blocked().await;
            let answers = messages.iter().map(|one| self.publish_one(one)).collect();
            self.arrived.notify_waiters();
            self.weather.delay().await;
            answers
        })
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            self.weather.delay().await;
            let mut broker = lock(&self.broker);
            if self.weather.broker_is_unavailable() {
                return Err(away());
            }
            if !broker.topology.queues.contains_key(&queue) {
                let why = format!("the queue {queue} was not declared");
                return Err(Error::retry("no_queue", why));
            }
            broker.next += 1;
            let link = Arc::new(Link {
                queue,
                consumer: broker.next,
                start: broker.starts,
                broker: Arc::clone(&self.broker),
                arrived: Arc::clone(&self.arrived),
            });
            let consumer: Box<dyn Consumer> = Box::new(ModelConsumer {
                link,
                prefetch,
                weather: self.weather.clone(),
            });
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

struct Link {
    queue: Name,
    consumer: u64,
    /// The start of the broker that the consumer belongs to.
    start: u64,
    broker: Arc<Mutex<Broker>>,
    arrived: Arc<Notify>,
}

struct ModelConsumer {
    link: Arc<Link>,
    prefetch: usize,
    weather: Weather,
}

impl ModelConsumer {
    /// Takes deliveries up to the prefetch, in random order unless the queue is ordered.
    fn pull(&self) -> Result<Vec<Delivery>> {
        let mut broker = lock(&self.link.broker);
        if broker.starts != self.link.start {
            return Err(away());
        }
        let mut next = broker.next;
        let declared = broker.topology.queues.get(&self.link.queue);
        let ordered = declared.is_some_and(|queue| queue.ordered);
        let queue = broker.queues.entry(self.link.queue).or_default();
        let consumer = self.link.consumer;
        if ordered && *queue.active.get_or_insert(consumer) != consumer {
            return Ok(Vec::new());
        }
        let held = queue
            .unacknowledged
            .values()
            .filter(|(_, by)| *by == self.link.consumer)
            .count();
        let mut deliveries = Vec::new();
        while held + deliveries.len() < self.prefetch && !queue.waiting.is_empty() {
            let at = match ordered {
                true => queue.first(),
                false => self.weather.random() as usize % queue.waiting.len(),
            };
            if at > 0 && !ordered {
                self.weather.count("reordered");
            }
            let waiting = queue.waiting.swap_remove(at);
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
                let arrived = self.link.arrived.notified();
                let deliveries = self.pull()?;
                if !deliveries.is_empty() {
                    return Ok(deliveries);
                }
                arrived.await;
            }
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.link) as Arc<dyn Settler>
    }
}

impl Drop for ModelConsumer {
    fn drop(&mut self) {
        let mut broker = lock(&self.link.broker);
        let queue = broker.queues.entry(self.link.queue).or_default();
        let lost: Vec<Tag> = queue
            .unacknowledged
            .iter()
            .filter(|(_, (_, by))| *by == self.link.consumer)
            .map(|(tag, _)| *tag)
            .collect();
        lost.into_iter().for_each(|tag| queue.put_back(tag));
        queue.active.take_if(|by| *by == self.link.consumer);
        drop(broker);
        self.link.arrived.notify_waiters();
    }
}

impl Settler for Link {
    fn acknowledge(&self, tags: &[Tag]) {
        let mut broker = lock(&self.broker);
        let queue = broker.queues.entry(self.queue).or_default();
        tags.iter()
            .for_each(|tag| drop(queue.unacknowledged.remove(tag)));
        drop(broker);
        self.arrived.notify_waiters();
    }

    fn requeue(&self, tags: &[Tag]) {
        let mut broker = lock(&self.broker);
        let queue = broker.queues.entry(self.queue).or_default();
        tags.iter().for_each(|tag| queue.put_back(*tag));
        drop(broker);
        self.arrived.notify_waiters();
    }
}
