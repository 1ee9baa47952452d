//! Projections over the histories of an aggregate type, through releases, crashes and traffic.

mod failing;
#[cfg(all(feature = "embedded", feature = "servers"))]
mod replicas;
mod simulated;
mod verified;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::app::RebuildStatus;
use wingbeat::ports::Key;
use wingbeat::prelude::*;
use wingbeat::store::{Query, Store};
use wingbeat::test::TestApp;
use wingbeat::{Changes, Name, PastEvent, Projection, Running, Select};

const SHOP: Name = Name::new("shop");

/// A command that the order decides with the event.
#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "shop.sell", version = 1, key = order)]
struct Sell {
    order: String,
    sold: Sold,
}

/// A stored event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
enum Sold {
    Item { cents: u64 },
    Returned,
}

#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Order {
    events: u64,
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    type Id = String;
    type Command = Sold;
    type Event = Sold;
    type Error = ();

    fn decide(&self, sold: Sold) -> Result<Vec<Sold>, ()> {
        Ok(vec![sold])
    }

    fn apply(&mut self, _: &Sold) {
        self.events += 1;
    }
}

async fn sell(command: Sell, orders: Repo<Order>) -> Result<()> {
    let _ = orders.execute(&command.order, command.sold).await?;
    Ok(())
}

/// The sales at a price: rows that many orders share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sales {
    items: u64,
    cents: u64,
    returned: u64,
}

impl View for Sales {
    const NAME: &'static str = "sales";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![("items", format!("{:08}", self.items))]
    }
}

/// Sales by the last digits of the price, and in each order the price of the last item, so that it
/// can be returned. Version 2 counts all cents twice.
#[derive(Clone, Default, Serialize, Deserialize)]
struct ByPrice<const VERSION: u32> {
    last: Option<u64>,
}

fn bucket(cents: u64) -> String {
    format!("{:02}", cents % 7)
}

impl<const VERSION: u32> Projection for ByPrice<VERSION> {
    type Aggregate = Order;
    type Row = Sales;
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] = &["items"];

    fn project(&mut self, past: &PastEvent<'_, Order>, rows: &mut Changes<Sales>) {
        match *past.event {
            Sold::Item { cents } => {
                self.last = Some(cents);
                rows.update(bucket(cents), move |row| {
                    row.items += 1;
                    row.cents += cents * u64::from(VERSION);
                });
            }
            Sold::Returned => {
                let Some(last) = self.last.take() else { return };
                rows.update(bucket(last), |row| row.returned += 1);
            }
        }
    }
}

/// Returns the rows that all histories fold to, one order after the other.
async fn folded<const VERSION: u32>(store: &dyn Store) -> BTreeMap<String, Sales> {
    let orders = store.scan(SHOP, Name::new(Order::NAME), None, 100_000);
    let mut rows: BTreeMap<String, Sales> = BTreeMap::new();
    for (id, _) in orders.await.expect("the store answers") {
        let key = Key::new(Name::new(Order::NAME), id);
        let mut last = None;
        for stored in store.history(SHOP, &key, 0).await.expect("it answers") {
            let read = Order::upcasts().read(&stored.body);
            match read.expect("it can be read") {
                Sold::Item { cents } => {
                    last = Some(cents);
                    let row = rows.entry(bucket(cents)).or_default();
                    row.items += 1;
                    row.cents += cents * u64::from(VERSION);
                }
                Sold::Returned => {
                    let Some(last) = last.take() else { continue };
                    rows.entry(bucket(last)).or_default().returned += 1;
                }
            }
        }
    }
    rows
}

async fn shown(reads: &Reads) -> Result<BTreeMap<String, Sales>> {
    let listed = reads.rows::<Sales>(Select::All, None, 1_000).await?;
    Ok(listed.rows.into_iter().collect())
}

/// Returns the number of rows in each stored view of a version: rows, checkpoints, notes.
async fn left(store: &dyn Store, version: u32) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, part) in counts.iter_mut().zip(["projected", "progress", "changed"]) {
        let query = Query {
            view: Name::intern(&format!("wb.{part}.sales.{version}")),
            select: Select::All,
            after: None,
            limit: 10_000,
        };
        *count = store
            .rows(SHOP, query)
            .await
            .expect("it answers")
            .rows
            .len();
    }
    counts
}

/// A shop without a projection, or with one of a version.
fn release(version: u32) -> App {
    let shop = Service::new("shop").on(sell);
    App::new().service(match version {
        0 => shop,
        1 => shop.projects::<ByPrice<1>>(),
        _ => shop.projects::<ByPrice<2>>(),
    })
}

fn sell_in(app: &TestApp, orders: std::ops::Range<u64>) {
    for number in orders {
        let (order, cents) = (format!("{number:05}"), number * 13 + 5);
        let sold = match number % 5 {
            4 => Sold::Returned,
            _ => Sold::Item { cents },
        };
        app.publish(Uuid::nil(), &Sell { order, sold });
    }
    app.until_idle();
}

fn store(app: &TestApp) -> &dyn Store {
    &*app.running().ports.store
}

fn rows(app: &TestApp) -> Result<BTreeMap<String, Sales>, &'static str> {
    let shown = app.run(shown(&app.reads("shop")));
    shown.map_err(|why| why.code())
}

async fn statuses(running: &Running) -> Vec<RebuildStatus> {
    running.rebuilds().await.expect("the store answers")
}

fn status(app: &TestApp, version: u32) -> RebuildStatus {
    let all = app.run(statuses(app.running()));
    let mut found = all.into_iter().filter(|it| {
        let projection = it.projection.as_ref();
        projection.is_some_and(|it| it.version == version)
    });
    found.next().expect("the version has a status")
}

fn is_shown(app: &TestApp, version: u32) -> bool {
    let status = status(app, version).projection.expect("a projection");
    status.shown == Some(version)
}

/// Lets time pass until readers see a version, at most ten minutes.
fn until_shown(app: &TestApp, version: u32) {
    for _ in 0..600 {
        if is_shown(app, version) {
            return;
        }
        app.pass(Duration::from_secs(1));
    }
    panic!("it is not shown: {:?}", status(app, version));
}

/// Lets time pass in small steps until some aggregates, but not all, were visited.
fn until_amid(app: &TestApp, version: u32) -> RebuildStatus {
    for _ in 0..60_000 {
        let status = status(app, version);
        if status.records > 0 {
            assert_eq!(status.done, None);
            return status;
        }
        app.pass(Duration::from_millis(10));
    }
    panic!("it does not begin: {:?}", status(app, version));
}

#[track_caller]
fn assert_counted<const VERSION: u32>(app: &TestApp) {
    let folded = app.run(folded::<VERSION>(store(app)));
    assert_eq!(rows(app), Ok(folded));
}

#[test]
fn a_projection_follows_new_events_and_leaves_no_notes() {
    crate::again::disable();
    let app = TestApp::start(1, release(1));
    assert_eq!(rows(&app), Ok(BTreeMap::new()), "a new service is complete");
    for round in 0..4 {
        sell_in(&app, round * 10..round * 10 + 300);
        app.pass(Duration::from_secs(5));
        assert_counted::<1>(&app);
    }
    let [_, progress, changed] = app.run(left(store(&app), 1));
    assert_eq!((progress, changed), (330, 0));
}

#[test]
fn a_projection_without_checkpoints_is_noticed() {
    let guard = "projecting::a_projection_follows_new_events_and_leaves_no_notes";
    crate::again::fails_without("projection-checkpoint", guard);
}

#[test]
fn a_new_projection_counts_the_past_and_refuses_reads_until_then() {
    let mut app = TestApp::start(1, release(0));
    sell_in(&app, 0..400);
    sell_in(&app, 300..320);
    app.crash(release(1));
    for _ in 0..30 {
        assert_eq!(rows(&app), Err("index_incomplete"));
        app.pass(Duration::from_secs(1));
    }
    assert_eq!(status(&app, 1).incomplete, ["sales"]);
    until_shown(&app, 1);
    assert_eq!(status(&app, 1).records, 400);
    assert_counted::<1>(&app);
    sell_in(&app, 0..50);
    app.pass(Duration::from_secs(5));
    assert_counted::<1>(&app);
}

#[test]
fn long_histories_count_over_several_units() {
    let mut app = TestApp::start(1, release(0));
    for _ in 0..300 {
        sell_in(&app, 0..3);
    }
    app.crash(release(1));
    until_shown(&app, 1);
    assert_counted::<1>(&app);
    for _ in 0..200 {
        sell_in(&app, 1..2);
    }
    app.pass(Duration::from_secs(5));
    assert_counted::<1>(&app);
}

#[test]
fn a_new_version_is_built_beside_the_old_rows_while_orders_go_on() {
    for seed in 1..6 {
        let mut app = TestApp::start(seed, release(1));
        sell_in(&app, 0..500);
        app.pass(Duration::from_secs(5));
        let before = rows(&app);
        app.crash(release(2));
        until_amid(&app, 2);
        assert_eq!(rows(&app), before, "readers see the old rows");
        for number in (0..60).rev() {
            let order = number * 9;
            let (order, sold) = (format!("{order:05}"), Sold::Item { cents: number });
            app.publish(Uuid::nil(), &Sell { order, sold });
            app.pass(Duration::from_millis(7));
        }
        until_shown(&app, 2);
        app.pass(Duration::from_secs(10));
        assert_counted::<2>(&app);
        assert_eq!(app.run(left(store(&app), 1)), [0; 3]);
        assert_eq!(app.run(statuses(app.running())).len(), 1);
    }
}

#[test]
fn a_list_by_a_column_of_the_projection_is_in_its_order() {
    let app = TestApp::start(1, release(1));
    sell_in(&app, 0..40);
    app.pass(Duration::from_secs(5));
    let select = |column| Select::Prefix {
        column: Name::new(column),
        prefix: String::new(),
        descending: true,
    };
    let reads = app.reads("shop");
    let listed = app.run(reads.rows::<Sales>(select("items"), None, 100));
    let items = listed.expect("it is complete").rows.into_iter();
    let items: Vec<u64> = items.map(|(_, row)| row.items).collect();
    assert!(
        items.is_sorted_by(|a, b| a >= b) && items.len() == 7,
        "{items:?}"
    );
    let other = app.run(reads.rows::<Sales>(select("cents"), None, 100));
    assert_eq!(other.err().map(|why| why.code()), Some("index_incomplete"));
}

#[test]
fn a_killed_build_continues_at_its_position() {
    let mut app = TestApp::start(1, release(0));
    sell_in(&app, 0..600);
    app.crash(release(1));
    let amid = until_amid(&app, 1);
    app.crash(release(1));
    until_shown(&app, 1);
    let done = status(&app, 1);
    assert_eq!((done.began, done.records), (amid.began, 600));
    assert_counted::<1>(&app);
}

#[test]
fn an_abandoned_version_leaves_nothing() {
    let mut app = TestApp::start(1, release(1));
    sell_in(&app, 0..500);
    app.pass(Duration::from_secs(5));
    let before = rows(&app);
    let old = app.run(left(store(&app), 1));
    app.crash(release(2));
    until_amid(&app, 2);
    let abandon = || app.run(app.running().abandon_projection("shop", "sales"));
    assert!(abandon().expect("it is stored"));
    // Orders go on, and their notes are of no use.
    sell_in(&app, 500..600);
    app.pass(Duration::from_secs(30));
    assert_eq!(app.run(left(store(&app), 2)), [0; 3]);
    assert_eq!(app.run(left(store(&app), 1)), old);
    assert_eq!(rows(&app), before);
    let status = status(&app, 2);
    assert_eq!((status.records, status.began), (0, None));
    assert!(status.projection.expect("a projection").abandoned);
    app.pass(Duration::from_secs(300));
    assert!(is_shown(&app, 1), "it is not built again");
    let resumed = app.run(app.running().resume_projection("shop", "sales"));
    assert!(resumed.expect("it is stored"));
    until_shown(&app, 2);
    assert_counted::<2>(&app);
    assert!(!abandon().expect("it answers"), "readers see it");
}

#[test]
fn a_release_without_the_projection_removes_all_of_it() {
    let mut app = TestApp::start(1, release(1));
    sell_in(&app, 0..600);
    app.pass(Duration::from_secs(5));
    app.crash(release(2));
    until_amid(&app, 2);
    app.crash(release(0));
    app.pass(Duration::from_secs(120));
    for version in [1, 2] {
        assert_eq!(app.run(left(store(&app), version)), [0; 3]);
    }
    let records = store(&app).scan(SHOP, Name::new("wb.projection"), None, 10);
    assert_eq!(app.run(records).expect("it answers"), []);
    assert_eq!(app.run(statuses(app.running())), []);
}

#[test]
fn events_of_a_release_without_the_projection_count_after_a_rollback() {
    let mut app = TestApp::start(1, release(1));
    sell_in(&app, 0..300);
    app.pass(Duration::from_secs(5));
    app.crash(release(0));
    sell_in(&app, 200..400); // Nobody notes them.
    app.crash(release(1));
    let status = status(&app, 1).projection.expect("a projection");
    assert_eq!(status.shown, Some(1), "readers see the rows so far");
    app.pass(Duration::from_secs(120));
    assert_counted::<1>(&app);
}

#[test]
fn a_rollback_abandons_the_newer_version_and_counts_its_events() {
    let mut app = TestApp::start(1, release(1));
    sell_in(&app, 0..600);
    app.pass(Duration::from_secs(5));
    app.crash(release(2));
    until_amid(&app, 2);
    sell_in(&app, 500..700);
    app.crash(release(1));
    app.pass(Duration::from_secs(120));
    assert_counted::<1>(&app);
    assert_eq!(app.run(left(store(&app), 2)), [0; 3]);
}
