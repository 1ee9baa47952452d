//! Bodies are compressed, and those of earlier releases stay readable.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use wingbeat::{App, Service, TokioRuntime};
use wingbeat_core::conformance::topology;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{Query, Select};
use wingbeat_core::unit::{Append, Journal, Row, RowWrite, Write};
use wingbeat_core::{CorrelationId, Key, Name, RuntimeExt as _, Store as _, Unit};
use wingbeat_embedded::{Config, Embedded};

use crate::conformance::number;
use crate::setup;

const SERVICE: Name = Name::new("orders");
const TABLE: Name = Name::new("things");
const VIEW: Name = Name::new("list");
const COLUMN: Name = Name::new("owner");

fn key(number: usize) -> Key {
    Key::new(TABLE, format!("{number:04}"))
}

fn body(number: usize) -> Bytes {
    let text = format!(
        r#"{{"owner":"owner {number}","total":{{"amount_minor":{number},"currency":"EUR"}},"lines":[{{"sku":"SKU-{number}","quantity":1}}]}}"#
    );
    Bytes::from(text)
}

fn story(number: usize) -> CorrelationId {
    CorrelationId(uuid::Uuid::from_u128(number as u128))
}

/// Stores one record, event, row and journal entry.
async fn write(store: &Embedded, runtime: &SharedRuntime, number: usize) {
    let mut unit = Unit::new(runtime.id().into(), SERVICE, runtime.now());
    unit.writes.push(Write {
        key: key(number),
        body: Some(body(number)),
        due_at: None,
        expires_at: None,
    });
    unit.appends.push(Append {
        key: key(number),
        sequence: 1,
        at: runtime.now(),
        body: body(number),
    });
    unit.rows.push(RowWrite {
        view: VIEW,
        key: format!("{number:04}"),
        row: Some(Row {
            columns: vec![(COLUMN, format!("owner {number}"))],
            body: body(number),
        }),
    });
    unit.journal = Some(Journal {
        correlation: story(number),
        body: format!("\u{1}................published:orders.thing_made.v1 {number}").into(),
    });
    unit.counts
        .push((Name::new("published:orders.thing_made.v1"), 1));
    let outcomes = store.commit(Arc::new(vec![unit])).await.unwrap();
    assert_eq!(outcomes, [wingbeat_core::unit::Outcome::Committed]);
}

/// Reads all of it back in every way.
async fn check(store: &Embedded, count: usize) {
    let all = store.scan(SERVICE, TABLE, None, count + 1).await.unwrap();
    assert_eq!(all.len(), count);
    for (number, (_, scanned)) in all.iter().enumerate() {
        let record = store.load(SERVICE, &key(number)).await.unwrap().unwrap();
        assert_eq!(
            (&record.body, &scanned.body),
            (&body(number), &body(number))
        );
        let history = store.history(SERVICE, &key(number), 0).await.unwrap();
        assert_eq!(history[0].body, body(number));
        let journal = store.journal(SERVICE, story(number)).await.unwrap();
        assert!(journal[0].ends_with(number.to_string().as_bytes()));
        let row = store.row(SERVICE, VIEW, &format!("{number:04}")).await;
        let columns = vec![(COLUMN, format!("owner {number}"))];
        let expected = Row {
            columns,
            body: body(number),
        };
        assert_eq!(row.unwrap(), Some(expected.clone()));
        let select = Select::Prefix {
            column: COLUMN,
            prefix: format!("owner {number}"),
            descending: false,
        };
        let query = Query {
            view: VIEW,
            select,
            after: None,
            limit: 1,
        };
        let page = store.rows(SERVICE, query).await.unwrap();
        assert_eq!(page.rows[0].1, expected);
    }
}

async fn open(directory: &Path) -> Arc<Embedded> {
    let store = Embedded::open(&Config::new(directory)).unwrap();
    store.prepare(&[SERVICE], &topology()).await.unwrap();
    store
}

/// Turns the file into one of the release before bodies were compressed.
fn make_old(directory: &Path) {
    let file = Connection::open(Config::new(directory).file()).unwrap();
    for table in ["record", "history", "view_row", "journal"] {
        file.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN packed"))
            .unwrap();
    }
    file.execute_batch("DROP TABLE wb_dictionary; PRAGMA user_version = 2")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_the_earlier_layout_and_compressed_ones_are_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let runtime: SharedRuntime = TokioRuntime::new();
    let path = directory.path();
    // Too few bodies for a dictionary.
    let store = open(path).await;
    for number in 0..20 {
        write(&store, &runtime, number).await;
    }
    drop(store);
    make_old(path);

    let store = open(path).await;
    check(&store, 20).await;
    for number in 20..200 {
        write(&store, &runtime, number).await;
    }
    // Some of the old ones are replaced, index entries included.
    for number in 0..10 {
        let mut unit = Unit::new(runtime.id().into(), SERVICE, runtime.now());
        unit.rows.push(RowWrite {
            view: VIEW,
            key: format!("{number:04}"),
            row: Some(Row {
                columns: vec![(COLUMN, format!("owner {number}"))],
                body: body(number),
            }),
        });
        store.commit(Arc::new(vec![unit])).await.unwrap();
    }
    check(&store, 200).await;
    drop(store);
    let store = open(path).await;
    check(&store, 200).await;
    for table in ["record", "history", "view_row", "journal"] {
        let packed = number(path, &format!("SELECT count(packed) FROM {table}"));
        assert!(packed > 100, "{table}: {packed}");
        let sql = format!("SELECT sum(length(body)) / count(*) FROM {table} WHERE packed > 0");
        let size = number(path, &sql);
        let plain = if table == "journal" { 48 } else { 96 };
        assert!(size < plain * 2 / 3, "{table}: {size} bytes");
    }
    // A row that changes its column leaves the index at its old value.
    let mut unit = Unit::new(runtime.id().into(), SERVICE, runtime.now());
    unit.rows.push(RowWrite {
        view: VIEW,
        key: "0150".into(),
        row: None,
    });
    store.commit(Arc::new(vec![unit])).await.unwrap();
    assert_eq!(number(path, "SELECT count(*) FROM view_index"), 199);
}

/// The file may come from a newer release whose layout is the same.
#[tokio::test]
async fn a_timeline_reports_the_entries_that_a_newer_release_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let runtime: SharedRuntime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let ports = setup::ports(Arc::clone(&runtime), &embedded, directory.path());
    let app = App::new().service(Service::new(SERVICE.as_str()));
    let running = app.start(ports).await.unwrap();
    let version_2 = [&[2][..], &7_i64.to_le_bytes(), &[0; 16], b"\xff"].concat();
    for body in [version_2, b"[]".to_vec()] {
        let mut unit = Unit::new(runtime.id().into(), SERVICE, runtime.now());
        unit.journal = Some(Journal {
            correlation: story(7),
            body: body.into(),
        });
        embedded.commit(Arc::new(vec![unit])).await.unwrap();
    }
    let reads = running.reads(SERVICE.as_str()).unwrap();
    let entries = reads.timeline(story(7)).await.unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["unknown", "unknown"]);
    assert!(entries.iter().all(|entry| entry.at.as_micros() == 7));
    assert!(entries[0].name.contains("form 2"), "{}", entries[0].name);
}
