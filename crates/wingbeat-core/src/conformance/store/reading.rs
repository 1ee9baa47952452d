//! Reads of records, histories, views, the journal and counters, each visible to its own service
//! only.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;

use crate::conformance::{Bench, Fixture, LEASE, ORDERS, STOCK, TABLE, key, put, read};
use crate::store::{Page, Select};
use crate::unit::{Append, Journal, Outcome, Row, RowWrite, Write};
use crate::{CorrelationId, Name, RuntimeExt as _, Unit};

use super::histories::append;
use super::views::{BY_NAME, BY_PRICE, VIEW, query, row};

/// `ping` succeeds before `prepare`, beside commits, and after a restart.
pub async fn a_ping_succeeds_at_any_time(fixture: Arc<dyn Fixture>) {
    let opened = fixture.open().await;
    opened.store.ping().await.expect("it is available");
    drop(opened);
    let mut bench = Bench::open(&fixture).await;
    for id in ["a", "b"] {
        let unit = Unit {
            writes: vec![put(id, "1")],
            ..bench.unit()
        };
        let (outcome, pinged) = join(bench.commit(unit), bench.store.ping()).await;
        assert_eq!(outcome, Outcome::Committed);
        pinged.expect("it is available");
        bench = bench.reopen(&fixture).await;
    }
}

/// `load_all` returns one entry per key, also for absent and repeated keys.
pub async fn records_are_loaded_in_the_order_of_their_keys(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let removed = Write {
        body: None,
        ..put("b", "")
    };
    for writes in [
        vec![put("a", "1"), put("b", "2"), put("c", "3")],
        vec![removed, put("c", "4")],
    ] {
        let unit = Unit {
            writes,
            ..bench.unit()
        };
        assert_eq!(bench.commit(unit).await, Outcome::Committed);
    }
    let keys = ["c", "absent", "b", "a", "c"].map(key).to_vec();
    let records = bench
        .store
        .load_all(ORDERS, keys)
        .await
        .expect("the store can be read");
    let found = records.iter().map(|record| {
        let record = record.as_ref()?;
        Some((record.version, record.body.as_ref()))
    });
    let (c, a) = (Some((2, &b"4"[..])), Some((1, &b"1"[..])));
    assert_eq!(found.collect::<Vec<_>>(), [c, None, None, a, c]);
    let none = bench.store.load_all(ORDERS, Vec::new()).await;
    assert_eq!(none.expect("the store can be read"), []);
}

/// A removed record is absent for reads and validation, and can be written again.
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
        .expect("the store can be read");
    assert_eq!(scanned, []);
    let seen = Unit {
        reads: vec![read("a", 1)],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(seen).await,
        Outcome::Stale,
        "the version before the removal is stale"
    );
    let absent = Unit {
        reads: vec![read("a", 0)],
        writes: vec![removal],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(absent).await,
        Outcome::Committed,
        "an absent record can be removed"
    );
    let put_again = Unit {
        reads: vec![read("a", 0)],
        writes: vec![put("a", "2")],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(put_again).await,
        Outcome::Committed,
        "a removed record can be written again"
    );
    assert_eq!(bench.load("a").await.expect("the record exists").body, "2");
}

/// Bodies of 0 and 256 KiB, in records, histories, views and the journal.
pub async fn empty_and_large_bodies_are_stored_unchanged(fixture: Arc<dyn Fixture>) {
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
        let correlation = unit.id.0.into();
        assert_eq!(bench.commit(unit).await, Outcome::Committed);
        let store = &bench.store;
        assert_eq!(bench.load(id).await.expect("the record exists").body, body);
        assert_eq!(
            store
                .history(ORDERS, &key(id), 0)
                .await
                .expect("the store can be read")[0]
                .body,
            body
        );
        assert_eq!(
            store
                .row(ORDERS, VIEW, id)
                .await
                .expect("the store can be read"),
            row
        );
        assert_eq!(
            store
                .journal(ORDERS, correlation)
                .await
                .expect("the store can be read"),
            [body]
        );
    }
}

/// `scan` pages through one table by id.
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
            .expect("the store can be read");
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 2, "at most the limit");
        after = Some(last.clone());
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

/// Nothing that one service wrote is visible to another, and keys do not collide.
pub async fn a_service_sees_only_its_own_data(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let mut unit = bench.unit();
    let correlation = CorrelationId(unit.id.0);
    unit.writes.push(Write {
        due_at: Some(unit.at),
        ..put("a", "secret")
    });
    unit.appends.push(append(&bench, 1, "secret"));
    unit.rows.push(row("a", "apple", "1"));
    unit.journal = Some(Journal {
        correlation,
        body: Bytes::from_static(b"{}"),
    });
    unit.counts.push((BY_NAME, 1));
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    nothing_is_shown_to(STOCK, &bench, correlation).await;
    let theirs = Unit {
        service: STOCK,
        reads: vec![read("a", 0)],
        writes: vec![put("a", "own")],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(theirs).await,
        Outcome::Committed,
        "the key is free for another service"
    );
    assert_eq!(
        bench.load("a").await.expect("the record exists").body,
        "secret"
    );
}

/// Checks that none of the reads shows data of another service.
async fn nothing_is_shown_to(service: Name, bench: &Bench, correlation: CorrelationId) {
    let store = &bench.store;
    assert_eq!(
        store
            .load(service, &key("a"))
            .await
            .expect("the store can be read"),
        None
    );
    assert_eq!(
        store
            .scan(service, TABLE, None, 10)
            .await
            .expect("the store can be read"),
        []
    );
    assert_eq!(
        store
            .history(service, &key("a"), 0)
            .await
            .expect("the store can be read"),
        []
    );
    assert_eq!(
        store
            .row(service, VIEW, "a")
            .await
            .expect("the store can be read"),
        None
    );
    assert_eq!(
        store
            .rows(service, query(Select::All, None, 10))
            .await
            .expect("the store can be read"),
        Page::default()
    );
    assert_eq!(
        store
            .journal(service, correlation)
            .await
            .expect("the store can be read"),
        Vec::<Bytes>::new()
    );
    assert!(
        store
            .counters(service)
            .await
            .expect("the store can be read")
            .iter()
            .all(|(_, value)| *value == 0)
    );
    assert_eq!(
        store
            .next_due(&[service])
            .await
            .expect("the store can be read"),
        None
    );
    assert_eq!(
        store
            .claim_due(&[service], bench.now(), LEASE, 10)
            .await
            .expect("the store can be read"),
        []
    );
}

/// Journal entries of a correlation id are read in commit order, also after a restart.
pub async fn journal_entries_are_read_in_commit_order(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let correlation = CorrelationId(bench.runtime.id());
    let entry = |body: &'static str| {
        let journal = Journal {
            correlation,
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
    let entries = bench
        .store
        .journal(ORDERS, correlation)
        .await
        .expect("the store can be read");
    assert_eq!(entries, ["1", "2", "3", "4"]);
}

/// Refused units do not count; amounts may be negative.
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
    let mut counters = bench
        .store
        .counters(ORDERS)
        .await
        .expect("the store can be read");
    counters.sort_unstable();
    assert_eq!(counters, [(BY_NAME, 4), (BY_PRICE, 7)]);
}
