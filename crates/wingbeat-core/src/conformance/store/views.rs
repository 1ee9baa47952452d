//! Queries on views.

use std::sync::Arc;

use bytes::Bytes;

use crate::conformance::{Bench, Fixture, ORDERS};
use crate::store::{Position, Query, Select};
use crate::unit::{Outcome, Row, RowWrite};
use crate::{Name, Unit};

pub(super) const VIEW: Name = Name::new("levels");
pub(super) const BY_NAME: Name = Name::new("name");
pub(super) const BY_PRICE: Name = Name::new("price");

pub(super) fn row(key: &str, name: &str, price: &str) -> RowWrite {
    let columns = vec![(BY_NAME, name.to_owned()), (BY_PRICE, price.to_owned())];
    let body = Bytes::from(format!("{name} {price}"));
    RowWrite {
        view: VIEW,
        key: key.into(),
        row: Some(Row { columns, body }),
    }
}

pub(super) fn query(select: Select, after: Option<Position>, limit: usize) -> Query {
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

fn range(from: &str, until: Option<&str>, descending: bool) -> Select {
    Select::Range {
        column: BY_NAME,
        from: from.into(),
        until: until.map(str::to_owned),
        descending,
    }
}

fn contains(part: &str) -> Select {
    Select::Contains {
        column: BY_NAME,
        part: part.into(),
    }
}

/// Reads all pages of `limit` rows and returns their keys.
async fn keys(bench: &Bench, select: Select, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after = None;
    for _ in 0..100 {
        let page = bench
            .store
            .rows(ORDERS, query(select.clone(), after, limit))
            .await
            .expect("the store can be read");
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

/// `row` and `rows` return whole rows.
pub async fn a_row_is_found_by_its_key(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    let found = bench
        .store
        .row(ORDERS, VIEW, "k2")
        .await
        .expect("the store can be read");
    assert_eq!(found, row("k2", "apple", "200").row);
    assert_eq!(
        bench
            .store
            .row(ORDERS, VIEW, "k9")
            .await
            .expect("the store can be read"),
        None
    );
    let page = bench
        .store
        .rows(ORDERS, query(prefix(BY_NAME, "apple", false), None, 5))
        .await
        .expect("the store can be read");
    assert_eq!(
        page.rows,
        [("k2".to_owned(), found.expect("the row exists"))],
        "a page contains whole rows"
    );
}

/// Pages of any size cover all rows once, ascending and descending.
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

/// A range includes its lower end, excludes its upper end, and may lack either.
pub async fn rows_are_paged_by_range_in_both_directions(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    fruit(&bench).await;
    let cases: [(Select, &[&str]); 8] = [
        (range("", None, false), &["k2", "k4", "k1", "k5", "k3"]),
        (range("", None, true), &["k3", "k5", "k1", "k4", "k2"]),
        (range("apricot", Some("cherry"), false), &["k4", "k1"]),
        (range("apricot", Some("cherry"), true), &["k1", "k4"]),
        (range("b", None, false), &["k1", "k5", "k3"]),
        (range("", Some("banana"), true), &["k4", "k2"]),
        (range("cherry", Some("cherry"), false), &[]),
        (range("d", Some("b"), false), &[]),
    ];
    for limit in [1, 2, 5, 100] {
        for (select, expected) in &cases {
            let found = keys(&bench, select.clone(), limit).await;
            assert_eq!(found, *expected, "{select:?} in pages of {limit}");
        }
    }
}

/// Among equal values, the key decides the order, in both directions.
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

/// `Select::Contains` searches one column only.
pub async fn rows_are_found_by_a_substring_of_a_column(fixture: Arc<dyn Fixture>) {
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

/// `Select::All` pages through all rows by key.
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

/// Queries do not find a row by a value that it no longer has.
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

/// Case counts, and `%`, `_` and `\\` are ordinary characters.
pub async fn values_compare_by_bytes_and_have_no_wildcards(fixture: Arc<dyn Fixture>) {
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
    assert_eq!(
        keys(&bench, range("a_", Some("b"), false), 3).await,
        ["a_b", "axb", "a\u{10ffff}"]
    );
    assert_eq!(keys(&bench, contains("_"), 3).await, ["a_b"]);
    assert_eq!(keys(&bench, contains("\\"), 3).await, ["a\\b"]);
    assert!(
        keys(&bench, prefix(BY_NAME, "z", false), 3)
            .await
            .is_empty(),
        "case matters"
    );
}
