//! Bodies above the limit of a message are stored apart from it, and reach every subscriber.

mod faults;
mod kept;
mod room;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::app::DeadLetter;
use wingbeat::bodies::LargeBodies;
use wingbeat::bytes::Bytes;
use wingbeat::ports::Bodies;
use wingbeat::test::TestApp;
use wingbeat::{
    App, BoxFuture, Command, Effects, Entity, Error, Event, JsonSchema, Name, Result, Service,
    Table, schemars,
};
use wingbeat_core::bodies::{BodyRef, STORED_MAX, UNAVAILABLE};

const MINUTE: Duration = Duration::from_secs(60);
/// A body of several times the limit of a message.
const LARGE: usize = 3 << 20;
const ARCHIVE: Name = Name::new("archive");
const DOCS: Name = Name::new("docs");
const STORY: Uuid = Uuid::from_u128(7);

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "docs.scan", version = 1, key = doc)]
struct Scan {
    doc: String,
    size: usize,
    /// The delay of the event in seconds; none publishes it at once.
    after: Option<u64>,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "docs.scanned", version = 1, key = doc)]
struct Scanned {
    doc: String,
    pages: String,
}

/// Has the form of a reference to a stored body.
#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "docs.copied", version = 1, key = stored)]
struct Copied {
    #[serde(rename = "wb.body")]
    stored: Imitation,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Imitation {
    day: u32,
    size: u64,
    sha256: String,
}

impl fmt::Display for Imitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("copy")
    }
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "docs.copy", version = 1, key = doc)]
struct Copy {
    doc: String,
}

/// The deliveries of a document to a subscriber.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Received {
    times: u32,
    size: usize,
    is_right: bool,
}

impl Entity for Received {
    const NAME: &'static str = "received";
    type Id = String;
}

/// Returns the pages of a document.
fn pages(doc: &str, size: usize) -> String {
    doc.chars().cycle().take(size).collect()
}

fn scan_of(doc: &str, size: usize) -> Scan {
    Scan {
        doc: doc.into(),
        size,
        after: None,
    }
}

async fn scan(command: Scan) -> Result<Effects> {
    let Scan { doc, size, after } = command;
    let pages = pages(&doc, size);
    let mut effects = Effects::new();
    let id = format!("scan/{doc}");
    let scanned = Scanned { doc, pages };
    match after {
        Some(after) => effects.publish_after(id, Duration::from_secs(after), &scanned),
        None => effects.publish(&scanned),
    };
    Ok(effects)
}

async fn copy(_: Copy) -> Result<Copied> {
    Ok(Copied {
        stored: imitation(),
    })
}

fn imitation() -> Imitation {
    Imitation {
        day: 1,
        size: 7,
        sha256: "ab".repeat(32),
    }
}

async fn receive(event: Scanned, table: Table<Received>) -> Result<()> {
    let Scanned { doc, pages: found } = event;
    let change = |before: Option<Received>| Received {
        times: before.unwrap_or_default().times + 1,
        size: found.len(),
        is_right: found == pages(&doc, found.len()),
    };
    table.update(&doc, change).await?;
    Ok(())
}

async fn receive_copy(event: Copied, table: Table<Received>) -> Result<()> {
    let change = |before: Option<Received>| Received {
        times: before.unwrap_or_default().times + 1,
        size: 0,
        is_right: event.stored.sha256 == imitation().sha256,
    };
    table.update(&"copy".to_owned(), change).await?;
    Ok(())
}

/// The publisher, and two subscribers. The archive refuses all documents while it is full.
fn docs(full: &Arc<AtomicBool>) -> App {
    let full = Arc::clone(full);
    let archive = move |event: Scanned, table: Table<Received>| {
        let full = full.load(Ordering::SeqCst);
        async move {
            if full {
                return Err(Error::reject("full", "the shelves are full"));
            }
            receive(event, table).await
        }
    };
    App::new()
        .service(Service::new("docs").on(scan).on(copy))
        .service(Service::new("index").on(receive).on(receive_copy))
        .service(Service::new("archive").on(archive))
}

/// A store of bodies that can fail.
#[derive(Default)]
struct Shelf {
    bodies: Mutex<BTreeMap<(u32, [u8; 32]), Bytes>>,
    put_fails: AtomicBool,
    get_fails: AtomicBool,
    /// Bodies are stored, and the caller is never answered.
    put_hangs: AtomicBool,
    gets: AtomicUsize,
}

impl Shelf {
    fn count(&self) -> usize {
        self.bodies.lock().expect("nobody panics with it").len()
    }

    /// Replaces the content of every body.
    fn change(&self, change: impl Fn(&Bytes) -> Bytes) {
        let mut bodies = self.bodies.lock().expect("nobody panics with it");
        bodies.values_mut().for_each(|body| *body = change(body));
    }

    fn keep(&self, at: BodyRef, body: Bytes) {
        let mut bodies = self.bodies.lock().expect("nobody panics with it");
        bodies.entry((at.day, at.digest)).or_insert(body);
    }

    fn fails(&self, switch: &AtomicBool) -> Result<()> {
        if switch.load(Ordering::SeqCst) {
            return Err(Error::retry(UNAVAILABLE, "the shelf is locked"));
        }
        Ok(())
    }
}

impl Bodies for Shelf {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.fails(&self.put_fails)?;
            self.keep(at, body);
            if self.put_hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            self.gets.fetch_add(1, Ordering::SeqCst);
            self.fails(&self.get_fails)?;
            let bodies = self.bodies.lock().expect("nobody panics with it");
            Ok(bodies.get(&(at.day, at.digest)).cloned())
        })
    }

    fn sweep(&self, day: u32, _: usize) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            let mut bodies = self.bodies.lock().expect("nobody panics with it");
            let before = bodies.len();
            bodies.retain(|(of, _), _| *of >= day);
            Ok(before - bodies.len())
        })
    }
}

/// The app on a shelf.
struct World {
    app: TestApp,
    shelf: Arc<Shelf>,
    full: Arc<AtomicBool>,
}

impl World {
    fn start() -> Self {
        let (shelf, full) = (Arc::<Shelf>::default(), Arc::<AtomicBool>::default());
        let app = TestApp::start(1, on(&full, &shelf));
        Self { app, shelf, full }
    }

    fn restart(&mut self) {
        let app = on(&self.full, &self.shelf);
        self.app.crash(app);
    }

    fn scan(&self, doc: &str, size: usize) {
        self.app.publish(STORY, &scan_of(doc, size));
    }

    /// Returns what a subscriber has received of a document.
    fn received(&self, service: &str, doc: &str) -> Received {
        let reads = self.app.reads(service);
        let received = self.app.run(reads.entity::<Received>(&doc.to_owned()));
        received.expect("the store reads").unwrap_or_default()
    }

    fn letters(&self, service: Name) -> Vec<DeadLetter> {
        let letters = self.app.run(self.app.running().dead_letters(service));
        letters.expect("the store reads")
    }

    fn retry(&self, service: Name) {
        for letter in self.letters(service) {
            let retried = self.app.running().retry_dead_letter(service, letter.id);
            assert!(self.app.run(retried).expect("it can be retried"));
        }
    }
}

fn on(full: &Arc<AtomicBool>, shelf: &Arc<Shelf>) -> App {
    docs(full).large_bodies(Some(LargeBodies::new(shelf.clone())))
}

/// One document, received whole.
fn once(size: usize) -> Received {
    Received {
        times: 1,
        size,
        is_right: true,
    }
}

#[test]
fn a_large_body_reaches_every_subscriber_and_a_dead_letter_that_is_retried_later() {
    let world = World::start();
    world.full.store(true, Ordering::SeqCst);
    world.scan("a", LARGE);
    world.app.until_idle();
    assert_eq!(world.received("index", "a"), once(LARGE));
    let letters = world.letters(ARCHIVE);
    assert_eq!((letters.len(), &*letters[0].reason), (1, "full"));
    let kept = letters[0].message().expect("it has one").body;
    assert!(BodyRef::of(&kept).is_some(), "{} bytes", kept.len());
    assert_eq!(world.shelf.count(), 1, "both read the same body");
    world.full.store(false, Ordering::SeqCst);
    world.app.pass(10 * MINUTE);
    world.retry(ARCHIVE);
    world.app.until_idle();
    assert_eq!(world.received("archive", "a"), once(LARGE));
    assert!(world.letters(ARCHIVE).is_empty());
}

#[test]
fn a_body_within_the_limit_travels_with_its_message() {
    let world = World::start();
    world.scan("a", 900_000);
    world.app.until_idle();
    assert_eq!(world.received("index", "a"), once(900_000));
    assert_eq!(world.shelf.count(), 0);
}

#[test]
fn a_body_above_the_limit_of_the_store_is_refused() {
    let world = World::start();
    world.scan("a", STORED_MAX);
    world.app.until_idle();
    let letters = world.letters(DOCS);
    assert_eq!(
        (letters.len(), &*letters[0].reason),
        (1, "message_too_large")
    );
    assert_eq!(world.shelf.count(), 0);
}

#[test]
fn without_a_store_the_error_says_what_to_configure() {
    let app = TestApp::start(1, docs(&Arc::default()).large_bodies(None));
    app.publish(STORY, &scan_of("a", LARGE));
    app.until_idle();
    let letters = app.run(app.running().dead_letters(DOCS));
    let letters = letters.expect("the store reads");
    assert_eq!(
        (letters.len(), &*letters[0].reason),
        (1, "message_too_large")
    );
    assert!(
        letters[0].error.contains("--bodies"),
        "{}",
        letters[0].error
    );
}

#[test]
fn a_body_that_looks_like_a_reference_arrives_as_it_is() {
    let world = World::start();
    let doc = "a".to_owned();
    world.app.publish(STORY, &Copy { doc });
    world.app.until_idle();
    assert_eq!(world.received("index", "copy"), once(0));
    assert_eq!(world.shelf.count(), 1, "it travels as a stored body");
}
