//! Personal data and its erasure, with concurrent handlers, crashes and faults.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::prelude::*;
use wingbeat::test::{Faults, TestApp};
use wingbeat::{App, Personal, Subjects};

const STORY: Uuid = Uuid::from_u128(1);
const READER: u32 = 7;

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "library.enrol", version = 1, key = copy)]
struct Enrol {
    reader: u32,
    /// The key, so that commands for one reader run at the same time.
    copy: u32,
    name: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "library.forget", version = 1, key = reader)]
struct Forget {
    reader: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct Card {
    name: Personal<String>,
}

impl Entity for Card {
    const NAME: &'static str = "card";
    type Id = u32;
}

async fn enrol(command: Enrol, subjects: Subjects, cards: Table<Card>) -> Result<()> {
    let name = subjects.encrypt(&command.reader, &command.name).await?;
    cards.put(&command.copy, Card { name })
}

/// Fails for names that begin with `X` until `enrol` is allowed to read them.
async fn enrol_or_fail(command: Enrol, subjects: Subjects, cards: Table<Card>) -> Result<()> {
    if command.name.starts_with("Xx") {
        return Err(wingbeat::Error::reject("refused", "not this one"));
    }
    if command.name.starts_with('X') {
        return Err(wingbeat::Error::retry("unavailable", "not yet"));
    }
    enrol(command, subjects, cards).await
}

async fn forget(command: Forget, subjects: Subjects) -> Result<()> {
    subjects.erase(&command.reader).await?;
    Ok(())
}

fn library() -> App {
    App::new().service(Service::new("library").on(enrol).on(forget))
}

fn enrol_copy(app: &TestApp, copy: u32) {
    let name = format!("Ada {copy}");
    let reader = READER;
    app.publish(STORY, &Enrol { reader, copy, name });
}

/// The names that can be read.
fn names(app: &TestApp) -> Vec<String> {
    let reads = app.reads("library");
    app.run(async {
        let mut names = Vec::new();
        for (_, card) in reads.entities::<Card>(None, 100).await.unwrap() {
            names.extend(reads.personal(&READER, &card.name).await.unwrap());
        }
        names
    })
}

fn cards(app: &TestApp) -> usize {
    let reads = app.reads("library");
    app.run(reads.entities::<Card>(None, 100)).unwrap().len()
}

#[test]
fn concurrent_first_uses_agree_on_one_key() {
    let app = TestApp::start(1, library());
    for copy in 0..20 {
        enrol_copy(&app, copy);
    }
    app.until_idle();
    assert_eq!(names(&app).len(), 20);
}

#[test]
fn a_value_that_comes_after_the_erasure_is_dropped() {
    let app = TestApp::start(1, library());
    app.publish(STORY, &Forget { reader: READER });
    app.until_idle();
    enrol_copy(&app, 1);
    app.until_idle();
    assert_eq!((cards(&app), names(&app).len()), (1, 0));
    assert_eq!(app.dead_letters("library"), 0);
}

/// A parked delivery, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct Parked(serde_json::Value);

impl Entity for Parked {
    const NAME: &'static str = "wb.parked";
    type Id = String;
}

/// A dead letter, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct Dead(serde_json::Value);

impl Entity for Dead {
    const NAME: &'static str = "wb.dead";
    type Id = String;
}

/// Returns all that is readable in the failed deliveries.
fn failures(app: &TestApp) -> String {
    let reads = app.reads("library");
    let parked = app.run(reads.entities::<Parked>(None, 100)).unwrap();
    let dead = app.run(reads.entities::<Dead>(None, 100)).unwrap();
    let all = parked.into_iter().map(|(_, it)| it.0);
    let all = all.chain(dead.into_iter().map(|(_, it)| it.0));
    let text = |record: serde_json::Value| {
        let envelope = record["envelope"].as_str().unwrap();
        let envelope = hex::decode(envelope).unwrap();
        format!("{record} {}", String::from_utf8_lossy(&envelope))
    };
    all.map(text).collect()
}

fn failing_library(personal: bool) -> App {
    let service = Service::new("library").on(forget);
    App::new().service(if personal {
        service.on(enrol_or_fail.personal())
    } else {
        service.on(enrol_or_fail)
    })
}

/// Sends a command that is parked or becomes a dead letter, and returns what is stored of it.
fn failed(app: &TestApp, name: &str) -> String {
    let reader = READER;
    app.publish(
        STORY,
        &Enrol {
            reader,
            copy: READER,
            name: name.into(),
        },
    );
    app.pass(Duration::from_millis(500));
    failures(app)
}

#[test]
fn a_failed_delivery_of_a_personal_message_is_stored_encrypted() {
    for name in ["Xavier", "Xxenia"] {
        let app = TestApp::start(1, failing_library(true));
        let stored = failed(&app, name);
        assert!(stored.contains("wb.encrypted"), "{stored}");
        assert!(!stored.contains(name), "{stored}");
        // The control: without the option the name is readable.
        let app = TestApp::start(1, failing_library(false));
        assert!(failed(&app, name).contains(name));
    }
}

#[test]
fn a_parked_delivery_of_a_personal_message_is_handled_later() {
    let mut app = TestApp::start(1, failing_library(true));
    failed(&app, "Xavier");
    app.crash(library_personal());
    app.pass(Duration::from_secs(60));
    assert_eq!(names(&app), ["Xavier"]);
    assert_eq!(app.dead_letters("library"), 0);
}

fn library_personal() -> App {
    App::new().service(Service::new("library").on(enrol.personal()).on(forget))
}

#[test]
fn a_parked_delivery_of_an_erased_subject_is_discarded() {
    let mut app = TestApp::start(1, failing_library(true));
    failed(&app, "Xavier");
    app.publish(STORY, &Forget { reader: READER });
    app.until_idle();
    app.crash(library_personal());
    app.pass(Duration::from_secs(60));
    assert_eq!((cards(&app), app.dead_letters("library")), (0, 0));
    assert_eq!(failures(&app), "");
}

#[test]
fn no_stored_byte_contains_the_value() {
    let app = TestApp::start(1, library());
    enrol_copy(&app, 1);
    app.until_idle();
    let reads = app.reads("library");
    let stored = app.run(reads.entity::<Card>(&1)).unwrap().unwrap();
    let json = serde_json::to_string(&stored).unwrap();
    assert!(json.starts_with(r#"{"name":{"wb.encrypted":""#), "{json}");
    assert!(!json.contains("Ada"), "{json}");
    assert!(!json.contains(&hex::encode("Ada")), "{json}");
}

#[test]
fn an_erasure_during_faults_leaves_nothing_readable() {
    for seed in 0..50 {
        let mut app = TestApp::start(seed, library());
        app.set_faults(Faults {
            commit_unknown: 100,
            store_unavailable: 50,
            duplicate: 300,
            delay: Duration::from_millis(50),
            ..Faults::default()
        });
        for copy in 0..10 {
            enrol_copy(&app, copy);
            if copy == 5 {
                app.publish(STORY, &Forget { reader: READER });
                app.pass(Duration::from_millis(seed * 3));
                app.crash(library());
            }
        }
        app.pass(Duration::from_secs(600));
        app.set_faults(Faults::default());
        app.until_idle();
        assert_eq!((cards(&app), names(&app)), (10, vec![]), "seed {seed}");
        assert_eq!(app.dead_letters("library"), 0, "seed {seed}");
    }
}
