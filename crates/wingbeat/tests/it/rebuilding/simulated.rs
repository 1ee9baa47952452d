//! Two replicas that change from one release to the next under every fault.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use wingbeat::test::simulator::Report;
use wingbeat::test::{Process, Simulator, System, Violation, World};
use wingbeat::{BoxFuture, Runtime as _, RuntimeExt as _};

use super::*;
use crate::again::{self, fails_without};

/// More than one page.
const BOOKS: u32 = 150;

/// A library whose release changes while books change.
struct Upgrade {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The release that starts.
    release: AtomicU8,
    /// A release without the column replaces one that has it: the replicas of the latter notice it
    /// within five seconds.
    back: AtomicBool,
    done: AtomicBool,
    found: Mutex<Vec<Violation>>,
}

fn next_release(release: u8) -> App {
    let library = Service::new("library");
    App::new().service(match release {
        TITLE => library.on(put_book::<TITLE>),
        // The target is how a replica of this release is recognized.
        _ => library
            .on(put_book::<YEAR>)
            .target("year", TargetPolicy::default()),
    })
}

async fn write(world: &World, number: u32, year: u32) {
    let (book, title) = (format!("{number:04}"), format!("Title {number}"));
    world.publish(&Put { book, title, year }).await;
}

/// Changes books until all lists are complete.
async fn change_books(world: World, shared: Arc<Shared>) {
    let mut year = 0;
    while !shared.done.load(Ordering::SeqCst) {
        year += 1;
        for number in [year % BOOKS, year * 7 % BOOKS] {
            write(&world, number, year).await;
        }
        world.simulation().sleep(Duration::from_millis(300)).await;
    }
}

/// Deploys the next release, the last one again, and the next one for good.
async fn deploy(world: World, shared: Arc<Shared>) {
    for (after, next) in [(5, YEAR), (60, TITLE), (5, YEAR)] {
        world.simulation().sleep(Duration::from_secs(after)).await;
        shared.back.store(next == TITLE, Ordering::SeqCst);
        shared.release.store(next, Ordering::SeqCst);
        world.restart("library", Duration::from_secs(15)).await;
    }
    list_books(world, shared, 20).await;
}

/// Lists the books by year in each replica, until all of them have answered so many times.
async fn list_books(world: World, shared: Arc<Shared>, times: u32) {
    let mut complete = 0;
    for _ in 0..1_000 {
        world.simulation().sleep(Duration::from_millis(400)).await;
        let mut refused = false;
        for running in world.running() {
            if running.targets.is_empty() || shared.back.load(Ordering::SeqCst) {
                refused = true;
                continue;
            }
            let reads = running.reads("library").expect("it runs");
            let listed = by::<YEAR>(&reads, "year");
            let within = world.simulation().timeout(Duration::from_secs(5), listed);
            match within.await {
                Some(Ok(listed)) if listed.len() != BOOKS as usize => {
                    let detail = format!("{} of {BOOKS} books", listed.len());
                    let violation = Violation::new("a list is complete", "year", detail);
                    shared.found.lock().expect("no panic").push(violation);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => refused = true,
            }
        }
        complete = if refused { 0 } else { complete + 1 };
        if complete == times {
            break;
        }
    }
    shared.done.store(true, Ordering::SeqCst);
}

impl System for Upgrade {
    fn new(_: &World) -> Self {
        let shared = Shared {
            release: AtomicU8::new(TITLE),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn processes(&self) -> Vec<Process> {
        let shared = Arc::clone(&self.shared);
        let build = move |_: &_| next_release(shared.release.load(Ordering::SeqCst));
        vec![Process::new("library", build).replicas(2)]
    }

    async fn prepare(&self, world: &World) {
        for number in 0..BOOKS {
            write(world, number, 0).await;
        }
        while world.entities::<Book<TITLE>>("library").len() < BOOKS as usize {
            world.simulation().sleep(Duration::from_millis(100)).await;
        }
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let of = || (world.clone(), Arc::clone(&self.shared));
        let ((a, b), (c, d), (e, f)) = (of(), of(), of());
        vec![
            Box::pin(change_books(a, b)),
            Box::pin(deploy(c, d)),
            // During the upgrade as well.
            Box::pin(async move {
                let looks = list_books(e.clone(), f, u32::MAX);
                let _ = e.simulation().timeout(Duration::from_secs(80), looks).await;
            }),
        ]
    }

    fn while_running(&self, _: &World) -> Vec<Violation> {
        std::mem::take(&mut *self.shared.found.lock().expect("no panic"))
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let mut found = Vec::new();
        for running in world.running() {
            for it in rebuilds(&running).await {
                if it.done.is_none() {
                    let detail = format!("{it:?}");
                    found.push(Violation::new("the rebuild is done", "book", detail));
                }
            }
            let reads = running.reads("library").expect("it runs");
            let verified = reads.verify_entities::<Book<YEAR>>(None, 1_000).await;
            for it in verified.expect("the store answers").differences {
                found.push(Violation::new("rows are current", it.id, it.description));
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
fn two_replicas_fill_a_new_column_under_every_fault() {
    simulated(1..60).assert_held();
}

#[test]
fn a_rebuild_that_ends_before_its_last_page_is_noticed() {
    let guard = "rebuilding::simulated::two_replicas_fill_a_new_column_under_every_fault";
    fails_without("rebuild-last", guard);
}
