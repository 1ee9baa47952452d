//! A process that only reads a data directory that another process has open.

use std::path::Path;
use std::sync::Arc;

use wingbeat_core::ids::uuid_v7;
use wingbeat_core::store::{Query, Select};
use wingbeat_core::unit::{Append, Row, RowWrite, Write};
use wingbeat_core::{Class, Key, Name, Store, Timestamp, Topology, Unit};
use wingbeat_embedded::{Config, Embedded, Inspector};

const SERVICE: Name = Name::new("inspected");

fn key(table: Name, number: u64) -> Key {
    Key::new(table, number.to_string())
}

/// A unit that writes a record, an event and a row. Bodies are alike, so that they are compressed.
fn unit(table: Name, number: u64) -> Unit {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let id = number << 8 | table.as_str().len() as u64;
    let body = format!(r#"{{"name":"a book","shelf":"upper","number":{number}}}"#);
    Unit {
        writes: vec![Write {
            key: key(table, number),
            body: Some(body.clone().into()),
            due_at: None,
            expires_at: None,
        }],
        appends: vec![Append {
            key: key(table, number),
            sequence: 1,
            at: now,
            body: body.clone().into(),
        }],
        rows: vec![RowWrite {
            view: table,
            key: number.to_string(),
            row: Some(Row {
                columns: vec![(Name::new("shelf"), "upper".into())],
                body: body.into(),
            }),
        }],
        ..Unit::new(uuid_v7(now, id).into(), SERVICE, now)
    }
}

async fn commit(store: &Embedded, table: Name, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let units = Arc::new(vec![unit(table, number)]);
        store.commit(units).await.expect("it commits");
    }
}

async fn found(inspector: &Inspector, table: Name) -> usize {
    let records = inspector.scan(SERVICE, table, None, 1_000).await;
    let records = records.expect("it reads");
    for (id, record) in &records {
        let key = Key::new(table, id.clone());
        let loaded = inspector.load(SERVICE, &key).await.expect("it reads");
        assert_eq!(loaded.as_ref(), Some(record));
        let history = inspector.history(SERVICE, &key, 0).await.expect("it reads");
        assert_eq!(history[0].body, record.body);
        let row = inspector.row(SERVICE, table, id).await.expect("it reads");
        assert_eq!(row.expect("a row").body, record.body);
    }
    let query = Query {
        view: table,
        select: Select::All,
        after: None,
        limit: 1_000,
    };
    let rows = inspector.rows(SERVICE, query).await.expect("it reads");
    assert_eq!(rows.rows.len(), records.len());
    records.len()
}

#[tokio::test]
async fn an_inspector_follows_a_running_store_with_its_new_tables_and_dictionaries() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config::new(directory.path());
    let store = Embedded::open(&config).expect("it opens");
    store
        .prepare(&[SERVICE], &Topology::default())
        .await
        .expect("it prepares");
    let inspector = Inspector::open(&config).expect("beside the running store");
    let (books, records) = (Name::new("books"), Name::new("records"));
    assert_eq!(found(&inspector, books).await, 0);
    for table in [books, records] {
        commit(&store, table, 0..200).await;
        assert_eq!(found(&inspector, table).await, 200);
    }
}

#[tokio::test]
async fn an_inspector_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config::new(directory.path());
    let store = Embedded::open(&config).expect("it opens");
    let inspector = Inspector::open(&config).expect("it opens");
    let units = Arc::new(vec![unit(Name::new("books"), 1)]);
    let refused = inspector.commit(units).await.expect_err("it is refused");
    assert_eq!(
        (refused.code(), refused.class()),
        ("store_read_only", Class::Reject)
    );
    drop(store);
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            let name = entry.file_name();
            std::fs::copy(entry.path(), to.join(name)).expect("copied");
        }
    }
}

#[tokio::test]
async fn inspecting_after_a_crash_leaves_the_log_for_the_next_start() {
    let (directory, crashed) = (tempfile::tempdir(), tempfile::tempdir());
    let (directory, crashed) = (directory.expect("one"), crashed.expect("one"));
    let books = Name::new("books");
    let store = Embedded::open(&Config::new(directory.path())).expect("it opens");
    commit(&store, books, 0..50).await;
    copy(directory.path(), crashed.path()); // As if the process had been killed now.
    let config = Config::new(crashed.path());
    assert!(crashed.path().join("wingbeat.open").exists());
    let inspector = Inspector::open(&config).expect("it opens");
    assert_eq!(found(&inspector, books).await, 50);
    drop(inspector);
    let store = Embedded::open(&config).expect("the log is still there");
    let records = store
        .scan(SERVICE, books, None, 100)
        .await
        .expect("it reads");
    assert_eq!(records.len(), 50);
}

#[tokio::test]
async fn a_directory_without_a_store_is_refused_and_stays_empty() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config::new(directory.path());
    let refused = Inspector::open(&config).err().expect("there is no store");
    assert_eq!(refused.code(), "data_unreadable");
    let entries = std::fs::read_dir(directory.path()).expect("a directory");
    assert_eq!(entries.count(), 0);
}
