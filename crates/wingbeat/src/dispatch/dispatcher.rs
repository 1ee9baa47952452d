//! Runs the subscription of one queue: one message at a time for each key, different keys in
//! parallel.
//!
//! A key is free again when its unit is staged. The delivery is acknowledged when the unit is
//! durable. `attempt` handles one piece of work in between, `batch` several at once.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use wingbeat_core::transport::Settler;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Class, Delivery, Tag, Transport, failpoint, sabotage};

use super::attempt::{Attempt, End, Finished};
use super::intake::Intake;
use super::lanes::{Gathering, Lanes};
use super::switch::Switch;
use super::tenancy::Tenancy;
use super::work::{Origin, Stats, Subscription, Work};
use crate::failed::{Failures, stand_in};
use crate::limit::{Flow, RunPlace, Seat, Turn};
use crate::partition::{MARK, Router};
use crate::policy::Rate;
use crate::runtime::Control;
use crate::telemetry::meters::SubscriptionMeter;
use crate::telemetry::{self, Context, Handled, Within};
use crate::unit::{Ended, ServiceContext, TIMERS};

/// The largest number of deliveries in flight at which a subscription that waits for its rate takes
/// due work.
const DUE_MAX: u64 = 512;
/// The pause while the committer is full.
const FULL: Duration = Duration::from_millis(2);

/// Work that runs in its context. Ends with the key that is free when the work is staged, if any.
type Started = Within<BoxFuture<'static, Option<String>>>;

/// What the next run needs.
struct Next {
    seat: Seat,
    turn: Turn,
    /// The rate at which it gets its turn.
    rate: Option<Rate>,
}

impl Next {
    fn new(flow: &Arc<Flow>) -> Self {
        Self {
            seat: Seat::new(Arc::clone(flow)),
            rate: flow.limits().rate,
            turn: Turn::new(flow.limiter()),
        }
    }

    /// Follows the rate. Returns whether it has changed.
    fn follow(&mut self, flow: &Flow) -> bool {
        let rate = flow.limits().rate;
        let changes = self.rate != rate;
        if changes {
            (self.rate, self.turn) = (rate, Turn::new(flow.limiter()));
        }
        changes
    }
}

/// The owner of one queue. It is one task: lanes, deliveries in flight and the intake are its own,
/// so they need no lock.
pub(crate) struct Dispatcher {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Running, paused or draining.
    pub(crate) control: watch::Receiver<Control>,
    /// Timers, parked deliveries and retried dead letters of this subscription that are due.
    pub(crate) due: mpsc::Receiver<Work>,
    /// How many runs there are at the same time, and how often they start.
    pub(crate) flow: Arc<Flow>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) meter: Arc<SubscriptionMeter>,
    /// Moves the messages to partitions, if the subscription has some.
    pub(crate) router: Option<Arc<Router>>,
    /// Pauses the subscription after too many failures, if it has one.
    pub(crate) switch: Option<Arc<Switch>>,
    /// The services of the system. Messages of other sources are counted as foreign.
    pub(crate) family: Arc<BTreeSet<&'static str>>,
}

impl Dispatcher {
    /// Runs until the subscription has drained.
    ///
    /// Each turn starts what may run, then waits for one event. The events are polled in a fixed
    /// order: a pause first, so that no further work starts; then work that has ended, which frees
    /// keys and places; due work before new deliveries, since it has waited longer.
    pub(crate) async fn run(mut self) {
        let (finished, mut finishes) = mpsc::unbounded_channel::<Finished>();
        let mut lanes = Lanes::new(self.gathering()).with_tenancy(self.tenancy());
        let mut intake = self.intake();
        self.meter.start();
        let mut running: FuturesUnordered<Started> = FuturesUnordered::new();
        let mut limits = self.flow.subscribe();
        let mut next = Next::new(&self.flow);
        loop {
            limits.mark_unchanged();
            if next.follow(&self.flow) && intake.limit(self.subscription.prefetch(next.rate)) {
                lanes.clear();
            }
            let control = *self.control.borrow_and_update();
            let runs = control == Control::Running;
            if !runs && intake.is_open() {
                if control == Control::Draining && self.subscription.batch.is_some() {
                    // What has gathered is handled here.
                    self.start_all(&mut lanes, &mut next, &mut running, &finished, true);
                }
                lanes.clear();
            }
            if !runs {
                self.close(&mut intake);
            }
            if control == Control::Draining && running.is_empty() && lanes.in_flight.is_empty() {
                return;
            }
            self.probe(&lanes, &mut intake);
            lanes.release_marks();
            let gathers = self.start_all(&mut lanes, &mut next, &mut running, &finished, !runs);
            lanes.in_flight.publish(&self.stats);
            self.stats
                .limited
                .store(next.turn.is_waiting(), Ordering::Relaxed);
            let pause = gathers.unwrap_or_default();
            let full = self.service.committer.is_full();
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                changed = limits.changed() => if changed.is_err() { return },
                Some(first) = finishes.recv() => {
                    let all = iter::once(first).chain(iter::from_fn(|| finishes.try_recv().ok()));
                    let released = self.finish_all(all, &mut lanes, intake.settler.as_deref());
                    // The broker redelivers released work, and everything after it, to another
                    // consumer.
                    if released && self.close(&mut intake) {
                        lanes.clear();
                    }
                }
                Some(key) = running.next(), if !running.is_empty() => {
                    if let Some(key) = key {
                        lanes.free(&key);
                    }
                }
                Some(work) = self.due.recv(), if runs => {
                    // Work beyond the rate would pile up. Its lease expires, and it comes again.
                    if !next.turn.is_waiting() || lanes.in_flight.len() < DUE_MAX {
                        lanes.take(self.judged(work));
                    }
                }
                () = next.turn.wait() => {}
                () = next.seat.wait() => {}
                () = lanes.next_of_tenant() => {}
                delivered = intake.next(full), if runs => match delivered {
                    Ok(deliveries) => self.take(deliveries, &mut lanes, &intake),
                    Err(_) => self.lose(&mut lanes),
                },
                () = self.service.runtime.sleep(FULL), if full => {}
                () = self.service.runtime.sleep(pause), if gathers.is_some() => {}
            }
        }
    }

    fn intake(&self) -> Intake {
        Intake::new(
            Arc::clone(&self.service),
            Arc::clone(&self.subscription),
            Arc::clone(&self.transport),
            Arc::clone(&self.stats),
            self.subscription.prefetch(self.flow.limits().rate),
        )
    }

    /// Lets the consumer take one delivery at a time while the kill switch probes.
    fn probe(&self, lanes: &Lanes, intake: &mut Intake) {
        let probes = self.switch.as_ref().is_some_and(|it| it.is_half_open());
        if intake.probes && !probes && lanes.in_flight.is_empty() {
            // The next consumer takes as many deliveries as before.
            self.close(intake);
        }
        intake.probes = probes || (intake.probes && intake.is_open());
    }

    /// Closes the consumer. Returns whether there was one.
    fn close(&self, intake: &mut Intake) -> bool {
        if let Some(router) = &self.router {
            router.deactivate();
        }
        intake.close()
    }

    /// Drops what the broker delivers to another consumer since this one was lost.
    fn lose(&self, lanes: &mut Lanes) {
        if let Some(router) = &self.router {
            router.deactivate();
        }
        if self.subscription.policy.keeps_order() {
            lanes.clear();
        }
    }

    fn gathering(&self) -> Option<Gathering> {
        let policy = &self.subscription.policy;
        let batch = self.subscription.batch.as_ref();
        batch.filter(|_| !self.moves()).map(|_| Gathering {
            up_to: policy.up_to,
            within: policy.within,
        })
    }

    fn tenancy(&self) -> Option<Tenancy> {
        let (policy, tenants) = (&self.subscription.policy, self.flow.tenants()?);
        let keeps_order = policy.keeps_order();
        Some(Tenancy::new(tenants, policy.prefetch, keeps_order))
    }

    /// Starts work up to the limits of the subscription; `hurried` includes batches that gather.
    /// If there is room for a batch that gathers, returns the time until it can start.
    fn start_all(
        &self,
        lanes: &mut Lanes,
        next: &mut Next,
        running: &mut FuturesUnordered<Started>,
        finished: &mpsc::UnboundedSender<Finished>,
        hurried: bool,
    ) -> Option<Duration> {
        let now = self.service.runtime.elapsed();
        while let Some(work) = lanes.next_off() {
            running.push(self.start(vec![work], None, finished.clone()));
        }
        let switch = self.switch.as_ref();
        while lanes.is_ready(now, hurried) {
            if switch.is_some_and(|it| it.is_blocked()) {
                next.seat.give_up();
                return None;
            }
            let place = next.seat.take()?;
            if !next.turn.take() {
                next.seat.keep(place);
                return None;
            }
            if switch.is_some_and(|it| !it.may_start()) {
                return None;
            }
            let works = lanes.start(now, hurried)?;
            running.push(self.start(works, Some(place), finished.clone()));
        }
        next.seat.give_up();
        lanes.gathered_at().map(|at| at.saturating_sub(now))
    }

    /// Puts deliveries into the lanes of their keys.
    fn take(&self, deliveries: Vec<Delivery>, lanes: &mut Lanes, intake: &Intake) {
        let settler = intake.settler.as_deref();
        if let Some(router) = &self.router {
            router.activate(intake.consumers);
        }
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
        for Finished { works, end } in all {
            released |= matches!(end, End::Released);
            // The last one first: those that run again go to the front of their lanes.
            for work in works.into_iter().rev() {
                self.finish(work, end, lanes, &mut tags);
            }
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
        work.arrived = self.service.runtime.elapsed();
        let kind = &*work.envelope.kind;
        let is_queued = matches!(work.origin, Origin::Queue(_));
        if self.subscription.partition_of.is_some() && is_queued && kind == MARK {
            work.is_mark = true;
            return work;
        }
        work.hopeless = match &work.broken {
            Some(broken) => Some((broken.fault.reason(), broken.why.clone())),
            None if self.takes(&work, kind) => None,
            None => {
                let words = format!("no handler here takes `{kind}`");
                Some((self.subscription.refusal_of(kind), words))
            }
        };
        let per_tenant = self.subscription.policy.per_tenant.as_ref();
        if let Some(per) = per_tenant.filter(|_| work.hopeless.is_none() && !self.moves()) {
            work.tenant = per.tenant(&work.envelope);
        }
        work
    }

    /// Returns whether the messages are moved to partitions.
    fn moves(&self) -> bool {
        self.router.as_ref().is_some_and(|it| it.moves())
    }

    fn takes(&self, work: &Work, kind: &str) -> bool {
        // A delivery must not become a timer because it was parked or dead-lettered.
        if work.timer == Some(false) {
            self.subscription.takes_from_queue(kind)
        } else {
            self.subscription.takes.contains(&kind)
        }
    }

    fn start(
        &self,
        mut works: Vec<Work>,
        place: Option<RunPlace>,
        finished: mpsc::UnboundedSender<Finished>,
    ) -> Started {
        let attempt = Attempt {
            service: Arc::clone(&self.service),
            subscription: Arc::clone(&self.subscription),
            stats: Arc::clone(&self.stats),
            meter: Arc::clone(&self.meter),
            router: self.router.clone(),
            switch: self.switch.clone(),
            family: Arc::clone(&self.family),
            control: self.control.clone(),
            finished,
        };
        let share = works.first_mut().and_then(|work| work.share.take());
        let (first, others) = works.split_first().expect("started work is not empty");
        let context = Context::of(&first.envelope, self.service.runtime.random());
        let handled = Handled {
            service: self.service.name,
            queue: self.subscription.queue,
            message: &first.envelope,
            others: others.iter().map(|it| &it.envelope).collect(),
            system: self.transport.system(),
            timer: matches!(&first.origin, Origin::Due { key, .. } if key.table == TIMERS),
        };
        let span = telemetry::handling(&handled, context.trace);
        let frees = !self.subscription.waits_for_commit() && first.put_off.is_none();
        let key = frees.then(|| first.envelope.key.clone());
        let run = async move {
            attempt.all_until_staged(works).await;
            drop((place, share));
            key
        };
        context.run(span, Box::pin(run))
    }

    /// Settles work whose unit has an outcome, or queues it for another attempt.
    fn finish(&self, work: Work, end: End, lanes: &mut Lanes, tags: &mut Vec<Tag>) {
        let key = self.subscription.waits_for_commit();
        let key = key.then(|| work.envelope.key.clone());
        match end {
            End::Settled(outcome) => Self::settle(work, outcome, lanes, tags),
            // The broker or the store hands it out again.
            End::Released => lanes.in_flight.remove(work.sent),
            End::Again => lanes.push_front(work.again()),
        }
        if let Some(key) = key {
            lanes.free(&key);
        }
    }

    /// Ends work that took effect, and returns the rest to the front of its lane, so that the
    /// messages of a key keep their order.
    fn settle(mut work: Work, outcome: Outcome, lanes: &mut Lanes, tags: &mut Vec<Tag>) {
        let is_duplicate = outcome == Outcome::Duplicate;
        match Ended::from(outcome) {
            // Its record is still to be removed.
            Ended::Done if is_duplicate && work.suspect && !work.known => {
                work.known = true;
                lanes.push_front(work.again());
            }
            Ended::Done => {
                lanes.in_flight.remove(work.sent);
                if let Origin::Queue(tag) = work.origin {
                    tags.push(tag);
                }
            }
            Ended::Stale => {
                work.stale = true;
                lanes.push_front(work.again());
            }
            Ended::Failed(why) if why.class() == Class::Retry => {
                work.failed = Some(why);
                lanes.push_front(work.again());
            }
            Ended::Failed(why) => {
                // The store refuses even the dead letter.
                work.refused += u32::from(work.hopeless.is_some());
                work.hopeless
                    .get_or_insert_with(|| (why.code(), why.to_string()));
                lanes.push_front(work.again());
            }
        }
    }
}
