//! The records of a story as they were after each step, and its sagas, in the operator's API: in
//! both shapes.
#![allow(
    clippy::disallowed_methods,
    reason = "real stores: their clock is the machine's"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;
use wingbeat::run::ops::operator_routes;
use wingbeat::run::{Backends, Host, Servers};
use wingbeat::tls::TlsFiles;
use wingbeat::{
    Aggregate, App, Command, Entity, Event, JsonSchema, Repo, Result, Saga, SagaEffects, SagaInput,
    Scope, Service, Table, TokioRuntime, Unexpected, run_unit, schemars,
};
use wingbeat_servers::{Postgres, RabbitMq, Redis};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "hotel.booked", version = 1, key = booking)]
struct Booked {
    booking: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "hotel.paid", version = 1, key = booking)]
struct Paid {
    booking: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "hotel.left", version = 1, key = booking)]
struct Left {
    booking: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "hotel.rung", version = 1, key = booking)]
struct Rung {
    booking: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "hotel.overdue", version = 1, key = booking)]
struct Overdue {
    booking: String,
}

/// A record with a history.
#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Room {
    paid: bool,
}

#[derive(Serialize, Deserialize)]
enum Change {
    Taken,
    Paid,
}

impl Aggregate for Room {
    const NAME: &'static str = "room";
    type Id = String;
    type Command = Change;
    type Event = Change;
    type Error = ();

    fn decide(&self, change: Change) -> Result<Vec<Change>, ()> {
        Ok(vec![change])
    }

    fn apply(&mut self, change: &Change) {
        self.paid |= matches!(change, Change::Paid);
    }
}

/// A record without one.
#[derive(Clone, Serialize, Deserialize)]
struct Bell {
    rung: u32,
}

impl Entity for Bell {
    const NAME: &'static str = "bell";
    type Id = String;
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Booked(Booked),
    Paid(Paid),
    Left(Left),
    #[saga(timer)]
    Overdue(Overdue),
}

#[derive(Default, Serialize, Deserialize)]
struct Stay {
    paid: bool,
}

impl Saga for Stay {
    const NAME: &'static str = "stay";
    const STATES: &'static [&'static str] = &["unpaid", "paid"];
    type Input = Input;

    fn state(&self) -> &'static str {
        if self.paid { "paid" } else { "unpaid" }
    }

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Booked(Booked { booking }) => {
                effects.after(Duration::from_secs(3_600), &Overdue { booking });
            }
            // It has no effect: only the journal of sagas notes it.
            Input::Paid(_) => self.paid = true,
            Input::Left(_) | Input::Overdue(_) => {
                effects.end();
            }
        }
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, effects: &mut SagaEffects<Input>) {
        effects.defer();
    }
}

async fn take(event: Booked, rooms: Repo<Room>, bells: Table<Bell>, scope: Scope) -> Result<()> {
    let _ = rooms.execute(&event.booking, Change::Taken).await?;
    ring(&bells, &scope, event.booking).await
}

async fn pay(event: Paid, rooms: Repo<Room>, bells: Table<Bell>, scope: Scope) -> Result<()> {
    let _ = rooms.execute(&event.booking, Change::Paid).await?;
    ring(&bells, &scope, event.booking).await
}

async fn ring(bells: &Table<Bell>, scope: &Scope, booking: String) -> Result<()> {
    let more = |bell: Option<Bell>| Bell {
        rung: bell.map_or(0, |bell| bell.rung) + 1,
    };
    bells.update(&booking, more).await?;
    scope.publish(&Rung { booking })
}

fn hotel() -> App {
    App::new().service(Service::new("hotel").on(take).on(pay).saga::<Stay>())
}

async fn open(servers: Option<&Servers>) -> (Arc<Host>, Backends, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(servers, directory.path(), "hotel", &tls, &runtime).await;
    let backends = opened.expect("it opens");
    let ports = backends.ports.clone();
    let host = Host::start(runtime, ports, Arc::new(hotel), |_| true).await;
    (host.expect("it starts"), backends, directory)
}

async fn ask(host: &Arc<Host>, path: &str) -> (StatusCode, Value) {
    let routes: Router = operator_routes().with_state(Arc::clone(host)).into_router();
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let Ok(response) = routes.oneshot(request).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await;
    let body = serde_json::from_slice(&body.expect("a body"));
    (status, body.unwrap_or_default())
}

/// Returns the items of a list.
async fn items(host: &Arc<Host>, path: &str) -> Vec<Value> {
    let (status, body) = ask(host, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body["items"].as_array().expect("a list").clone()
}

/// Publishes an event into a story.
async fn publish<E: wingbeat::handler::EventMessage + Clone>(
    host: &Arc<Host>,
    story: Uuid,
    event: E,
) {
    let hotel = host.service("hotel").expect("it runs");
    let published = run_unit(&hotel, |scope| {
        let event = event.clone();
        async move {
            scope.correlate(story)?;
            scope.publish(&event)
        }
    });
    published.await.expect("committed");
}

/// Waits until the records of a story satisfy a condition.
async fn records_when(host: &Arc<Host>, story: Uuid, number: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = items(host, &format!("/stories/{story}/records")).await;
        if found.len() >= number {
            return found;
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(60), "{found:#?}, not {number}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the writes of a table: their versions, how their states are known, and the states.
fn writes(records: &[Value], table: &str) -> Vec<(Value, Value, Value)> {
    let mut of_table: Vec<&Value> = records.iter().filter(|it| it["table"] == table).collect();
    of_table.sort_by_key(|it| it["version"].as_u64());
    of_table
        .into_iter()
        .map(|it| {
            (
                it["version"].clone(),
                it["known"].clone(),
                it["state"].clone(),
            )
        })
        .collect()
}

async fn the_past_of_a_story_is_known(servers: Option<&Servers>) {
    let (host, _backends, _directory) = open(servers).await;
    let (story, booking) = (Uuid::from_u128(0x1234), Uuid::from_u128(7).to_string());
    publish(
        &host,
        story,
        Booked {
            booking: booking.clone(),
        },
    )
    .await;
    // The room, the bell and the saga.
    records_when(&host, story, 3).await;
    publish(
        &host,
        story,
        Paid {
            booking: booking.clone(),
        },
    )
    .await;
    let records = records_when(&host, story, 6).await;

    let room = writes(&records, "room");
    let state = |paid: bool| json!({"paid": paid});
    assert_eq!(room[0], (json!(1), json!("history"), state(false)));
    assert_eq!(room[1], (json!(2), json!("history"), state(true)));
    let bell = writes(&records, "bell");
    assert_eq!(bell[0], (json!(1), json!("not_kept"), Value::Null));
    assert_eq!(bell[1], (json!(2), json!("unchanged"), json!({"rung": 2})));
    let moves: Vec<_> = records
        .iter()
        .filter(|it| it["table"] == "saga.stay")
        .map(|it| it["moved_to"].as_str().expect("a state"))
        .collect();
    assert_eq!(moves, ["unpaid", "paid"]);

    // Timelines do not show what the journal notes of records.
    let steps = items(&host, &format!("/stories/{story}")).await;
    let kinds: Vec<_> = steps.iter().map(|it| it["kind"].as_str()).collect();
    assert!(
        kinds.iter().all(|it| matches!(it, Some("event" | "timer"))),
        "{kinds:?}"
    );
    let timer = steps
        .iter()
        .find(|it| it["kind"] == "timer")
        .expect("a timer");
    let start = records
        .iter()
        .find(|it| it["moved_to"] == "unpaid")
        .expect("a start");
    assert_eq!(start["effects"], json!([timer["id"]]));

    the_saga_waits(&host, story, &booking).await;
    publish(
        &host,
        story,
        Left {
            booking: booking.clone(),
        },
    )
    .await;
    records_when(&host, story, 7).await;
    let (_, ended) = ask(&host, &format!("/sagas/hotel/stay/{booking}")).await;
    assert_eq!(
        (&ended["in_state"], &ended["waits_for"]),
        (&json!("ended"), &json!([]))
    );
    host.stop().await;
}

async fn the_saga_waits(host: &Arc<Host>, story: Uuid, booking: &str) {
    let sagas = items(host, "/sagas").await;
    assert_eq!(
        sagas,
        [json!({"service": "hotel", "saga": "stay", "states": {"paid": 1}})]
    );
    for (state, number) in [("paid", 1), ("unpaid", 0), ("ended", 0)] {
        let found = items(host, &format!("/sagas/hotel/stay?in_state={state}")).await;
        assert_eq!(found.len(), number, "{state}");
    }
    let (status, one) = ask(host, &format!("/sagas/hotel/stay/{booking}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&one["in_state"], &one["story"]),
        (&json!("paid"), &json!(story))
    );
    assert_eq!(one["pending"][0]["message"], "hotel.overdue.v1");
    assert!(one["pending"][0]["due_at"].is_string(), "{one}");
    assert_eq!(one["waits_for"], json!(["hotel.paid.v1", "hotel.left.v1"]));
    for missing in [
        "/sagas/hotel/stay/nobody",
        "/sagas/hotel/none/x",
        "/sagas/none/stay/x",
    ] {
        assert_eq!(
            ask(host, missing).await.0,
            StatusCode::NOT_FOUND,
            "{missing}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_of_an_embedded_story_is_known() {
    the_past_of_a_story_is_known(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_of_a_story_on_servers_is_known() {
    let (broker, store, cache) = (RabbitMq::start(), Postgres::start(), Redis::start());
    let servers = Servers {
        broker: broker.url(),
        store: store.url(),
        cache: cache.url(),
        tls: TlsFiles::default(),
    };
    the_past_of_a_story_is_known(Some(&servers)).await;
}
