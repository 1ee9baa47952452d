//! The cost of a call must not depend on the amount of stored data. It is counted in entries and
//! pages of indexes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Outcome, Row, RowWrite, Write};
use wingbeat_core::{Name, RuntimeExt as _, Store as _, Unit};
use wingbeat_postgres::Postgres;

use crate::conformance::{block_on, server};
use crate::replicas::{SERVICE, key, prepared, unit, write};
use crate::sql::{Shop, TABLES};

const VIEW: Name = Name::new("things_by_colour");
/// Number of rows and records that are stored before the measurement.
const STORED: usize = 10_000;
/// Maximum number of entries, and of pages, of an index that eleven small calls may read.
const FEW: u64 = 200;

/// Number of transactions that are open at once, each on its own connection, and of calls after
/// them.
const OPEN: usize = 3;
const CALLS: usize = 20;

/// Returns a row of the view with two index columns.
fn row(number: usize, colour: &str) -> RowWrite {
    let columns = vec![
        (Name::new("colour"), colour.to_owned()),
        (Name::new("number"), format!("{number:06}")),
    ];
    RowWrite {
        view: VIEW,
        key: format!("thing-{number}"),
        row: Some(Row {
            columns,
            body: Bytes::from_static(b"{}"),
        }),
    }
}

async fn commit(store: &Postgres, unit: Unit) {
    let outcomes = store.commit(Arc::new(vec![unit])).await;
    assert_eq!(outcomes.unwrap(), [Outcome::Committed]);
}

/// Returns how many matching entries and how many pages of each index of the schema were read so
/// far.
fn read_so_far(prefix: &str) -> Vec<(String, u64)> {
    let found = server().sql(&format!(
        "SELECT what || indexrelname, number FROM (
            SELECT 'entries of ' AS what, schemaname, indexrelname, idx_tup_read AS number
            FROM pg_stat_user_indexes
            UNION ALL
            SELECT 'pages of ', schemaname, indexrelname, idx_blks_read + idx_blks_hit
            FROM pg_statio_user_indexes) AS i
         WHERE schemaname = '{prefix}{SERVICE}' ORDER BY 1"
    ));
    let lines = found.lines().filter_map(|line| line.split_once('|'));
    lines
        .map(|(what, number)| (what.to_owned(), number.parse().unwrap()))
        .collect()
}

/// Makes PostgreSQL publish its statistics: a session does so after a statement, but at most once
/// per second.
async fn publish_statistics(store: &Postgres, runtime: &SharedRuntime) {
    runtime.sleep(Duration::from_millis(1_100)).await;
    store.ping().await.unwrap();
}

#[test]
fn small_calls_read_few_index_entries_of_a_large_store() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("effort{}_", runtime.id().simple());
        let store = prepared(&prefix, &runtime).await;
        let far = runtime.now() + Duration::from_secs(3_600);
        let timers = (0..STORED).map(|number| Write {
            due_at: Some(far),
            ..write(format!("timer-{number}"), Some(vec![1]))
        });
        let filled = Unit {
            rows: (0..STORED).map(|number| row(number, "red")).collect(),
            writes: timers.collect(),
            ..unit(&runtime)
        };
        commit(&store, filled).await;
        publish_statistics(&store, &runtime).await;
        let before = read_so_far(&prefix);

        for number in 0..10 {
            let changed = Unit {
                rows: vec![row(number, "blue")],
                ..unit(&runtime)
            };
            commit(&store, changed).await;
        }
        let lease = Duration::from_secs(1);
        let due = store.claim_due(&[SERVICE], runtime.now(), lease, 10).await;
        assert_eq!(due.unwrap(), []);
        publish_statistics(&store, &runtime).await;

        let after = read_so_far(&prefix);
        assert!(!after.is_empty(), "there are indexes");
        assert!(after.len() > 10, "{after:?}");
        for ((what, before), (_, after)) in before.iter().zip(&after) {
            let read = after - before;
            assert!(read <= FEW, "{read} {what} were read");
        }
        let used =
            |(what, number): &(String, u64)| what == "entries of view_row_pkey" && *number > 0;
        assert!(after.iter().any(used), "{after:?}");
    });
}

/// Returns the number of backends whose last statement was on this store and began at that time or
/// later.
fn used_since(prefix: &str, since: &str) -> usize {
    let found = server().sql(&format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'wingbeat' AND query LIKE '%{prefix}%'
             AND query_start >= '{since}'"
    ));
    found.trim().parse().unwrap()
}

/// A backend keeps warm caches, above all plans. They would be cold if all connections took turns.
#[test]
fn successive_calls_use_the_same_connection() {
    block_on(async {
        let shop = Shop::open(TABLES, |config| config.connections_max = 2 * OPEN).await;
        let (store, prefix) = (&shop.store, &shop.prefix);
        let now = || server().sql("SELECT clock_timestamp()");

        let began = now();
        let mut open = Vec::new();
        for _ in 0..OPEN {
            let transaction = store.begin().await.unwrap();
            let about_it = format!("SELECT '{prefix}'");
            transaction.query_one(about_it, ()).await.unwrap();
            open.push(transaction);
        }
        assert_eq!(used_since(prefix, began.trim()), OPEN);
        drop(open);

        let began = now();
        for _ in 0..CALLS {
            store.load(SERVICE, &key("thing")).await.unwrap();
        }
        assert_eq!(used_since(prefix, began.trim()), 1);
    });
}
