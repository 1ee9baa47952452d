//! Aggregates whose code changes while their histories stay.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::state::Upcasts;
use wingbeat::test::TestApp;
use wingbeat::{Aggregate, App, Command, JsonSchema, Reads, Repo, Result, Service, schemars};

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "rooms.book", version = 1, key = room)]
struct Book {
    room: String,
}

/// A room as the first release knew it.
mod first {
    use super::*;

    #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Room {
        booked: bool,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Event {
        Booked { guests: u32 },
    }

    impl Aggregate for Room {
        const NAME: &'static str = "room";
        type Id = String;
        type Command = ();
        type Event = Event;
        type Error = ();

        fn decide(&self, (): ()) -> Result<Vec<Event>, ()> {
            Ok(vec![Event::Booked { guests: 2 }])
        }

        fn apply(&mut self, Event::Booked { .. }: &Event) {
            self.booked = true;
        }
    }
}

/// A room that counts its bookings and whose events have another form.
mod second {
    use super::*;

    #[derive(Default, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Room {
        booked: bool,
        /// New, and with a default: the old snapshot could be decoded.
        #[serde(default)]
        pub(super) bookings: u32,
        #[serde(default)]
        pub(super) guests: u32,
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) enum Event {
        Booked { adults: u32, children: u32 },
    }

    impl Aggregate for Room {
        const NAME: &'static str = "room";
        type Id = String;
        type Command = ();
        type Event = Event;
        type Error = ();

        fn decide(&self, (): ()) -> Result<Vec<Event>, ()> {
            Ok(vec![Event::Booked {
                adults: 1,
                children: 1,
            }])
        }

        fn apply(&mut self, Event::Booked { adults, children }: &Event) {
            self.booked = true;
            self.bookings += 1;
            self.guests += adults + children;
        }

        fn upcasts() -> Upcasts<Event> {
            Upcasts::first().then(|first::Event::Booked { guests }| Event::Booked {
                adults: guests,
                children: 0,
            })
        }
    }
}

/// A room whose state has the fields of the second one, and another rule.
mod third {
    use super::*;

    #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Room {
        booked: bool,
        #[serde(default)]
        pub(super) bookings: u32,
        #[serde(default)]
        pub(super) guests: u32,
    }

    impl Aggregate for Room {
        const NAME: &'static str = "room";
        const SNAPSHOT: u32 = 1;
        type Id = String;
        type Command = ();
        type Event = second::Event;
        type Error = ();

        fn decide(&self, (): ()) -> Result<Vec<second::Event>, ()> {
            Ok(Vec::new())
        }

        /// Counts only adults.
        fn apply(&mut self, second::Event::Booked { adults, .. }: &second::Event) {
            self.booked = true;
            self.bookings += 1;
            self.guests += adults;
        }

        fn upcasts() -> Upcasts<second::Event> {
            second::Room::upcasts()
        }
    }
}

/// Two releases of a room that differ in a field of its last booking.
mod within {
    use serde::de::DeserializeOwned;

    use super::*;

    pub(super) trait Last:
        Default + Clone + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
    {
        fn book(&mut self, guests: u32);
    }

    #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    #[schemars(rename = "Last")]
    pub(super) struct Older {
        number: u32,
    }

    impl Last for Older {
        fn book(&mut self, _guests: u32) {
            self.number += 1;
        }
    }

    #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    #[schemars(rename = "Last")]
    pub(super) struct Newer {
        pub(super) number: u32,
        #[serde(default)]
        pub(super) guests: u32,
    }

    impl Last for Newer {
        fn book(&mut self, guests: u32) {
            self.number += 1;
            self.guests = guests;
        }
    }

    #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    #[schemars(rename = "Room")]
    pub(super) struct Room<L> {
        /// `None` in the default, which shows no field of a booking.
        pub(super) last: Option<L>,
    }

    impl<L: Last> Aggregate for Room<L> {
        const NAME: &'static str = "room";
        type Id = String;
        type Command = ();
        type Event = first::Event;
        type Error = ();

        fn decide(&self, (): ()) -> Result<Vec<first::Event>, ()> {
            Ok(vec![first::Event::Booked { guests: 2 }])
        }

        fn apply(&mut self, first::Event::Booked { guests }: &first::Event) {
            self.last.get_or_insert_default().book(*guests);
        }
    }
}

async fn book<A>(command: Book, rooms: Repo<A>) -> Result<()>
where
    A: Aggregate<Id = String, Command = ()>,
{
    let _ = rooms.execute(&command.room, ()).await?;
    Ok(())
}

fn release<A>() -> App
where
    A: Aggregate<Id = String, Command = ()>,
{
    App::new().service(Service::new("rooms").on(book::<A>))
}

fn booked(app: &TestApp, rooms: &[&str]) {
    for room in rooms {
        let room = (*room).to_owned();
        app.publish(Uuid::nil(), &Book { room });
        app.until_idle();
    }
}

fn read(app: &TestApp, room: &str) -> second::Room {
    let reads: Reads = app.reads("rooms");
    let read = app.run(reads.aggregate::<second::Room>(&room.to_owned()));
    read.expect("it can be read").expect("it exists")
}

#[test]
fn a_snapshot_of_an_older_release_is_folded_again_by_readers_and_writers() {
    let mut app = TestApp::start(1, release::<first::Room>());
    booked(&app, &["blue", "blue", "blue", "red"]);
    app.crash(release::<second::Room>());
    assert_eq!(
        (read(&app, "blue").bookings, read(&app, "blue").guests),
        (3, 6)
    );
    let page = app.run(app.reads("rooms").aggregates::<second::Room>(None, 10));
    let bookings = page.expect("all can be read").into_iter();
    let bookings: Vec<_> = bookings.map(|(id, room)| (id, room.bookings)).collect();
    assert_eq!(bookings, [("blue".into(), 3), ("red".into(), 1)]);

    booked(&app, &["blue"]);
    assert_eq!(
        (read(&app, "blue").bookings, read(&app, "blue").guests),
        (4, 8)
    );
    let verified = app.run(
        app.reads("rooms")
            .verify_aggregates::<second::Room>(None, 10),
    );
    let verified = verified.expect("all can be read");
    assert_eq!((verified.checked, verified.differences), (2, vec![]));
}

#[test]
fn a_snapshot_without_a_new_field_within_an_option_is_folded_again() {
    let mut app = TestApp::start(1, release::<within::Room<within::Older>>());
    booked(&app, &["blue"]);
    app.crash(release::<within::Room<within::Newer>>());
    let reads = app.reads("rooms");
    let room = app.run(reads.aggregate::<within::Room<within::Newer>>(&"blue".into()));
    let last = room.unwrap().unwrap().last.unwrap();
    assert_eq!((last.number, last.guests), (1, 2));
}

#[test]
fn a_snapshot_of_another_version_of_apply_is_folded_again() {
    let mut app = TestApp::start(1, release::<second::Room>());
    booked(&app, &["blue", "blue"]);
    app.crash(release::<third::Room>());
    let room = app.run(app.reads("rooms").aggregate::<third::Room>(&"blue".into()));
    assert_eq!(room.unwrap().unwrap().guests, 2);
    // Back again: the release before reads its own shape.
    assert_eq!(read(&app, "blue").guests, 4);
}

#[test]
fn a_state_is_read_as_of_a_time() {
    let app = TestApp::start(1, release::<second::Room>());
    let mut times = Vec::new();
    for _ in 0..3 {
        app.pass(Duration::from_secs(60));
        times.push(app.reads("rooms").runtime().now());
        app.pass(Duration::from_secs(60));
        booked(&app, &["blue"]);
    }
    let now = app.reads("rooms").runtime().now();
    let as_of = |at| {
        let reads = app.reads("rooms");
        let read = app.run(reads.aggregate_as_of::<second::Room>(&"blue".into(), at));
        read.expect("it can be read").map(|room| room.bookings)
    };
    let bookings: Vec<_> = times.into_iter().chain([now]).map(as_of).collect();
    assert_eq!(bookings, [None, Some(1), Some(2), Some(3)]);
}

#[test]
fn what_the_first_release_stored_reads_as_the_current_form() {
    // The golden file: what the first release wrote.
    let stored = include_bytes!("stored/room_booked_1.json");
    let read = second::Room::upcasts().read(stored.trim_ascii()).unwrap();
    let expected = second::Event::Booked {
        adults: 2,
        children: 0,
    };
    assert_eq!(read, expected);
}
