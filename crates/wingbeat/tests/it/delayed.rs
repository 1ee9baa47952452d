//! Delayed messages are published once, at their time, unless they are cancelled.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::test::{Outages, TestApp};
use wingbeat::{
    App, Command, Effects, Entity, Event, JsonSchema, Meta, Result, Service, Table, schemars,
};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "notes.written", version = 1, key = note)]
struct Written {
    note: String,
    /// The delay in hours; none cancels.
    remind_after: Option<u32>,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "notes.due", version = 1, key = note)]
struct Due {
    note: String,
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "notes.shred", version = 1, key = note)]
struct Shred {
    note: String,
}

/// The times that a note was due and shredded, and its correlation ids.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Seen {
    due: u32,
    shredded: u32,
    story: Option<Uuid>,
    caused: bool,
}

impl Entity for Seen {
    const NAME: &'static str = "seen";
    type Id = String;
}

async fn written(event: Written) -> Result<Effects> {
    if event.note == "large" {
        let mut effects = Effects::new();
        let note = "x".repeat(10_000);
        effects.publish_after("large", HOUR, &Due { note });
        return Ok(effects);
    }
    let note = event.note;
    let (reminder, shredder) = (format!("due/{note}"), format!("shred/{note}"));
    let mut effects = Effects::new();
    match event.remind_after {
        Some(hours) => effects
            .publish_after(reminder, HOUR * hours, &Due { note: note.clone() })
            .send_after(shredder, HOUR * (hours + 1), &Shred { note }),
        None => effects.cancel(reminder).cancel(shredder),
    };
    Ok(effects)
}

async fn due(event: Due, meta: Meta, seen: Table<Seen>) -> Result<()> {
    let story = Some(meta.correlation.0);
    let change = |seen: Option<Seen>| {
        let seen = seen.unwrap_or_default();
        Seen {
            due: seen.due + 1,
            story,
            caused: meta.message.is_some(),
            ..seen
        }
    };
    seen.update(&event.note, change).await?;
    Ok(())
}

async fn shred(command: Shred, seen: Table<Seen>) -> Result<()> {
    let change = |seen: Option<Seen>| {
        let seen = seen.unwrap_or_default();
        Seen {
            shredded: seen.shredded + 1,
            ..seen
        }
    };
    seen.update(&command.note, change).await?;
    Ok(())
}

fn notes() -> App {
    App::new().service(Service::new("notes").on(written).on(due).on(shred))
}

fn write(app: &TestApp, note: &str, remind_after: Option<u32>) {
    let note = note.into();
    app.publish(Uuid::from_u128(7), &Written { note, remind_after });
    app.pass(Duration::from_secs(1));
}

/// The number of times that the note was due and shredded.
fn seen(app: &TestApp, note: &str) -> (u32, u32) {
    let seen = app.run(app.reads("notes").entity::<Seen>(&note.to_owned()));
    let seen = seen.expect("the store answers").unwrap_or_default();
    (seen.due, seen.shredded)
}

#[test]
fn a_delayed_message_is_published_at_its_time_over_a_restart() {
    let mut app = TestApp::start(1, notes());
    write(&app, "a", Some(2));
    app.pass(HOUR);
    app.crash(notes());
    app.pass(HOUR - Duration::from_secs(10));
    assert_eq!(seen(&app, "a"), (0, 0));
    app.pass(Duration::from_secs(20));
    assert_eq!(seen(&app, "a"), (1, 0));
    app.pass(HOUR);
    assert_eq!(seen(&app, "a"), (1, 1));
    let one = app.run(app.reads("notes").entity::<Seen>(&"a".into()));
    let one = one.expect("the store answers").expect("it was due");
    assert_eq!(one.story, Some(Uuid::from_u128(7)), "it keeps its story");
}

#[test]
fn a_cancelled_message_is_never_published_and_a_replaced_one_once() {
    let app = TestApp::start(1, notes());
    for note in ["a", "b", "c"] {
        write(&app, note, Some(1));
    }
    write(&app, "a", None);
    write(&app, "b", Some(3));
    app.pass(2 * HOUR);
    assert_eq!(seen(&app, "a"), (0, 0));
    assert_eq!(seen(&app, "b"), (0, 0));
    assert_eq!(seen(&app, "c"), (1, 1));
    write(&app, "c", None); // Too late: nothing happens.
    app.pass(4 * HOUR);
    assert_eq!(seen(&app, "a"), (0, 0));
    assert_eq!(seen(&app, "b"), (1, 1));
    assert_eq!(seen(&app, "c"), (1, 1));
}

#[test]
fn an_outage_at_the_time_delays_the_message() {
    let app = TestApp::start(1, notes());
    write(&app, "a", Some(1));
    app.set_outages(Outages {
        store: true,
        ..Outages::default()
    });
    app.pass(2 * HOUR);
    app.set_outages(Outages::default());
    app.pass(HOUR);
    assert_eq!(seen(&app, "a"), (1, 1));
}

#[test]
fn a_message_that_no_envelope_can_carry_is_refused_when_it_is_delayed() {
    let app = TestApp::start(1, notes());
    write(&app, "large", Some(1));
    assert_eq!(app.dead_letters("notes"), 1);
}
