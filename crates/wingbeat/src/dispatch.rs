//! One queue to its handler: one message a key at a time, different keys side by side.
//!
//! A key is free again when its unit is staged; the delivery is acknowledged when the unit is durable. What
//! happens in between to one piece of work is in `attempt`.

mod attempt;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use wingbeat_core::transport::{Binding, Settler};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Consumer, Delivery, Envelope, Key, Name, Result, Tag, Transport, sabotage};

use crate::Policy;
use crate::dead::{self, Failures};
use crate::handler::Run;
use crate::scope::ServiceContext;
use attempt::Attempt;

pub(crate) use attempt::parked_key;

/// How long to wait before consuming anew after a consumer was lost.
const RECONSUME: Duration = Duration::from_millis(200);

/// A queue, what is bound to it, and who handles it.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) queue: Name,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) policy: Policy,
    /// Timers' and queues' messages alike.
    pub(crate) takes: Vec<&'static str>,
    pub(crate) run: Run,
}

/// Where a piece of work comes from, and so how it is settled.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Queue(Tag),
    /// A due record (timer, parked delivery) as it was claimed.
    Due {
        key: Key,
        body: Bytes,
    },
}

/// One message to be handled.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) envelope: Envelope,
    pub(crate) origin: Origin,
    pub(crate) failures: Failures,
    /// It cannot be handled, for this reason and these words: straight to the dead letters.
    pub(crate) hopeless: Option<(&'static str, String)>,
}

/// What a person or the runtime wants of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Consume.
    Running,
    /// Consume nothing until resumed.
    Paused,
    /// Finish and end.
    Draining,
}

/// Live figures of a subscription; what must last is counted by the store.
#[derive(Debug, Default)]
pub struct Stats {
    /// Deliveries taken and not yet settled.
    pub in_flight: AtomicU64,
    /// Attempts that failed and were tried again.
    pub retried: AtomicU64,
}

type Finished = (Work, Outcome);

pub(crate) struct Dispatcher {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) due: mpsc::Receiver<Work>,
    pub(crate) stats: Arc<Stats>,
}

/// Work by key, in the order it arrived.
#[derive(Default)]
struct Lanes {
    /// What waits behind the work of its key that is running.
    behind: BTreeMap<String, VecDeque<Work>>,
    ready: VecDeque<Work>,
}

impl Lanes {
    fn push(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_back(work),
            None => {
                self.behind
                    .insert(work.envelope.key.clone(), VecDeque::new());
                self.ready.push_back(work);
            }
        }
    }

    fn push_front(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_front(work),
            None => self.push(work),
        }
    }

    fn free(&mut self, key: &str) {
        let Some(lane) = self.behind.get_mut(key) else {
            return;
        };
        match lane.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => drop(self.behind.remove(key)),
        }
    }

    /// Forgets what has not started; the broker brings it again.
    fn clear(&mut self, running: impl Fn(&str) -> bool) {
        self.ready.clear();
        self.behind.retain(|key, lane| {
            lane.clear();
            running(key)
        });
    }
}

impl Dispatcher {
    pub(crate) async fn run(mut self) {
        let (finished, mut finishes) = mpsc::unbounded_channel::<Finished>();
        let mut lanes = Lanes::default();
        let mut running: FuturesUnordered<BoxFuture<'static, String>> = FuturesUnordered::new();
        let mut active: BTreeMap<String, ()> = BTreeMap::new();
        let mut consumer: Option<Box<dyn Consumer>> = None;
        let mut settler: Option<Arc<dyn Settler>> = None;
        let mut unsettled = 0_usize;
        loop {
            let control = *self.control.borrow_and_update();
            if control != Control::Running && consumer.take().is_some() {
                unsettled -=
                    lanes.ready.len() + lanes.behind.values().map(VecDeque::len).sum::<usize>();
                lanes.clear(|key| active.contains_key(key));
            }
            if control == Control::Draining && running.is_empty() && unsettled == 0 {
                return;
            }
            if control == Control::Running && consumer.is_none() {
                match self
                    .transport
                    .consume(self.subscription.queue, self.subscription.policy.prefetch)
                    .await
                {
                    Ok(new) => {
                        settler = Some(new.settler());
                        consumer = Some(new);
                    }
                    Err(why) => {
                        tracing::warn!(queue = %self.subscription.queue, "cannot consume: {why}");
                        self.service.runtime.sleep(RECONSUME).await;
                        continue;
                    }
                }
            }
            while running.len() < self.subscription.policy.concurrency
                && let Some(work) = lanes.ready.pop_front()
            {
                active.insert(work.envelope.key.clone(), ());
                running.push(self.start(work, finished.clone()));
            }
            self.stats
                .in_flight
                .store(unsettled as u64, Ordering::Relaxed);
            let full = self.service.committer.is_full();
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                Some((work, outcome)) = finishes.recv() => {
                    let mut tags = Vec::new();
                    let mut next = Some((work, outcome));
                    while let Some((work, outcome)) = next {
                        unsettled -= self.finish(work, outcome, &mut lanes, &mut tags);
                        next = finishes.try_recv().ok();
                    }
                    if let (Some(settler), false) = (&settler, tags.is_empty()) {
                        settler.acknowledge(&tags);
                    }
                }
                Some(key) = running.next(), if !running.is_empty() => {
                    active.remove(&key);
                    lanes.free(&key);
                }
                Some(work) = self.due.recv(), if control == Control::Running => {
                    unsettled += 1;
                    lanes.push(work);
                }
                delivered = next(&mut consumer), if consumer.is_some() && !full => match delivered {
                    Ok(deliveries) => {
                        unsettled += deliveries.len();
                        if let (Some(settler), true) = (&settler, sabotage::lacks(sabotage::ACK_AFTER_COMMIT)) {
                            settler.acknowledge(&deliveries.iter().map(|it| it.tag).collect::<Vec<_>>());
                        }
                        deliveries.into_iter().for_each(|delivery| lanes.push(self.work(delivery)));
                    }
                    Err(why) => {
                        tracing::warn!(queue = %self.subscription.queue, "the consumer is lost: {why}");
                        consumer = None;
                    }
                },
                () = self.service.runtime.sleep(Duration::from_millis(2)), if full => {}
            }
        }
    }

    fn work(&self, delivery: Delivery) -> Work {
        let origin = Origin::Queue(delivery.tag);
        let (envelope, hopeless) = match delivery.envelope {
            Ok(envelope) if self.subscription.takes.contains(&&*envelope.kind) => (envelope, None),
            Ok(envelope) => {
                let words = format!("nobody here takes `{}`", envelope.kind);
                (envelope, Some(("unknown_type", words)))
            }
            Err(broken) => {
                let envelope = dead::envelope_of(&broken, self.service.runtime.now());
                (envelope, Some(("undecodable", broken.why)))
            }
        };
        Work {
            envelope,
            origin,
            failures: Failures::default(),
            hopeless,
        }
    }

    fn start(
        &self,
        work: Work,
        finished: mpsc::UnboundedSender<Finished>,
    ) -> BoxFuture<'static, String> {
        let attempt = Attempt {
            service: Arc::clone(&self.service),
            subscription: Arc::clone(&self.subscription),
            stats: Arc::clone(&self.stats),
            finished,
        };
        Box::pin(async move {
            let key = work.envelope.key.clone();
            attempt.until_staged(work).await;
            key
        })
    }

    /// Settles work whose unit has an outcome; 0 if it has to run again.
    fn finish(
        &self,
        mut work: Work,
        outcome: Outcome,
        lanes: &mut Lanes,
        tags: &mut Vec<Tag>,
    ) -> usize {
        match outcome {
            Outcome::Committed | Outcome::Duplicate => {
                if let Origin::Queue(tag) = work.origin {
                    tags.push(tag);
                }
                return 1;
            }
            Outcome::Stale => {}
            Outcome::Refused => {
                work.hopeless = Some(("refused", "the store refuses this unit".into()))
            }
        }
        lanes.push_front(work);
        0
    }
}

async fn next(consumer: &mut Option<Box<dyn Consumer>>) -> Result<Vec<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}
