//! Two replicas whose projection changes from one release to the next under every fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use wingbeat::test::simulator::Report;
use wingbeat::test::{Process, Simulator, System, Violation, World};
use wingbeat::{BoxFuture, Runtime as _, RuntimeExt as _};

use super::*;
use crate::again::{self, fails_without};

/// More than one unit of a walk.
const ORDERS: u64 = 200;

/// A shop whose release changes while orders come.
struct Upgrade {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The version of the release that starts.
    version: AtomicU32,
    deployed: AtomicBool,
}

async fn sell_one(world: &World, number: u64) {
    let (order, cents) = (format!("{:05}", number % ORDERS), number);
    let sold = match number % 3 {
        2 => Sold::Returned,
        _ => Sold::Item { cents },
    };
    world.publish(&Sell { order, sold }).await;
}

async fn sell_until_deployed(world: World, shared: Arc<Shared>) {
    let mut number = 0;
    while !shared.deployed.load(Ordering::SeqCst) {
        number += 1;
        sell_one(&world, number * 7).await;
        world.simulation().sleep(Duration::from_millis(300)).await;
    }
}

/// Deploys version 2, the last release again, and version 2 for good.
async fn deploy(world: World, shared: Arc<Shared>) {
    for (after, next) in [(5, 2), (60, 1), (20, 2)] {
        world.simulation().sleep(Duration::from_secs(after)).await;
        shared.version.store(next, Ordering::SeqCst);
        world.restart("shop", Duration::from_secs(10)).await;
    }
    world.simulation().sleep(Duration::from_secs(10)).await;
    shared.deployed.store(true, Ordering::SeqCst);
    for _ in 0..1_000 {
        world.simulation().sleep(Duration::from_millis(400)).await;
        for running in world.running() {
            let within = world
                .simulation()
                .timeout(Duration::from_secs(5), is_counted(&running));
            if within.await == Some(true) {
                return;
            }
        }
    }
}

/// Returns whether the rows of version 2 are those that all histories fold to.
async fn is_counted(running: &Running) -> bool {
    let Ok(statuses) = running.rebuilds().await else {
        return false;
    };
    let projections = statuses.iter().filter_map(|it| it.projection.as_ref());
    let versions: Vec<_> = projections.map(|it| (it.version, it.shown)).collect();
    let reads = running.reads("shop").expect("it runs");
    let (shown, folded) = (shown(&reads).await.ok(), folded_or_none(running).await);
    versions == [(2, Some(2))] && shown.is_some() && shown == folded
}

/// As [`folded`], or `None` if the store does not answer.
async fn folded_or_none(running: &Running) -> Option<BTreeMap<String, Sales>> {
    let store = &running.ports.store;
    store
        .scan(SHOP, Name::new(Order::NAME), None, 1)
        .await
        .ok()?;
    let folding = std::panic::AssertUnwindSafe(folded::<2>(&**store));
    futures_util::FutureExt::catch_unwind(folding).await.ok()
}

impl System for Upgrade {
    fn new(_: &World) -> Self {
        let shared = Shared {
            version: AtomicU32::new(1),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn processes(&self) -> Vec<Process> {
        let shared = Arc::clone(&self.shared);
        let build = move |_: &_| release(shared.version.load(Ordering::SeqCst));
        vec![Process::new("shop", build).replicas(2)]
    }

    async fn prepare(&self, world: &World) {
        for number in 0..ORDERS {
            sell_one(world, number).await;
        }
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let of = || (world.clone(), Arc::clone(&self.shared));
        let ((a, b), (c, d)) = (of(), of());
        vec![Box::pin(sell_until_deployed(a, b)), Box::pin(deploy(c, d))]
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let mut found = Vec::new();
        for running in world.running() {
            if !is_counted(&running).await {
                let statuses = statuses(&running).await;
                let reads = running.reads("shop").expect("it runs");
                let (shown, folded) = (
                    shown(&reads).await,
                    folded::<2>(&*running.ports.store).await,
                );
                let detail = format!("{shown:?} and not {folded:?}; {statuses:?}");
                found.push(Violation::new("each event counts once", "sales", detail));
            }
            let left = left(&*running.ports.store, 1).await;
            if left != [0; 3] {
                let detail = format!("{left:?}");
                found.push(Violation::new(
                    "the old version is removed",
                    "sales",
                    detail,
                ));
            }
        }
        found
    }
}

fn simulated(seeds: std::ops::Range<u64>) -> Report {
    again::disable();
    Simulator::new()
        .without_minimization()
        .until_failure()
        .run::<Upgrade>(seeds)
}

#[test]
fn two_replicas_count_each_event_once_under_every_fault() {
    simulated(1..25).assert_held();
}

#[test]
fn a_projection_that_stores_rows_without_checkpoints_is_noticed() {
    let guard = "projecting::simulated::two_replicas_count_each_event_once_under_every_fault";
    fails_without("projection-checkpoint", guard);
}
