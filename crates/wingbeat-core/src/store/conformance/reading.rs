//! Records, histories, views, journal, counters: what was written can be read, and by its owner only.

use std::sync::Arc;

use bytes::Bytes;

use crate::conformance::{Bench, Fixture, LEASE, ORDERS, STOCK, TABLE, key, put, read};
use crate::store::{Page, Position, Query, Select};
use crate::unit::{Append, Journal, Outcome, Row, RowWrite, Write};
use crate::{CorrelationId, Name, RuntimeExt as _, Unit};

const VIEW: Name = Name::new("levels");
const BY_NAME: Name = Name::new("name");
const BY_PRICE: Name = Name::new("price");

pub async fn a_removed_record_is_absent(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench
        .commit(Unit {
            writes: vec![put("a", "1")],
            ..bench.unit()
        })
        .await;
    let removal = Write {
        body: None,
        ..put("a", "")
    };
    let unit = Unit {
        reads: vec![read("a", 1)],
        writes: vec![removal.clone()],
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    assert_eq!(bench.load("a").await, None);
    let scanned = bench
        .store
        .scan(ORDERS, TABLE, None, 10)
        .await
        .expect("a scan");
    assert_eq!(scanned, []);
    let seen = Unit {
        reads: vec![read("a", 1)],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(seen).await,
        Outcome::Stale,
        "its old version is gone"
    );
    let absent = Unit {
        reads: vec![read("a", 0)],
        writes: vec![removal],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(absent).await,
        Outcome::Committed,
        "what is absent can be removed"
    );
    let anew = Unit {
        reads: vec![read("a", 0)],
        writes: vec![put("a", "2")],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(anew).await,
        Outcome::Committed,
        "and put again"
    );
    assert_eq!(bench.load("a").await.expect("it is there").body, "2");
}

fn append(bench: &Bench, sequence: u64, body: &'static str) -> Append {
    Append {
        key: key("a"),
        sequence,
        at: bench.now(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

async fn history(bench: &Bench, after: u64) -> Vec<(u64, Bytes)> {
    let events = bench
        .store
        .history(ORDERS, &key("a"), after)
        .await
        .expect("a history");
    events
        .into_iter()
        .map(|event| (event.sequence, event.body))
        .collect()
}

pub async fn a_history_is_kept_in_order(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let two = Unit {
        appends: vec![append(&bench, 1, "one"), append(&bench, 2, "two")],
        ..bench.unit()
    };
    let third = Unit {
        appends: vec![append(&bench, 3, "three")],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit_all(vec![two, third]).await,
        [Outcome::Committed; 2]
    );
    let events = [
        (1, Bytes::from("one")),
        (2, Bytes::from("two")),
        (3, Bytes::from("three")),
    ];
    assert_eq!(history(&bench, 0).await, events);
    assert_eq!(history(&bench, 2).await, events[2..]);
    assert_eq!(history(&bench, 3).await, []);
    let other = bench
        .store
        .history(ORDERS, &key("b"), 0)
        .await
        .expect("a history");
    assert_eq!(other, []);
}

pub async fn a_conflicting_append_is_refused(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let first = Unit {
        appends: vec![append(&bench, 1, "one")],
        ..bench.unit()
    };
    assert_eq!(bench.commit(first).await, Outcome::Committed);
    let appends = vec![append(&bench, 1, "other"), append(&bench, 2, "two")];
    let rival = Unit {
        appends,
        writes: vec![put("b", "x")],
        ..bench.unit()
    };
    let outcomes = bench
        .commit_all(vec![
            rival,
            Unit {
                writes: vec![put("c", "x")],
                ..bench.unit()
            },
        ])
        .await;
    assert_eq!(outcomes, [Outcome::Stale, Outcome::Committed]);
    assert_eq!(history(&bench, 0).await, [(1, Bytes::from("one"))]);
    assert_eq!(bench.load("b").await, None);
}

pub async fn empty_and_large_bodies_come_back(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let large = Bytes::from(
        (0..256 * 1024)
            .map(|n: u32| n.to_le_bytes()[0])
            .collect::<Vec<_>>(),
    );
    for (id, body) in [("empty", Bytes::new()), ("large", large)] {
        let mut unit = bench.unit();
        unit.writes.push(Write {
            body: Some(body.clone()),
            ..put(id, "")
        });
        unit.appends.push(Append {
            key: key(id),
            sequence: 1,
            at: unit.at,
            body: body.clone(),
        });
        let row = Some(Row {
            columns: vec![(BY_NAME, String::new())],
            body: body.clone(),
        });
        unit.rows.push(RowWrite {
            view: VIEW,
            key: id.into(),
            row: row.clone(),
        });
        unit.journal = Some(Journal {
            correlation: unit.id.0.into(),
            body: body.clone(),
        });
        let story = unit.id.0.into();
        assert_eq!(bench.commit(unit).await, Outcome::Committed);
        let store = &bench.store;
        assert_eq!(bench.load(id).await.expect("it is there").body, body);
        assert_eq!(
            store.history(ORDERS, &key(id), 0).await.expect("a history")[0].body,
            body
        );
        assert_eq!(store.row(ORDERS, VIEW, id).await.expect("a row"), row);
        assert_eq!(
            store.journal(ORDERS, story).await.expect("a journal"),
            [body]
        );
    }
}

pub async fn records_of_a_table_are_scanned_in_order(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let other = Write {
        key: crate::Key::new(Name::new("others"), "a5"),
        ..put("", "x")
    };
    let writes = ["c", "a", "e", "b", "d"].map(|id| put(id, "x"));
    bench
        .commit(Unit {
            writes: [writes.to_vec(), vec![other]].concat(),
            ..bench.unit()
        })
        .await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = bench
            .store
            .scan(ORDERS, TABLE, after.clone(), 2)
            .await
            .expect("a scan");
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 2, "at most the limit");
        after = Some(last.clone());
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

pub async fn a_service_sees_only_its_own_data(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let mut unit = bench.unit();
    let story = CorrelationId(unit.id.0);
    unit.writes.push(Write {
        due_at: Some(unit.at),
        ..put("a", "secret")
    });
    unit.appends.push(append(&bench, 1, "secret"));
    unit.rows.push(row("a", "apple", "1"));
    unit.journal = Some(Journal {
        correlation: story,
        body: Bytes::from_static(b"{}"),
    });
    unit.counts.push((BY_NAME, 1));
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    let store = &bench.store;
    assert_eq!(store.load(STOCK, &key("a")).await.expect("an answer"), None);
    assert_eq!(
        store.scan(STOCK, TABLE, None, 10).await.expect("a scan"),
        []
    );
    assert_eq!(
        store.history(STOCK, &key("a"), 0).await.expect("a history"),
        []
    );
    assert_eq!(store.row(STOCK, VIEW, "a").await.expect("an answer"), None);
    assert_eq!(
        store
            .rows(STOCK, query(Select::All, None, 10))
            .await
            .expect("a page"),
        Page::default()
    );
    assert_eq!(
        store.journal(STOCK, story).await.expect("a journal"),
        Vec::<Bytes>::new()
    );
    assert!(
        store
            .counters(STOCK)
            .await
            .expect("counters")
            .iter()
            .all(|(_, value)| *value == 0)
    );
    assert_eq!(store.next_due(&[STOCK]).await.expect("an answer"), None);
    assert_eq!(
        store
            .claim_due(&[STOCK], bench.now(), LEASE, 10)
            .await
            .expect("claims"),
        []
    );
    let theirs = Unit {
        service: STOCK,
        reads: vec![read("a", 0)],
        writes: vec![put("a", "own")],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(theirs).await,
        Outcome::Committed,
        "its own key of the same name is free"
    );
    assert_eq!(bench.load("a").await.expect("it is there").body, "secret");
}

fn row(key: &str, name: &str, price: &str) -> RowWrite {
    let columns = vec![(BY_NAME, name.to_owned()), (BY_PRICE, price.to_owned())];
    let body = Bytes::from(format!("{name} {price}"));
    RowWrite {
        view: VIEW,
        key: key.into(),
        row: Some(Row { columns, body }),
    }
}

fn query(select: Select, after: Option<Position>, limit: usize) -> Query {
    Query {
        view: VIEW,
        select,
        after,
        limit,
    }
}

fn prefix(column: Name, prefix: &str, descending: bool) -> Select {
    Select::Prefix {
        column,
        prefix: prefix.into(),
        descending,
    }
}

fn contains(part: &str) -> Select {
    Select::Contains {
        column: BY_NAME,
        part: part.into(),
    }
}

/// The keys of all pages, read `limit` at a time.
async fn keys(bench: &Bench, select: Select, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after = None;
    for _ in 0..100 {
        let page = bench
            .store
            .rows(ORDERS, query(select.clone(), after, limit))
            .await
            .expect("a page");
        assert!(page.rows.len() <= limit, "at most the limit");
        keys.extend(page.rows.into_iter().map(|(key, _)| key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
    panic!("the pages of {select:?} do not end");
}

async fn fruit(bench: &Bench) {
    let rows = vec![
        row("k1", "banana", "300"),
        row("k2", "apple", "200"),
        row("k3", "pineapple", "100"),
        row("k4", "apricot", "200"),
        row("k5", "cherry", "200"),
    ];
    assert_eq!(
        bench
            .commit(Unit {
                rows,
                ..bench.unit()
            })
            .await,
        Outcome::Committed
    );
}

pub async fn a_row_is_found_by_its_key(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    let found = bench
        .store
        .row(ORDERS, VIEW, "k2")
        .await
        .expect("an answer");
    assert_eq!(found, row("k2", "apple", "200").row);
    assert_eq!(
        bench
            .store
            .row(ORDERS, VIEW, "k9")
            .await
            .expect("an answer"),
        None
    );
    let page = bench
        .store
        .rows(ORDERS, query(prefix(BY_NAME, "apple", false), None, 5))
        .await
        .expect("a page");
    assert_eq!(
        page.rows,
        [("k2".to_owned(), found.expect("it was found"))],
        "pages carry whole rows"
    );
}

pub async fn rows_are_paged_by_prefix_in_both_directions(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    for limit in [1, 2, 5, 100] {
        assert_eq!(
            keys(&bench, prefix(BY_NAME, "", false), limit).await,
            ["k2", "k4", "k1", "k5", "k3"]
        );
        assert_eq!(
            keys(&bench, prefix(BY_NAME, "", true), limit).await,
            ["k3", "k5", "k1", "k4", "k2"]
        );
        assert_eq!(
            keys(&bench, prefix(BY_NAME, "ap", false), limit).await,
            ["k2", "k4"]
        );
        assert_eq!(
            keys(&bench, prefix(BY_NAME, "ap", true), limit).await,
            ["k4", "k2"]
        );
        assert!(
            keys(&bench, prefix(BY_NAME, "zebra", false), limit)
                .await
                .is_empty()
        );
    }
}

pub async fn rows_with_equal_values_are_paged_by_key(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    for limit in [1, 2, 100] {
        assert_eq!(
            keys(&bench, prefix(BY_PRICE, "2", false), limit).await,
            ["k2", "k4", "k5"]
        );
        assert_eq!(
            keys(&bench, prefix(BY_PRICE, "2", true), limit).await,
            ["k5", "k4", "k2"]
        );
    }
}

pub async fn rows_are_found_by_a_part_of_a_column(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    for limit in [1, 2, 100] {
        assert_eq!(keys(&bench, contains("apple"), limit).await, ["k2", "k3"]);
        assert_eq!(keys(&bench, contains("an"), limit).await, ["k1"]);
        assert!(
            keys(&bench, contains("200"), limit).await.is_empty(),
            "another column"
        );
    }
}

pub async fn all_rows_are_paged_by_key(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    for limit in [1, 2, 100] {
        assert_eq!(
            keys(&bench, Select::All, limit).await,
            ["k1", "k2", "k3", "k4", "k5"]
        );
    }
}

pub async fn a_changed_row_leaves_no_old_index_entries(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    let removed = RowWrite {
        view: VIEW,
        key: "k4".into(),
        row: None,
    };
    let unit = Unit {
        rows: vec![row("k2", "zucchini", "200"), removed],
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    assert!(
        keys(&bench, prefix(BY_NAME, "ap", false), 10)
            .await
            .is_empty()
    );
    assert_eq!(keys(&bench, contains("apple"), 10).await, ["k3"]);
    assert_eq!(keys(&bench, prefix(BY_NAME, "z", false), 10).await, ["k2"]);
    assert_eq!(
        keys(&bench, prefix(BY_PRICE, "200", false), 10).await,
        ["k2", "k5"]
    );
    assert_eq!(
        keys(&bench, Select::All, 10).await,
        ["k1", "k2", "k3", "k5"]
    );
}

pub async fn values_compare_by_bytes_and_wildcards_are_plain(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let names = [
        "Zoo",
        "a%b",
        "a_b",
        "axb",
        "a\\b",
        "\u{e9}clair",
        "a\u{10ffff}",
    ];
    let rows = names.iter().map(|name| row(name, name, "1")).collect();
    assert_eq!(
        bench
            .commit(Unit {
                rows,
                ..bench.unit()
            })
            .await,
        Outcome::Committed
    );
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(keys(&bench, prefix(BY_NAME, "", false), 3).await, sorted);
    assert_eq!(
        keys(&bench, prefix(BY_NAME, "a", false), 3).await,
        ["a%b", "a\\b", "a_b", "axb", "a\u{10ffff}"]
    );
    assert_eq!(keys(&bench, prefix(BY_NAME, "a%", false), 3).await, ["a%b"]);
    assert_eq!(keys(&bench, contains("_"), 3).await, ["a_b"]);
    assert_eq!(keys(&bench, contains("\\"), 3).await, ["a\\b"]);
    assert!(
        keys(&bench, prefix(BY_NAME, "z", false), 3)
            .await
            .is_empty(),
        "case counts"
    );
}

pub async fn a_story_is_told_in_order(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let story = CorrelationId(bench.runtime.id());
    let entry = |body: &'static str| {
        let journal = Journal {
            correlation: story,
            body: Bytes::from_static(body.as_bytes()),
        };
        Unit {
            journal: Some(journal),
            ..bench.unit()
        }
    };
    let elsewhere = Journal {
        correlation: bench.runtime.id().into(),
        body: Bytes::from_static(b"other"),
    };
    bench.commit_all(vec![entry("1"), entry("2")]).await;
    bench
        .commit(Unit {
            journal: Some(elsewhere),
            ..bench.unit()
        })
        .await;
    bench.commit_all(vec![entry("3"), entry("4")]).await;
    let bench = bench.reopen(&fixture).await;
    let told = bench.store.journal(ORDERS, story).await.expect("a journal");
    assert_eq!(told, ["1", "2", "3", "4"]);
}

pub async fn counters_add_up_for_committed_units_only(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let count = |name, add| Unit {
        counts: vec![(name, add)],
        ..bench.unit()
    };
    let stale = Unit {
        reads: vec![read("x", 9)],
        ..count(BY_NAME, 1000)
    };
    bench
        .commit_all(vec![
            count(BY_NAME, 5),
            stale,
            count(BY_PRICE, 7),
            count(BY_NAME, -2),
        ])
        .await;
    bench.commit(count(BY_NAME, 1)).await;
    let mut counters = bench.store.counters(ORDERS).await.expect("counters");
    counters.sort_unstable();
    assert_eq!(counters, [(BY_NAME, 4), (BY_PRICE, 7)]);
}
