//! The memory for bodies that are being handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use uuid::Uuid;
use wingbeat::bodies::LargeBodies;
use wingbeat::test::TestApp;
use wingbeat::{App, Batch, Handler as _, Parts, Result, Scope, Service, State};

use super::{MINUTE, Scanned, Shelf, scan, scan_of};

/// The size of a document, with some space for the rest of its message.
const SIZE: usize = 4_000;
/// Memory for four documents.
const FOUR: usize = 16 << 10;

/// The bodies that handlers have at the moment, and the most that they had.
#[derive(Clone, Default)]
struct Desk {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    read: Arc<AtomicUsize>,
}

#[derive(Clone, Parts)]
struct Office {
    desk: Desk,
}

impl Desk {
    async fn read(&self, scope: &Scope, bodies: usize) {
        let open = self.open.fetch_add(bodies, Ordering::SeqCst) + bodies;
        self.most.fetch_max(open, Ordering::SeqCst);
        scope.runtime().sleep(Duration::from_secs(1)).await;
        self.open.fetch_sub(bodies, Ordering::SeqCst);
        self.read.fetch_add(bodies, Ordering::SeqCst);
    }
}

async fn read_one(_: Scanned, State(desk): State<Desk>, scope: Scope) -> Result<()> {
    desk.read(&scope, 1).await;
    Ok(())
}

async fn read_all(batch: Batch<Scanned>, State(desk): State<Desk>, scope: Scope) -> Result<()> {
    desk.read(&scope, batch.len()).await;
    Ok(())
}

/// Publishes documents to two services, which read them. Returns the most bodies that were read at
/// the same time.
fn most(memory: usize, batches: bool) -> usize {
    const DOCS: usize = 12;
    let desk = Desk::default();
    let reader = |name| {
        let service = Service::new(name).with_state(Office { desk: desk.clone() });
        if batches {
            service.on(read_all.up_to(DOCS).within(MINUTE / 6))
        } else {
            service.on(read_one.concurrency(DOCS))
        }
    };
    let app = App::new()
        .service(Service::new("docs").on(scan))
        .service(reader("index"))
        .service(reader("archive"));
    let mut bodies = LargeBodies::new(Arc::<Shelf>::default()).memory(memory);
    bodies.threshold = 1 << 10;
    let app = TestApp::start(1, app.large_bodies(Some(bodies)));
    for doc in 0..DOCS {
        app.publish(Uuid::from_u128(7), &scan_of(&doc.to_string(), SIZE));
    }
    app.pass(5 * MINUTE);
    assert_eq!(desk.read.load(Ordering::SeqCst), 2 * DOCS);
    for service in ["index", "archive"] {
        assert_eq!(app.dead_letters(service), 0, "{service}");
    }
    desk.most.load(Ordering::SeqCst)
}

#[test]
fn fetched_bodies_stay_within_the_memory_for_them() {
    assert_eq!(most(FOUR, false), 4);
    assert_eq!(most(SIZE / 2, false), 1, "each is larger than the memory");
    assert_eq!(most(usize::MAX, false), 24, "without a limit");
}

/// A batch is split until its parts fit.
#[test]
fn the_bodies_of_a_batch_stay_within_the_memory_for_them() {
    let limited = most(FOUR, true);
    assert!((2..=4).contains(&limited), "{limited}");
    assert!(most(usize::MAX, true) >= 12, "without a limit");
}
