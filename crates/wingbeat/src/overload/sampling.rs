//! Readings of the resources: of the machine through a probe, of store and broker through their
//! ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, try_join_all};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::Waiting;
use wingbeat_core::{Name, Result, RuntimeExt as _, Store, Timestamp, Transport};

use super::level::Resource;
use super::sources::Oldest;
use super::state::Overload;

/// The pause between two looks at the machine.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The number of looks at the machine for each look at store and broker, which costs more.
const LOOKS: u32 = 6;
/// The longest wait for store and broker. Without an answer the last readings count.
const WITHIN: Duration = Duration::from_secs(2);
/// The age below which messages and records do not count as waiting: they are on their way.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// The number of messages below which their age is no overload: some of them may be stuck.
const LAGGING_FROM: u64 = 1_000;

impl Overload {
    /// Has the backlog of a service watched.
    pub(crate) fn follow_service(&self, service: Name) {
        self.followed().services.insert(service);
    }

    /// Has the queue of a subscription watched.
    pub(crate) fn follow(&self, queue: Name, oldest: Oldest) {
        self.followed().subscriptions.insert(queue, oldest);
    }

    /// Reads all resources repeatedly until its task ends.
    pub(crate) async fn watch(
        self,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        runtime: SharedRuntime,
    ) {
        loop {
            for look in 0..LOOKS {
                let mut readings = self.of_machine();
                if look == 0 && self.watches_waiting() {
                    let (now, all) = (runtime.now(), self.all());
                    let waiting = join(
                        runtime.timeout(WITHIN, of_store(&*store, &all, now)),
                        runtime.timeout(WITHIN, of_broker(&*transport, &all, now)),
                    );
                    let (store, broker) = waiting.await;
                    readings.extend(store.and_then(Result::ok).into_iter().flatten());
                    readings.extend(broker.and_then(Result::ok).into_iter().flatten());
                }
                self.take(&worst_of_each(readings));
                runtime.sleep(LOOK_EVERY).await;
            }
        }
    }

    fn of_machine(&self) -> Vec<(Resource, u64)> {
        let probe = self.probe();
        let memory = probe.memory_percent().map(|it| (Resource::Memory, it));
        let disk = probe.disk_free().map(|it| (Resource::Disk, it));
        memory.into_iter().chain(disk).collect()
    }

    /// Returns whether store and broker are watched.
    fn watches_waiting(&self) -> bool {
        let waiting = [Resource::Backlog, Resource::Queues, Resource::Lag];
        waiting.into_iter().any(|it| self.watches(it))
    }

    fn all(&self) -> All {
        let followed = self.followed();
        let subscriptions = followed.subscriptions.iter();
        All {
            services: followed.services.iter().copied().collect(),
            subscriptions: subscriptions
                .map(|(queue, it)| (*queue, it.clone()))
                .collect(),
        }
    }
}

/// A snapshot of the services and subscriptions that are watched.
struct All {
    services: Vec<Name>,
    subscriptions: Vec<(Name, Oldest)>,
}

/// Returns the largest backlog of a service, and the age of the oldest message in an outbox.
async fn of_store(store: &dyn Store, all: &All, now: Timestamp) -> Result<Vec<(Resource, u64)>> {
    let asked = all.services.iter().map(|it| store.backlog(*it, now));
    let (mut most, mut oldest) = (0, 0);
    for backlog in try_join_all(asked).await? {
        let overdue = backlog.due.iter().map(|due| due.overdue);
        let waiting = overdue.chain([backlog.outbox]).map(late);
        most = most.max(waiting.sum());
        if backlog.outbox.count >= LAGGING_FROM {
            oldest = oldest.max(backlog.outbox.age.as_secs());
        }
    }
    Ok(vec![(Resource::Backlog, most), (Resource::Lag, oldest)])
}

fn late(waiting: Waiting) -> u64 {
    if waiting.age < ON_ITS_WAY {
        return 0;
    }
    waiting.count
}

/// Returns the length of the longest queue, and the age of the oldest message in a long one.
async fn of_broker(
    transport: &dyn Transport,
    all: &All,
    now: Timestamp,
) -> Result<Vec<(Resource, u64)>> {
    let asked = all.subscriptions.iter();
    let depths = try_join_all(asked.map(|(queue, _)| transport.depth(*queue))).await?;
    let longest = depths.iter().copied().max().unwrap_or_default();
    let long = all.subscriptions.iter().zip(depths);
    let long = long.filter(|(_, depth)| *depth >= LAGGING_FROM);
    let oldest = long.filter_map(|((_, oldest), _)| Some(now.since(oldest()?).as_secs()));
    let oldest = oldest.max();
    let lag = (Resource::Lag, oldest.unwrap_or_default());
    Ok(vec![(Resource::Queues, longest), lag])
}

/// Leaves one reading for each resource, the largest.
fn worst_of_each(readings: Vec<(Resource, u64)>) -> Vec<(Resource, u64)> {
    let mut worst = BTreeMap::new();
    for (resource, value) in readings {
        let known = worst.entry(resource).or_insert(value);
        *known = value.max(*known);
    }
    worst.into_iter().collect()
}
