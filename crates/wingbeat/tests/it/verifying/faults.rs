//! Planted faults, and what a verification finds.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wingbeat::Timestamp;
use wingbeat::ports::{Key, Unit};
use wingbeat::store::Record;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::unit::{Append, Outcome, Row, RowWrite, Write};

use super::*;

/// A kind of data, a table and an id, and the code of what is wrong.
type Found = (&'static str, String, String, &'static str);

/// Plants faults in a store that [`fill`] has filled, and collects what is to be found.
pub(super) struct Planting<'a> {
    store: &'a dyn Store,
    unit: Unit,
    pub(super) expected: Vec<Found>,
}

impl<'a> Planting<'a> {
    fn new(store: &'a dyn Store) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        Self {
            store,
            unit: Unit::new(uuid_v7(now, 7).into(), LIBRARY, now),
            expected: Vec::new(),
        }
    }

    fn expect(&mut self, kind: &'static str, table: &str, id: &str, code: &'static str) {
        let found = (kind, table.to_owned(), id.to_owned(), code);
        self.expected.push(found);
    }

    /// Replaces a record.
    fn record(&mut self, table: &'static str, id: &str, body: &Value) {
        self.unit.writes.push(Write {
            key: Key::new(Name::new(table), id),
            body: Some(body.to_string().into()),
            due_at: None,
            expires_at: None,
        });
    }

    /// Returns the first record of a table.
    async fn first(&self, table: &'static str) -> Value {
        let page = self.store.scan(LIBRARY, Name::new(table), None, 1).await;
        json_of(&page.expect("it reads")[0].1)
    }

    async fn account(&self, id: &str) -> Value {
        let key = Key::new(Name::new("account"), id);
        let loaded = self.store.load(LIBRARY, &key).await;
        json_of(&loaded.expect("it reads").expect("it exists"))
    }

    /// Adds a record of the runtime with a changed field.
    async fn copy(&mut self, table: &'static str, id: &str, field: &str, value: Value) {
        let mut body = self.first(table).await;
        body[field] = value;
        self.record(table, id, &body);
    }

    fn row(&mut self, view: &'static str, key: &str, body: Option<&Value>) {
        let title = |body: &Value| body["title"].as_str().map(str::to_owned);
        let row = body.map(|body| Row {
            columns: title(body)
                .map(|it| (Name::new("title"), it))
                .into_iter()
                .collect(),
            body: body.to_string().into(),
        });
        self.unit.rows.push(RowWrite {
            view: Name::new(view),
            key: key.into(),
            row,
        });
    }

    /// Appends a fourth event, which the snapshot covers.
    async fn event(&mut self, account: &str, event: &Value) {
        self.unit.appends.push(Append {
            key: Key::new(Name::new("account"), account),
            sequence: 4,
            at: self.unit.at,
            body: event.to_string().into(),
        });
        let mut body = self.account(account).await;
        body["v"] = json!(4);
        self.record("account", account, &body);
    }

    fn entities_and_rows(&mut self) {
        self.record("book", "000", &json!({ "pages": 7 }));
        self.expect("entity", "book", "000", "undecodable");
        self.record("book", "001", &json!({ "title": "Panic" }));
        self.expect("entity", "book", "001", "panicked");
        self.row("books", "002", None);
        self.expect("entity", "book", "002", "row_differs");
        self.row("books", "003", Some(&json!({ "title": "Another title" })));
        self.expect("entity", "book", "003", "row_differs");
        self.row("shelves", "002", Some(&json!({ "books": "many" })));
        self.expect("view", "shelves", "002", "undecodable");
        // A row that no record shows is checked as well.
        self.row("books", "left", Some(&json!({ "pages": 7 })));
        self.expect("view", "books", "left", "undecodable");
    }

    async fn aggregates(&mut self) {
        let mut body = self.account("one").await;
        body["s"]["cents"] = json!(11);
        self.record("account", "one", &body);
        self.expect("aggregate", "account", "one", "snapshot_differs");
        let mut body = self.account("two").await;
        body["v"] = json!(9);
        self.record("account", "two", &body);
        self.expect("aggregate", "account", "two", "history_gap");
        self.event("three", &json!({ "Refunded": 1 })).await;
        self.expect("aggregate", "account", "three", "undecodable");
        self.event("four", &json!({ "@form": 3, "event": {} }))
            .await;
        self.expect("aggregate", "account", "four", "unknown_form");
    }

    async fn runtime(&mut self) {
        self.record("saga.loan", "000", &json!({ "state": 7 }));
        self.expect("saga", "saga.loan", "000", "undecodable");
        for (table, id, field, value, code) in [
            ("wb.timer", "a", "body", json!({}), "undecodable"),
            (
                "wb.timer",
                "b",
                "queue",
                json!("library.sold"),
                "unknown_queue",
            ),
            (
                "wb.timer",
                "c",
                "message",
                json!("library.due.v9"),
                "unknown_type",
            ),
            ("wb.call", "a", "body", json!({}), "undecodable"),
            (
                "wb.call",
                "b",
                "name",
                json!("library.sold"),
                "unknown_call",
            ),
            ("wb.parked", "a", "envelope", json!("00"), "undecodable"),
            (
                "wb.parked",
                "b",
                "queue",
                json!("library.sold"),
                "unknown_queue",
            ),
            ("wb.schedule", "a", "tick", json!(7), "undecodable"),
        ] {
            self.copy(table, id, field, value).await;
            self.expect("runtime", table, id, code);
        }
        self.record("wb.dead", "a", &json!({}));
        self.expect("runtime", "wb.dead", "a", "undecodable");
    }
}

fn json_of(record: &Record) -> Value {
    serde_json::from_slice(&record.body).expect("JSON")
}

/// Plants one fault for each thing that can be found, and returns what is to be found.
pub(super) async fn plant(store: &dyn Store) -> Vec<Found> {
    let mut planting = Planting::new(store);
    planting.entities_and_rows();
    planting.aggregates().await;
    planting.runtime().await;
    let units = Arc::new(vec![planting.unit]);
    let outcomes = store.commit(units).await.expect("it commits");
    assert_eq!(outcomes, [Outcome::Committed]);
    planting.expected
}

pub(super) fn assert_found(seen: &Seen, mut expected: Vec<Found>) {
    let found = |it: &Defect| (it.kind, it.table.to_string(), it.id.clone(), it.code);
    let mut all: Vec<Found> = seen.defects.iter().map(found).collect();
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
    let mut by_table = BTreeMap::<_, u64>::new();
    for (kind, table, ..) in expected {
        *by_table.entry((kind, table)).or_default() += 1;
    }
    for done in &seen.done {
        let expected = by_table.get(&(done.kind, done.table.to_string()));
        assert_eq!(done.defects, expected.copied().unwrap_or(0), "{done:?}");
    }
}

#[test]
fn each_planted_fault_is_found_and_nothing_else() {
    let filled = Filled::start();
    let planted = filled.simulation.run(plant(&*filled.model.store));
    assert_found(&filled.verified(&library()), planted);
}
