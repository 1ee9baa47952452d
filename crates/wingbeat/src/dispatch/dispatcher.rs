//! Runs the subscription of one queue: one message at a time for each key, different keys in
//! parallel.
//!
//! A key is free again when its unit is staged. The delivery is acknowledged when the unit is
//! durable. `attempt` handles one piece of work in between.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use wingbeat_core::transport::Settler;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{
    Class, Consumer, Delivery, Error, Result, Tag, Transport, failpoint, sabotage,
};

use super::attempt::{Attempt, Finished};
use super::lanes::Lanes;
use super::work::{Origin, Stats, Subscription, Work};
use crate::failed::{Failures, stand_in};
use crate::limit::{Limiter, Turn};
use crate::runtime::Control;
use crate::telemetry::meters::SubscriptionMeter;
use crate::telemetry::{self, Context, Handled, Within};
use crate::unit::{Ended, ServiceContext, TIMERS};

/// The pause after a failed attempt to consume.
const RECONSUME: Duration = Duration::from_millis(200);
/// The lifetime from which a consumer counts as working.
const WORKING: Duration = Duration::from_secs(10);
/// The longest pause after consumers that were lost soon after their start.
const RECONSUME_MAX: Duration = Duration::from_secs(30);
/// The largest number of deliveries in flight at which a subscription that waits for its rate takes
/// due work.
const DUE_MAX: u64 = 512;
/// The pause while the committer is full.
const FULL: Duration = Duration::from_millis(2);

/// Work that runs in its context. Ends with its key.
type Started = Within<BoxFuture<'static, String>>;

pub(crate) struct Dispatcher {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) due: mpsc::Receiver<Work>,
    /// Limits how often runs start, if there is a limit.
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) meter: Arc<SubscriptionMeter>,
    /// The services of the system. Messages of other sources are counted as foreign.
    pub(crate) family: Arc<BTreeSet<&'static str>>,
}

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

impl Dispatcher {
    pub(crate) async fn run(mut self) {
        let (finished, mut finishes) = mpsc::unbounded_channel::<Finished>();
        let mut lanes = Lanes::default();
        self.meter.start();
        let mut running: FuturesUnordered<Started> = FuturesUnordered::new();
        let mut consumer: Option<Box<dyn Consumer>> = None;
        let mut settler: Option<Arc<dyn Settler>> = None;
        let (mut losses, mut turn) = (Losses::default(), Turn::new(self.limiter.take()));
        loop {
            let control = *self.control.borrow_and_update();
            if control != Control::Running && consumer.take().is_some() {
                lanes.clear();
            }
            if control == Control::Draining && running.is_empty() && lanes.in_flight.is_empty() {
                return;
            }
            let pause = losses.until.saturating_sub(self.service.runtime.elapsed());
            let starts = control == Control::Running && consumer.is_none();
            if starts && pause.is_zero() {
                let Some(new) = self.consume().await else {
                    continue;
                };
                losses.started = self.service.runtime.elapsed();
                settler = Some(new.settler());
                consumer = Some(new);
            }
            while running.len() < self.subscription.policy.concurrency
                && let Some(work) = next_work(&mut lanes, &mut turn)
            {
                running.push(self.start(work, finished.clone()));
            }
            lanes.in_flight.publish(&self.stats);
            let full = self.service.committer.is_full();
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                Some(first) = finishes.recv() => {
                    let all = iter::once(first).chain(iter::from_fn(|| finishes.try_recv().ok()));
                    let released = self.finish_all(all, &mut lanes, settler.as_deref());
                    // The broker redelivers released work, and everything after it, to another
                    // consumer.
                    if released && consumer.take().is_some() {
                        lanes.clear();
                    }
                }
                Some(key) = running.next(), if !running.is_empty() => {
                    // In order, a key stays busy until its unit is durable: a stale unit runs again
                    // before the next message.
                    if !self.subscription.policy.ordered {
                        lanes.free(&key);
                    }
                }
                Some(work) = self.due.recv(), if control == Control::Running => {
                    // Work beyond the rate would pile up. Its lease expires, and it comes again.
                    if !turn.is_waiting() || lanes.in_flight.len() < DUE_MAX {
                        lanes.take(self.judged(work));
                    }
                }
                () = turn.wait() => {}
                delivered = next(&mut consumer), if consumer.is_some() && !full => match delivered {
                    Ok(deliveries) => self.take(deliveries, &mut lanes, settler.as_deref()),
                    Err(why) => {
                        self.outage("consumer lost, consuming again", &why);
                        losses.lost(self.service.runtime.elapsed());
                        consumer = None;
                        if self.subscription.policy.ordered {
                            lanes.clear();
                        }
                    }
                },
                () = self.service.runtime.sleep(FULL), if full => {}
                () = self.service.runtime.sleep(pause), if starts && !pause.is_zero() => {}
            }
        }
    }

    /// Returns a new consumer, or `None` after a pause if the transport cannot create one.
    async fn consume(&self) -> Option<Box<dyn Consumer>> {
        let (queue, prefetch) = (self.subscription.queue, self.subscription.policy.prefetch());
        let consumed = self.transport.consume(queue, prefetch).await;
        if let Err(why) = &consumed {
            self.outage("cannot consume, trying again", why);
            self.service.runtime.sleep(RECONSUME).await;
        }
        consumed.ok()
    }

    /// Logs a failure of the transport.
    fn outage(&self, what: &str, why: &Error) {
        let now = self.service.runtime.elapsed();
        if let Some(suppressed) = self.stats.outages.admit(now) {
            let (queue, code) = (self.subscription.queue, why.code());
            tracing::warn!(%queue, code, suppressed, "{what}: {why}");
        }
    }

    fn take(&self, deliveries: Vec<Delivery>, lanes: &mut Lanes, settler: Option<&dyn Settler>) {
        self.meter.consumed(deliveries.len());
        if let (Some(settler), true) = (settler, sabotage::lacks(sabotage::ACK_AFTER_COMMIT)) {
            settler.acknowledge(&deliveries.iter().map(|it| it.tag).collect::<Vec<_>>());
        }
        let works = deliveries.into_iter().map(|delivery| self.work(delivery));
        works.for_each(|work| lanes.take(work));
    }

    /// Acknowledges finished work. Returns whether some work was released instead.
    fn finish_all(
        &self,
        all: impl Iterator<Item = Finished>,
        lanes: &mut Lanes,
        settler: Option<&dyn Settler>,
    ) -> bool {
        let mut tags = Vec::new();
        let mut released = false;
        for (work, outcome) in all {
            released |= outcome.is_none();
            self.finish(work, outcome, lanes, &mut tags);
        }
        if let (Some(settler), false) = (settler, tags.is_empty()) {
            failpoint::reached(failpoint::ACK_BEFORE);
            settler.acknowledge(&tags);
            failpoint::reached(failpoint::ACK_AFTER);
        }
        released
    }

    fn work(&self, delivery: Delivery) -> Work {
        let (envelope, broken) = match delivery.envelope {
            Ok(envelope) => (envelope, None),
            Err(it) => {
                let stand_in = stand_in(&it, self.service.runtime.now());
                (stand_in, Some(it.broken))
            }
        };
        self.judged(Work {
            broken,
            timer: Some(false),
            ..Work::new(envelope, Origin::Queue(delivery.tag), Failures::default())
        })
    }

    /// Marks work that no handler here can handle: it becomes a dead letter without an attempt.
    fn judged(&self, mut work: Work) -> Work {
        work.received(self.service.runtime.now());
        let kind = &*work.envelope.kind;
        work.hopeless = match &work.broken {
            Some(broken) => Some((broken.fault.reason(), broken.why.clone())),
            None if self.takes(&work, kind) => None,
            None => {
                let words = format!("no handler here takes `{kind}`");
                Some((self.subscription.refusal_of(kind), words))
            }
        };
        work
    }

    fn takes(&self, work: &Work, kind: &str) -> bool {
        // A delivery must not become a timer because it was parked or dead-lettered.
        if work.timer == Some(false) {
            self.subscription.takes_from_queue(kind)
        } else {
            self.subscription.takes.contains(&kind)
        }
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

    /// Settles work whose unit has an outcome, or queues it for another attempt.
    fn finish(
        &self,
        mut work: Work,
        outcome: Option<Outcome>,
        lanes: &mut Lanes,
        tags: &mut Vec<Tag>,
    ) {
        let ordered = self.subscription.policy.ordered;
        let key = ordered.then(|| work.envelope.key.clone());
        let is_duplicate = outcome == Some(Outcome::Duplicate);
        match outcome.map(Ended::from) {
            // Its record is still to be removed.
            Some(Ended::Done) if is_duplicate && work.suspect && !work.known => {
                work.known = true;
                lanes.push_front(work.again());
            }
            Some(Ended::Done) => {
                lanes.in_flight.remove(work.sent);
                if let Origin::Queue(tag) = work.origin {
                    tags.push(tag);
                }
            }
            // Released: the broker or the store hands it out again.
            None => lanes.in_flight.remove(work.sent),
            Some(Ended::Stale) => {
                work.stale = true;
                lanes.push_front(work.again());
            }
            Some(Ended::Failed(why)) if why.class() == Class::Retry => {
                work.failed = Some(why);
                lanes.push_front(work.again());
            }
            Some(Ended::Failed(why)) => {
                // The store refuses even the dead letter.
                work.refused += u32::from(work.hopeless.is_some());
                work.hopeless
                    .get_or_insert_with(|| (why.code(), why.to_string()));
                lanes.push_front(work.again());
            }
        }
        if let Some(key) = key {
            lanes.free(&key);
        }
    }
}

/// Takes the next piece of work, if one is ready and the rate allows it.
fn next_work(lanes: &mut Lanes, turn: &mut Turn) -> Option<Work> {
    (lanes.is_ready() && turn.take()).then(|| lanes.start())?
}

async fn next(consumer: &mut Option<Box<dyn Consumer>>) -> Result<Vec<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}
