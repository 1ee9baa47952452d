//! The gauges that a scrape reads: from memory, from the store, and from the broker. A source that
//! does not answer in time is left out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::condition::KINDS;
use super::page::Page;
use crate::promise::PromiseEnd;
use crate::rebuild::RebuildStatus;
use crate::run::host::Host;
use crate::run::system::RunningSystem;
use crate::store::{Backlog, Waiting};
use crate::{Name, Running, RuntimeExt as _, Timestamp, saga};
use futures_util::future::{join, join_all};

/// The longest wait for store and broker. Scrapers usually wait for ten seconds.
const WITHIN: Duration = Duration::from_secs(1);

/// Reads all gauges into the page.
pub(super) async fn look(host: &Host, page: &mut Page) {
    let system = host.snapshot();
    let runtime = &system.ports.runtime;
    for running in &system.running {
        own(running, runtime.now(), page);
    }
    let (of_store, of_broker) = join(
        runtime.timeout(WITHIN, of_store(&system)),
        runtime.timeout(WITHIN, of_broker(&system)),
    )
    .await;
    let told = |answers: usize, all: usize| f64::from(u8::from(answers == all));
    let parts = of_store.unwrap_or_default();
    let complete = told(parts.len(), system.services().len());
    page.gauge("wingbeat_scrape_complete", &[("part", "store")], complete);
    for part in &parts {
        part.tell(&system, page);
    }
    let depths = of_broker.unwrap_or_default();
    let queues = system.running.iter().map(|it| it.subscriptions.len());
    let complete = told(depths.len(), queues.sum());
    page.gauge("wingbeat_scrape_complete", &[("part", "broker")], complete);
    for (labels, waiting) in depths {
        page.gauge("wingbeat_messaging_waiting", &labels, waiting as f64);
    }
}

type Labels = [(&'static str, &'static str); 2];

/// Adds the gauges that this process keeps in memory.
fn own(running: &Running, now: Timestamp, page: &mut Page) {
    for one in &running.subscriptions {
        let labels: Labels = [
            ("service", one.service.as_str()),
            ("subscription", one.name()),
        ];
        let in_flight = one.stats.in_flight.load(Ordering::Relaxed);
        let oldest = one.stats.oldest.load(Ordering::Relaxed);
        let age = match oldest {
            0 => Duration::ZERO,
            sent => now.since(Timestamp::from_micros(sent)),
        };
        page.gauge("wingbeat_messaging_in_flight", &labels, in_flight as f64);
        page.gauge(
            "wingbeat_messaging_oldest_seconds",
            &labels,
            age.as_secs_f64(),
        );
    }
    for target in &running.targets {
        let labels = [
            ("service", target.service.as_str()),
            ("target", target.name),
        ];
        page.gauge(
            "wingbeat_breaker_open",
            &labels,
            target.state().0.openness(),
        );
    }
}

/// Returns the depth of each queue that the broker reports.
async fn of_broker(system: &RunningSystem) -> Vec<(Labels, u64)> {
    let subscriptions = system.running.iter().flat_map(|it| &it.subscriptions);
    let asked = subscriptions.map(async |one| {
        let depth = system.ports.transport.depth(one.queue).await.ok()?;
        let labels = [
            ("service", one.service.as_str()),
            ("subscription", one.name()),
        ];
        // The depth includes the deliveries that this process is handling.
        let waiting = depth.saturating_sub(one.stats.in_flight.load(Ordering::Relaxed));
        Some((labels, waiting))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The counters, the backlog and the rebuilds of one service.
struct Kept {
    service: Name,
    counters: Vec<(Name, i64)>,
    backlog: Backlog,
    rebuilds: Vec<RebuildStatus>,
}

/// Returns the counters, backlogs and rebuilds of the services for which the store answers.
async fn of_store(system: &RunningSystem) -> Vec<Kept> {
    let store = &system.ports.store;
    let asked = system.services().into_iter().map(async |service| {
        let now = system.ports.runtime.now();
        let running = system.running.iter();
        let mut running = running.filter(|it| it.services().any(|of| of == service));
        let rebuilds = match running.next() {
            Some(running) => running.rebuilds().await.ok()?,
            None => Vec::new(),
        };
        Some(Kept {
            rebuilds: of(service, rebuilds),
            service,
            counters: store.counters(service).await.ok()?,
            backlog: store.backlog(service, now).await.ok()?,
        })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Returns the rebuilds of one service.
fn of(service: Name, mut all: Vec<RebuildStatus>) -> Vec<RebuildStatus> {
    all.retain(|it| it.service == service);
    all
}

impl Kept {
    fn tell(&self, system: &RunningSystem, page: &mut Page) {
        let of = ("service", self.service.as_str());
        let outbox = self.backlog.outbox;
        page.gauge("wingbeat_outbox_waiting", &[of], outbox.count as f64);
        page.gauge(
            "wingbeat_outbox_age_seconds",
            &[of],
            outbox.age.as_secs_f64(),
        );
        for (table, kind) in KINDS {
            let labels = [of, ("kind", kind)];
            let due = self
                .backlog
                .due
                .iter()
                .find(|it| it.table.as_str() == table);
            let (pending, overdue) =
                due.map_or((0, Waiting::default()), |due| (due.pending, due.overdue));
            page.gauge("wingbeat_due_pending", &labels, pending as f64);
            page.gauge("wingbeat_due_overdue", &labels, overdue.count as f64);
            let age = overdue.age.as_secs_f64();
            page.gauge("wingbeat_due_overdue_age_seconds", &labels, age);
        }
        let active = || self.rebuilds.iter().filter(|it| it.done.is_none());
        let records: u64 = active().map(|it| it.records).sum();
        let failed = active().filter(|it| it.failure.is_some()).count();
        page.gauge("wingbeat_rebuild_active", &[of], active().count() as f64);
        page.gauge("wingbeat_rebuild_records", &[of], records as f64);
        page.gauge("wingbeat_rebuild_failed", &[of], failed as f64);
        for (saga, state, count) in self.sagas() {
            let labels = [of, ("saga", saga), ("state", state)];
            page.gauge("wingbeat_saga_instances", &labels, count as f64);
        }
        self.promises(system, page);
        let subscriptions = system.running.iter().flat_map(|it| &it.subscriptions);
        let whole = subscriptions.filter(|one| one.partition_of.is_none());
        for one in whole.filter(|one| one.service == self.service) {
            let labels = [of, ("subscription", one.name())];
            let (parked, dead) = (
                self.count("parked", one.queue),
                self.count("dead", one.queue),
            );
            page.gauge("wingbeat_messaging_parked", &labels, parked as f64);
            page.gauge("wingbeat_messaging_dead_letters", &labels, dead as f64);
        }
    }

    /// Adds the promises that the service registers, also those that it has never made.
    fn promises(&self, system: &RunningSystem, page: &mut Page) {
        let of = ("service", self.service.as_str());
        let running = system.running.iter();
        for promise in running.flat_map(|it| it.promises(self.service)) {
            let labels = [of, ("promise", promise.name())];
            page.gauge("wingbeat_promise_objective", &labels, promise.share());
            let made = self.counted(promise.made());
            page.counter("wingbeat_promises_made_total", &labels, made as f64);
            for end in PromiseEnd::ALL {
                let labels = [of, ("promise", promise.name()), ("outcome", end.as_str())];
                let ended = self.counted(promise.ended(end));
                page.counter("wingbeat_promises_ended_total", &labels, ended as f64);
            }
        }
    }

    fn counted(&self, counter: Name) -> i64 {
        let found = self.counters.iter().find(|(name, _)| *name == counter);
        found.map_or(0, |(_, count)| *count)
    }

    fn count(&self, what: &str, queue: Name) -> i64 {
        let is = |name: &str| name.split_once(':') == Some((what, queue.as_str()));
        let found = self.counters.iter().find(|(name, _)| is(name.as_str()));
        found.map_or(0, |(_, count)| *count)
    }

    /// Returns the number of instances for each saga and state.
    fn sagas(&self) -> impl Iterator<Item = (&'static str, &'static str, i64)> {
        let counters = self.counters.iter();
        counters.filter_map(|(name, count)| {
            let (saga, state) = saga::counted(*name)?;
            Some((saga, state, *count))
        })
    }
}
