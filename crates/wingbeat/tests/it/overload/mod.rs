//! Overload: requests are refused by priority, and accepted again without help.

mod backlog;
#[cfg(all(feature = "host", feature = "embedded"))]
mod embedded;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wingbeat::http::{Json, Problem, Reply, Routes, accepted, get, no_content, ok, plain, post};
use wingbeat::overload::{Level, Overload, Priority, Probe, Resource, Watermark, Watermarks};
use wingbeat::test::TestApp;
use wingbeat::{
    App, Effects, Entity, Event, JsonSchema, Reads, Result, Scope, Service, Table, Uuid, schemars,
};

use crate::refusing::Log;

/// A machine whose readings the test sets.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Arc<[AtomicU64; 2]>);

impl Gauges {
    fn memory(&self, percent: u64) {
        self.0[0].store(percent, Ordering::SeqCst);
    }

    fn disk(&self, free: u64) {
        self.0[1].store(free, Ordering::SeqCst);
    }
}

impl Probe for Gauges {
    fn memory_percent(&self) -> Option<u64> {
        Some(self.0[0].load(Ordering::SeqCst))
    }

    fn disk_free(&self) -> Option<u64> {
        match self.0[1].load(Ordering::SeqCst) {
            0 => None,
            free => Some(free),
        }
    }
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "songs.voted", version = 1, key = song)]
struct Voted {
    song: String,
}

/// An hour after a vote.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "songs.hour_passed", version = 1, key = song)]
struct HourPassed {
    song: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Votes {
    counted: u32,
    hours: u32,
}

impl Entity for Votes {
    const NAME: &'static str = "votes";
    type Id = String;
}

const ALL: &str = "all";

async fn vote(Json(vote): Json<Voted>, scope: Scope) -> Result<Reply, Problem> {
    scope.publish(&vote)?;
    Ok(accepted(&vote))
}

async fn withdraw() -> Result<Reply, Problem> {
    Ok(no_content())
}

async fn show(reads: Reads) -> Result<Reply, Problem> {
    let votes = reads.entity::<Votes>(&ALL.to_owned()).await?;
    Ok(ok(&votes.unwrap_or_default()))
}

async fn count(vote: Voted, votes: Table<Votes>) -> Result<Effects> {
    let all = ALL.to_owned();
    let counted = votes.update(&all, |known| {
        let votes = known.unwrap_or_default();
        Votes {
            counted: votes.counted + 1,
            ..votes
        }
    });
    counted.await?;
    let mut effects = Effects::new();
    let passed = HourPassed { song: vote.song };
    effects.publish_after(&passed.song, Duration::from_secs(3_600), &passed);
    Ok(effects)
}

async fn note(_: HourPassed, votes: Table<Votes>) -> Result<()> {
    let all = ALL.to_owned();
    let noted = votes.update(&all, |known| {
        let votes = known.unwrap_or_default();
        Votes {
            hours: votes.hours + 1,
            ..votes
        }
    });
    noted.await.map(drop)
}

/// The path of a route of each priority, from the first to be refused to the one that never is.
const PATHS: [(&str, &str); 4] = [
    ("POST", "/crowd"),
    ("POST", "/votes"),
    ("GET", "/votes"),
    ("POST", "/withdraw"),
];

/// A service with a route of each priority, and a subscription.
fn songs() -> App {
    let routes = Routes::new()
        .route("/crowd", post(vote).priority(Priority::Low))
        .route("/votes", post(vote))
        .route("/votes", get(show))
        .route(
            "/withdraw",
            plain::post(withdraw).priority(Priority::Essential),
        );
    App::new().service(Service::new("songs").routes(routes).on(count).on(note))
}

/// The name of the subscription.
const SUBSCRIPTION: &str = "voted";

fn overload(watermarks: Watermarks, gauges: &Gauges) -> Overload {
    Overload::new(watermarks, Arc::new(gauges.clone()))
}

fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    request
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

fn of_song() -> String {
    r#"{"song":"Ode to Joy"}"#.to_owned()
}

/// Returns which of [`PATHS`] are refused.
fn refused(app: &TestApp) -> Vec<bool> {
    let asked = PATHS.map(|(method, path)| {
        let body = if path == "/withdraw" {
            String::new()
        } else {
            of_song()
        };
        let answer = app.send(request(method, path, &body));
        if answer.status() != 503 {
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            return false;
        }
        let problem: Value = serde_json::from_slice(answer.body()).expect("a problem");
        assert_eq!(problem["code"], "overloaded", "{path}");
        let pause = answer.headers()[header::RETRY_AFTER].to_str();
        let pause: u64 = pause.expect("a text").parse().expect("seconds");
        assert!((2..12).contains(&pause), "{path}: {pause}");
        true
    });
    asked.to_vec()
}

/// The time within which a new reading of the machine takes effect.
const NOTICED: Duration = Duration::from_secs(1);

const MEMORY: [(u64, u8); 13] = [
    (84, 0),
    (85, 1),
    (76, 1),
    (90, 2),
    (86, 2),
    (95, 3),
    (91, 3),
    (89, 2),
    (84, 1),
    (76, 1),
    (75, 0),
    (84, 0),
    (99, 3),
];

/// Returns the classes that are refused at each reading of the memory.
fn by_memory(app: &TestApp, gauges: &Gauges) -> Vec<Vec<bool>> {
    let readings = MEMORY.iter().map(|(percent, _)| {
        gauges.memory(*percent);
        app.pass(NOTICED);
        refused(app)
    });
    readings.collect()
}

/// The classes that are to be refused at each reading.
fn expected() -> Vec<Vec<bool>> {
    let classes = |level: u8| (1..=4).map(|class| class <= level.min(3)).collect();
    MEMORY.iter().map(|(_, level)| classes(*level)).collect()
}

#[test]
fn each_level_refuses_one_more_class_and_recovers_at_the_low_watermark() {
    let gauges = Gauges::default();
    let watched = overload(Watermarks::default(), &gauges);
    let app = TestApp::start(1, songs().shedding(watched.clone()));
    assert_eq!(by_memory(&app, &gauges), expected());
    assert_eq!(watched.level(), Level::Three);

    // The control: an app that never refuses.
    let app = TestApp::start(1, songs());
    assert_ne!(by_memory(&app, &gauges), expected());
}

#[test]
fn a_full_disk_refuses_writes_and_no_reads() {
    let gauges = Gauges::default();
    let app = songs().shedding(overload(Watermarks::default(), &gauges));
    let app = TestApp::start(2, app);
    for (free, classes) in [
        (513 << 20, [false; 4]),
        (512 << 20, [true, false, false, false]),
        (384 << 20, [true, true, false, false]),
        (1, [true, true, false, false]),
        (767 << 20, [true, false, false, false]),
        (768 << 20, [false; 4]),
    ] {
        gauges.disk(free);
        app.pass(NOTICED);
        assert_eq!(refused(&app), classes, "{free} bytes");
    }
}

#[test]
fn a_refused_request_is_not_parsed() {
    let gauges = Gauges::default();
    let app = songs().shedding(overload(Watermarks::default(), &gauges));
    let app = TestApp::start(3, app);
    let status = || {
        app.send(request("POST", "/crowd", "no JSON"))
            .status()
            .as_u16()
    };
    app.pass(NOTICED);
    assert_eq!(status(), 400);
    gauges.memory(86);
    app.pass(NOTICED);
    assert_eq!(status(), 503);
}

#[test]
fn accepted_work_goes_on_while_everything_new_is_refused() {
    let gauges = Gauges::default();
    let watched = overload(Watermarks::default(), &gauges);
    let app = TestApp::start(4, songs().shedding(watched.clone()));
    let body = of_song();
    assert_eq!(app.send(request("POST", "/votes", &body)).status(), 202);
    gauges.memory(100);
    app.pass(NOTICED);
    assert_eq!(app.send(request("POST", "/votes", &body)).status(), 503);
    // What others publish is accepted work, too.
    let song = "Hey Jude".to_owned();
    app.publish(Uuid::from_u128(1), &Voted { song });
    app.until_idle();
    assert_eq!(watched.level(), Level::Three);
    let votes = app.run(app.reads("songs").entity::<Votes>(&ALL.to_owned()));
    let votes = votes.expect("the store reads").expect("a record");
    assert_eq!((votes.counted, votes.hours), (2, 2));
}

#[test]
fn each_change_of_the_level_is_logged_once_with_its_cause() {
    let (log, _recording) = Log::start();
    let gauges = Gauges::default();
    let app = songs().shedding(overload(Watermarks::default(), &gauges));
    let app = TestApp::start(5, app);
    let change = |percent, seconds| {
        gauges.memory(percent);
        app.pass(Duration::from_secs(seconds));
        drop(refused(&app));
        let lines = |level| log.count(&[level, "cause=\"memory\"", "reading="]);
        (lines("WARN"), lines("INFO"))
    };
    assert_eq!(change(80, 60), (0, 0));
    assert_eq!(change(85, 60), (1, 0));
    assert_eq!(change(86, 60), (1, 0));
    assert_eq!(change(92, 60), (2, 0));
    assert_eq!(change(80, 60), (2, 1));
    assert_eq!(change(70, 60), (2, 2));
    assert_eq!(log.count(&["reading=92", "high=85", "low=75"]), 1);
}

#[test]
fn a_resource_without_a_watermark_refuses_nothing() {
    let gauges = Gauges::default();
    let watched = overload(Watermarks::off(), &gauges);
    let app = TestApp::start(6, songs().shedding(watched.clone()));
    gauges.memory(100);
    app.pass(NOTICED);
    assert_eq!(refused(&app), [false; 4]);
    assert_eq!(watched.readings(), []);
}
