//! Promises, which the units that make and end them count.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::prelude::*;
use wingbeat::test::TestApp;
use wingbeat::{Promise, PromiseEnd, Timestamp};

/// Lamps are mended within a minute.
const MENDED: Promise = Promise::new("mended", Duration::from_secs(60));

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamps.report", version = 1, key = lamp)]
struct Report {
    lamp: u32,
    /// Attempts that fail after the promise was made.
    failures: u32,
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamps.mend", version = 1, key = lamp)]
struct Mend {
    lamp: u32,
    /// The time since it was reported.
    seconds: i64,
}

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

async fn report(command: Report, scope: Scope) -> Result<()> {
    MENDED.make(&scope)?;
    if ATTEMPTS.fetch_add(1, Ordering::Relaxed) < command.failures {
        return Err(Error::retry("dark", "nobody sees the lamp"));
    }
    Ok(())
}

async fn mend(command: Mend, scope: Scope) -> Result<()> {
    let since = scope.now().as_micros() - command.seconds * 1_000_000;
    MENDED.keep(&scope, Timestamp::from_micros(since))
}

fn counted(app: &TestApp) -> (i64, [i64; 4]) {
    let counters = app
        .run(app.reads("lamps").counters())
        .expect("they are read");
    let of = |name| {
        let found = counters.iter().find(|(it, _)| *it == name);
        found.map_or(0, |(_, count)| *count)
    };
    (
        of(MENDED.made()),
        PromiseEnd::ALL.map(|end| of(MENDED.ended(end))),
    )
}

#[test]
fn a_promise_counts_once_however_often_its_unit_is_tried() {
    let lamps = Service::new("lamps").promise(MENDED).on(report).on(mend);
    let app = TestApp::start(1, App::new().service(lamps));
    let id = Uuid::from_u128(1);
    app.publish(
        id,
        &Report {
            lamp: 1,
            failures: 2,
        },
    );
    app.pass(Duration::from_secs(10));
    assert!(
        ATTEMPTS.load(Ordering::Relaxed) > 2,
        "some attempts have failed"
    );
    assert_eq!(counted(&app), (1, [0; 4]));
    for (seconds, ended) in [(60, [1, 0, 0, 0]), (61, [1, 1, 0, 0])] {
        app.publish(id, &Mend { lamp: 1, seconds });
        app.pass(Duration::from_secs(1));
        assert_eq!(counted(&app), (1, ended));
    }
}
