//! Verification of the rows of a projection: rows that differ from its events are found, and events
//! that do not count yet are no defect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wingbeat::Timestamp;
use wingbeat::ports::Unit;
use wingbeat::verify::Step;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::unit::{Outcome, Row, RowWrite};

use super::*;

const ROWS: &str = "wb.projected.sales.1";
const CHECKPOINTS: &str = "wb.progress.sales.1";

/// The number of the next unit that damages something.
static UNITS: AtomicU64 = AtomicU64::new(1);

/// What a verification reports about the projection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The keys and codes of defects.
    pub(super) defects: BTreeMap<String, &'static str>,
    rows: u64,
    rebuilding: bool,
}

pub(super) async fn verified(app: &App, store: Arc<dyn Store>) -> Seen {
    let mut seen = Seen::default();
    let summary = app.verify(store, |step| match step {
        Step::Found(defect) => {
            assert_eq!(
                (defect.kind, defect.table.as_str()),
                ("projection", "sales")
            );
            seen.defects.insert(defect.id, defect.code);
        }
        Step::Done(checked) if checked.kind == "projection" => seen.rows += checked.records,
        Step::Rebuilding(_, table) => seen.rebuilding |= table.as_str() == "sales",
        _ => {}
    });
    let summary = summary.await.expect("the store reads");
    assert_eq!(summary.defects, seen.defects.len() as u64);
    seen
}

fn verified_in(app: &TestApp, version: u32) -> Seen {
    let store = Arc::clone(&app.running().ports.store);
    app.run(verified(&release(version), store))
}

/// Writes a row past the projection, or removes it.
async fn damage(store: &dyn Store, view: &str, key: &str, row: Option<Row>) {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let id = uuid_v7(now, UNITS.fetch_add(1, Ordering::Relaxed));
    let mut unit = Unit::new(id.into(), SHOP, now);
    unit.rows.push(RowWrite {
        view: Name::intern(view),
        key: key.into(),
        row,
    });
    let outcome = store
        .commit(Arc::new(vec![unit]))
        .await
        .expect("it commits");
    assert_eq!(outcome, [Outcome::Committed]);
}

async fn stored(store: &dyn Store, view: &str, key: &str) -> Row {
    let stored = store.row(SHOP, Name::intern(view), key).await;
    stored.expect("it answers").expect("the row is there")
}

/// Replaces a part of a stored row.
async fn replace(store: &dyn Store, (view, key): (&str, &str), from: &str, to: &str) {
    let mut row = stored(store, view, key).await;
    let body = String::from_utf8(row.body.to_vec()).expect("JSON");
    assert!(body.contains(from), "{body}");
    row.body = body.replacen(from, to, 1).into();
    damage(store, view, key, Some(row)).await;
}

/// Damages rows and checkpoints in each way. Returns what must be found.
pub(super) async fn plant(store: &dyn Store) -> BTreeMap<String, &'static str> {
    replace(store, (ROWS, "00"), "\"returned\":", "\"returned\":1").await;
    damage(store, ROWS, "01", None).await;
    let mut row = stored(store, ROWS, "02").await;
    row.columns[0].1 = "00000000".into();
    damage(store, ROWS, "02", Some(row.clone())).await;
    damage(store, ROWS, "stray", Some(row)).await;
    let defects = ["00", "01", "02", "stray"].map(|key| (key.to_owned(), "row_differs"));
    defects.into()
}

#[test]
fn rows_that_differ_from_the_events_that_count_are_found() {
    let app = TestApp::start(1, release(1));
    sell_in(&app, 0..200);
    sell_in(&app, 50..90);
    app.pass(Duration::from_secs(5));
    let rows = rows(&app).expect("they are shown").len() as u64;
    let untouched = Seen {
        rows,
        ..Seen::default()
    };
    assert_eq!(verified_in(&app, 1), untouched);
    let planted = app.run(plant(store(&app)));
    assert_eq!(verified_in(&app, 1).defects, planted);
}

#[test]
fn checkpoints_that_differ_from_their_histories_are_found() {
    let app = TestApp::start(1, release(1));
    sell_in(&app, 0..20);
    app.pass(Duration::from_secs(5));
    app.run(async {
        replace(store(&app), (CHECKPOINTS, "00001"), "\"v\":1", "\"v\":7").await;
    });
    let ahead = [("00001".to_owned(), "history_gap")];
    assert_eq!(verified_in(&app, 1).defects, ahead.into());
    app.run(async {
        replace(store(&app), (CHECKPOINTS, "00001"), "\"v\":7", "\"v\":1").await;
        replace(
            store(&app),
            (CHECKPOINTS, "00002"),
            "\"last\":",
            "\"last\":1",
        )
        .await;
    });
    let forgetful = [("00002".to_owned(), "row_differs")];
    assert_eq!(verified_in(&app, 1).defects, forgetful.into());
}

#[test]
fn events_behind_the_checkpoints_are_no_defect() {
    let app = TestApp::start(1, release(1));
    sell_in(&app, 0..50);
    app.pass(Duration::from_secs(5));
    sell_in(&app, 0..100);
    let folded = app.run(folded::<1>(store(&app)));
    assert_ne!(rows(&app), Ok(folded), "some events do not count yet");
    assert_eq!(verified_in(&app, 1).defects, BTreeMap::new());
}

#[test]
fn a_version_without_rows_is_not_compared() {
    let app = TestApp::start(1, release(1));
    sell_in(&app, 0..10);
    app.pass(Duration::from_secs(5));
    let seen = verified_in(&app, 2);
    assert!(seen.rebuilding, "{seen:?}");
    assert_eq!((seen.rows, seen.defects), (0, BTreeMap::new()));
}

#[test]
fn rows_are_right_at_any_moment_of_a_build() {
    let mut app = TestApp::start(3, release(1));
    sell_in(&app, 0..600);
    app.pass(Duration::from_secs(5));
    app.crash(release(2));
    until_amid(&app, 2);
    let seen = verified_in(&app, 2);
    assert!(seen.rows > 0, "{seen:?}");
    assert_eq!(seen.defects, BTreeMap::new());
}
