//! Personal data in recordings and exports.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::prelude::*;
use wingbeat::story::Story;
use wingbeat::test::TestApp;
use wingbeat::test::replay::Recorded;
use wingbeat::{Name, Personal, Recording, Subjects};

/// Its body has personal data, as the subscription says.
#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "people.enrol", version = 1, key = reader)]
struct Enrol {
    reader: u32,
    name: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "people.greet", version = 1, key = reader)]
struct Greet {
    reader: u32,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "people.forget", version = 1, key = reader)]
struct Forget {
    reader: u32,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "people.greeted", version = 1, key = reader)]
struct Greeted {
    reader: u32,
    has_name: bool,
    same: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct Person {
    name: Personal<String>,
    again: Personal<String>,
}

impl Entity for Person {
    const NAME: &'static str = "person";
    type Id = u32;
}

#[derive(Clone, Serialize, Deserialize)]
struct Letter {
    text: Personal<String>,
}

impl Entity for Letter {
    const NAME: &'static str = "letter";
    type Id = u32;
}

async fn enrol(it: Enrol, subjects: Subjects, people: Table<Person>) -> Result<Greet> {
    let name = subjects.encrypt(&it.reader, &it.name).await?;
    let again = subjects.encrypt(&it.reader, &it.name).await?;
    people.put(&it.reader, Person { name, again })?;
    Ok(Greet { reader: it.reader })
}

/// Decides on the decrypted value, and stores another one.
async fn greet(
    it: Greet,
    subjects: Subjects,
    people: Table<Person>,
    letters: Table<Letter>,
) -> Result<Option<Greeted>> {
    let Some(person) = people.get(&it.reader).await? else {
        return Ok(None);
    };
    let name = subjects.decrypt(&it.reader, &person.name).await?;
    let again = subjects.decrypt(&it.reader, &person.again).await?;
    let text = format!("Dear {}", name.as_deref().unwrap_or("reader"));
    let text = subjects.encrypt(&it.reader, &text).await?;
    letters.put(&it.reader, Letter { text })?;
    Ok(Some(Greeted {
        reader: it.reader,
        has_name: name.is_some(),
        same: name == again,
    }))
}

async fn forget(it: Forget, subjects: Subjects) -> Result<()> {
    subjects.erase(&it.reader).await.map(drop)
}

fn people() -> App {
    let people = Service::new("people");
    App::new().service(people.on(enrol.personal()).on(greet).on(forget))
}

const NAME: &str = "Ada Lovelace-King";

fn enrolled() -> (TestApp, Uuid) {
    let app = TestApp::start(1, people().recording(Recording::all()));
    let story = Uuid::from_u128(9);
    let name = NAME.to_owned();
    app.publish(story, &Enrol { reader: 7, name });
    app.until_idle();
    (app, story)
}

fn export(app: &TestApp, story: Uuid) -> Story {
    let recorded = app.running().recorded(story.into());
    app.run(recorded).expect("the store reads")
}

#[test]
fn an_export_contains_no_personal_value_and_the_code_runs_on_its_masks() {
    let (app, story) = enrolled();
    let exported = export(&app, story);
    let text = String::from_utf8(exported.encode()).expect("JSON");
    assert!(
        !text.contains("Ada") && !text.contains("Lovelace"),
        "{text}"
    );
    let report = Recorded::of(exported).replay(people());
    report.assert_same();
    // The command with the name is withheld; the one after it decrypts its mask.
    assert_eq!((report.replayed, report.skipped.len()), (1, 1), "{report}");
    assert_eq!(report.skipped[0].why, "the message contains personal data");
}

#[test]
fn no_key_of_a_subject_is_recorded() {
    let (app, _) = enrolled();
    let scan = |table| {
        let (store, table) = (&app.running().ports.store, Name::new(table));
        let records = app.run(store.scan(Name::new("people"), table, None, 100));
        records.expect("the store reads")
    };
    let (records, keys) = (scan("wb.recorded"), scan("wb.subject"));
    assert_eq!(records.len(), 2);
    let key = String::from_utf8_lossy(&keys[0].1.body).into_owned();
    let key = key
        .split('"')
        .find(|it| it.len() == 64)
        .expect("a key")
        .to_owned();
    for (_, record) in records {
        let text = String::from_utf8_lossy(&record.body).into_owned();
        assert!(!text.contains(&key) && !text.contains("Ada"), "{text}");
    }
}

#[test]
fn an_export_after_the_erasure_has_nothing_to_mask() {
    let (app, story) = enrolled();
    app.publish(Uuid::from_u128(10), &Forget { reader: 7 });
    app.until_idle();
    let exported = export(&app, story);
    let text = String::from_utf8(exported.encode()).expect("JSON");
    assert!(!text.contains("masked-") && !text.contains("Ada"), "{text}");
    // The code finds the person erased, and says so.
    let report = Recorded::of(exported).replay(people()).to_string();
    assert!(
        report.contains(".has_name: recorded true, now false"),
        "{report}"
    );
}
