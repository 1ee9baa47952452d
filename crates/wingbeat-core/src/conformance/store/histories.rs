//! Histories: appends and reads of events.

use std::sync::Arc;

use bytes::Bytes;

use crate::Unit;
use crate::conformance::{Bench, Fixture, ORDERS, key, put};
use crate::unit::{Append, Outcome};

pub(super) fn append(bench: &Bench, sequence: u64, body: &'static str) -> Append {
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
        .expect("the store can be read");
    events
        .into_iter()
        .map(|event| (event.sequence, event.body))
        .collect()
}

/// Events are read back in order and after any position.
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
    for (after, limit, from, until) in [(0, 2, 0, 2), (1, 1, 1, 2), (1, 9, 1, 3), (0, 0, 0, 0)] {
        let page = bench
            .store
            .history_page(ORDERS, &key("a"), after, limit)
            .await;
        let page = page.expect("the store can be read").into_iter();
        let page: Vec<_> = page.map(|event| (event.sequence, event.body)).collect();
        assert_eq!(page, events[from..until], "{limit} after {after}");
    }
    let other = bench
        .store
        .history(ORDERS, &key("b"), 0)
        .await
        .expect("the store can be read");
    assert_eq!(other, []);
}

/// An append to a position that is taken makes its unit stale.
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
