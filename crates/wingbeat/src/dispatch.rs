//! One queue to its handler: one message a key at a time, different keys side by side.
//!
//! A key is free again when its unit is staged; the delivery is acknowledged when the unit is durable. What
//! happens in between to one piece of work is in `attempt`.

mod attempt;
mod hand;
mod lanes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use wingbeat_core::statement::Unmet;
use wingbeat_core::transport::{Binding, Broken, Queue, Settler};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{
    Consumer, Delivery, Envelope, Key, Name, Result, Tag, Transport, failpoint, sabotage,
};

use crate::Policy;
use crate::dead::{self, Failures};
use crate::handler::Run;
use crate::meters::SubscriptionMeter;
use crate::saga::TIMERS;
use crate::scope::ServiceContext;
use crate::telemetry::{self, Context, Handled, Within};
use attempt::Attempt;
use lanes::Lanes;

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

impl Subscription {
    /// Its part of the topology.
    pub(crate) fn queue(&self) -> (Name, Queue) {
        let queue = Queue {
            bindings: self.bindings.clone(),
            ordered: self.policy.ordered,
        };
        (self.queue, queue)
    }

    /// Why a type cannot be handled that is none of those taken.
    fn stranger(&self, kind: &str) -> &'static str {
        let name = |kind: &str| kind.rsplit_once(".v").map(|(name, _)| name.to_owned());
        let known = |taken: &&&str| name(taken).is_some() && name(taken) == name(kind);
        match self.takes.iter().find(known) {
            Some(_) => "unknown_version",
            None => "unknown_type",
        }
    }
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
    /// It is no message.
    pub(crate) broken: Option<Broken>,
    /// It cannot be handled, for this reason and these words: straight to the dead letters.
    pub(crate) hopeless: Option<(&'static str, String)>,
    /// It has not been begun before.
    pub(crate) fresh: bool,
    /// Attempts in a row since it was last put aside.
    pub(crate) quick: u32,
    /// Why its unit was not committed: the attempt has failed.
    pub(crate) unmet: Option<Unmet>,
}

impl Work {
    /// Work that may yet succeed.
    pub(crate) fn new(envelope: Envelope, origin: Origin, failures: Failures) -> Self {
        Self {
            envelope,
            origin,
            failures,
            broken: None,
            hopeless: None,
            fresh: true,
            quick: 0,
            unmet: None,
        }
    }
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
    /// When the oldest of them was sent, in microseconds since the epoch; 0 when there is none.
    pub oldest: AtomicI64,
    /// Attempts that failed and were tried again.
    pub retried: AtomicU64,
}

/// Work and what became of its unit; `None` when it was let go.
type Finished = (Work, Option<Outcome>);
/// Work that runs in its context; ends with its key.
type Started = Within<BoxFuture<'static, String>>;

pub(crate) struct Dispatcher {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) due: mpsc::Receiver<Work>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) meter: Arc<SubscriptionMeter>,
    /// See [`crate::App::family`].
    pub(crate) family: Arc<BTreeSet<&'static str>>,
}

impl Dispatcher {
    pub(crate) async fn run(mut self) {
        let (finished, mut finishes) = mpsc::unbounded_channel::<Finished>();
        let mut lanes = Lanes::default();
        self.meter.start();
        let mut running: FuturesUnordered<Started> = FuturesUnordered::new();
        let mut consumer: Option<Box<dyn Consumer>> = None;
        let mut settler: Option<Arc<dyn Settler>> = None;
        loop {
            let control = *self.control.borrow_and_update();
            if control != Control::Running && consumer.take().is_some() {
                lanes.clear();
            }
            if control == Control::Draining && running.is_empty() && lanes.hand.is_empty() {
                return;
            }
            if control == Control::Running && consumer.is_none() {
                let Some(new) = self.consume().await else {
                    continue;
                };
                settler = Some(new.settler());
                consumer = Some(new);
            }
            while running.len() < self.subscription.policy.concurrency
                && let Some(work) = lanes.start()
            {
                running.push(self.start(work, finished.clone()));
            }
            lanes.hand.tell(&self.stats);
            let full = self.service.committer.is_full();
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                Some((work, outcome)) = finishes.recv() => {
                    let mut tags = Vec::new();
                    let mut next = Some((work, outcome));
                    let mut let_go = false;
                    while let Some((work, outcome)) = next {
                        let_go |= outcome.is_none();
                        self.finish(work, outcome, &mut lanes, &mut tags);
                        next = finishes.try_recv().ok();
                    }
                    if let (Some(settler), false) = (&settler, tags.is_empty()) {
                        failpoint::reached(failpoint::ACK_BEFORE);
                        settler.acknowledge(&tags);
                        failpoint::reached(failpoint::ACK_AFTER);
                    }
                    // What was let go comes again with another consumer, and what comes after it as well.
                    if let_go && consumer.take().is_some() {
                        lanes.clear();
                    }
                }
                Some(key) = running.next(), if !running.is_empty() => {
                    // In order, a key is free once its unit is durable: a stale one is run again before the next.
                    if !self.subscription.policy.ordered {
                        lanes.free(&key);
                    }
                }
                Some(work) = self.due.recv(), if control == Control::Running => {
                    lanes.take(self.judged(work));
                }
                delivered = next(&mut consumer), if consumer.is_some() && !full => match delivered {
                    Ok(deliveries) => {
                        self.meter.consumed(deliveries.len());
                        if let (Some(settler), true) = (&settler, sabotage::lacks(sabotage::ACK_AFTER_COMMIT)) {
                            settler.acknowledge(&deliveries.iter().map(|it| it.tag).collect::<Vec<_>>());
                        }
                        deliveries.into_iter().for_each(|delivery| lanes.take(self.work(delivery)));
                    }
                    Err(why) => {
                        tracing::warn!(queue = %self.subscription.queue, "the consumer is lost: {why}");
                        consumer = None;
                        if self.subscription.policy.ordered {
                            lanes.clear();
                        }
                    }
                },
                () = self.service.runtime.sleep(Duration::from_millis(2)), if full => {}
            }
        }
    }

    /// A new consumer; `None`, after a pause, when there is none to be had.
    async fn consume(&self) -> Option<Box<dyn Consumer>> {
        let (queue, prefetch) = (self.subscription.queue, self.subscription.policy.prefetch);
        let consumed = self.transport.consume(queue, prefetch).await;
        if let Err(why) = &consumed {
            tracing::warn!(%queue, "cannot consume: {why}");
            self.service.runtime.sleep(RECONSUME).await;
        }
        consumed.ok()
    }

    fn work(&self, delivery: Delivery) -> Work {
        let (envelope, broken) = match delivery.envelope {
            Ok(envelope) => (envelope, None),
            Err(it) => {
                let stand_in = dead::envelope_of(&it, self.service.runtime.now());
                (stand_in, Some(it.broken))
            }
        };
        self.judged(Work {
            broken,
            ..Work::new(envelope, Origin::Queue(delivery.tag), Failures::default())
        })
    }

    /// What can never be handled here goes straight to the dead letters, also when it is tried again.
    fn judged(&self, mut work: Work) -> Work {
        let kind = &*work.envelope.kind;
        work.hopeless = match &work.broken {
            Some(broken) => Some((broken.fault.reason(), broken.why.clone())),
            None if self.subscription.takes.contains(&kind) => None,
            None => {
                let words = format!("nobody here takes `{kind}`");
                Some((self.subscription.stranger(kind), words))
            }
        };
        work
    }

    fn start(&self, work: Work, finished: mpsc::UnboundedSender<Finished>) -> Started {
        let attempt = Attempt {
            service: Arc::clone(&self.service),
            subscription: Arc::clone(&self.subscription),
            stats: Arc::clone(&self.stats),
            meter: Arc::clone(&self.meter),
            family: Arc::clone(&self.family),
            control: self.control.clone(),
            finished,
        };
        let context = Context::of(&work.envelope, self.service.runtime.random());
        let handled = Handled {
            service: self.service.name,
            queue: self.subscription.queue,
            message: &work.envelope,
            system: self.transport.system(),
            timer: matches!(&work.origin, Origin::Due { key, .. } if key.table == TIMERS),
        };
        let span = telemetry::handling(&handled, context.trace);
        let run = async move {
            let key = work.envelope.key.clone();
            attempt.until_staged(work).await;
            key
        };
        context.run(span, Box::pin(run))
    }

    /// Settles work whose unit has an outcome, or has it run again.
    fn finish(
        &self,
        mut work: Work,
        outcome: Option<Outcome>,
        lanes: &mut Lanes,
        tags: &mut Vec<Tag>,
    ) {
        let ordered = self.subscription.policy.ordered;
        let key = ordered.then(|| work.envelope.key.clone());
        match (outcome, &work.origin) {
            (Some(Outcome::Committed | Outcome::Duplicate), Origin::Queue(tag)) => {
                lanes.hand.remove(work.envelope.time);
                tags.push(*tag);
            }
            (Some(Outcome::Committed | Outcome::Duplicate) | None, _) => {
                lanes.hand.remove(work.envelope.time);
            }
            (Some(Outcome::Stale), _) => {
                work.fresh = false;
                lanes.push_front(work);
            }
            (Some(Outcome::Unmet(why)), _) => {
                work.fresh = false;
                work.unmet = Some(why);
                lanes.push_front(work);
            }
            (Some(Outcome::Refused), _) => {
                work.fresh = false;
                work.hopeless = Some(("refused", "the store refuses this unit".into()));
                lanes.push_front(work);
            }
        }
        if let Some(key) = key {
            lanes.free(&key);
        }
    }
}

async fn next(consumer: &mut Option<Box<dyn Consumer>>) -> Result<Vec<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}
