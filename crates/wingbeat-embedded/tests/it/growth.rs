//! With retention, tables stop growing, in rows and in bytes.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::store::growth::{Days, LATER, SETTLED, Sizes, Traffic, grown};
use wingbeat_embedded::Config;

use crate::conformance::{OnDisk, block_on};

/// Measures the rows of all tables (new tables included) and the bytes of the file.
fn measure(directory: &Path) -> Sizes {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let file = Connection::open_with_flags(Config::new(directory).file(), read_only).unwrap();
    let number = |sql: &str| -> i64 { file.query_row(sql, [], |row| row.get(0)).unwrap() };
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    let mut tables = file.prepare(tables).unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let rows = |table: String| {
        let rows = number(&format!("SELECT count(*) FROM {table}"));
        (table, (rows, 0))
    };
    let mut sizes: Sizes = tables.map(|table| rows(table.unwrap())).collect();
    let bytes = number("PRAGMA page_count") * number("PRAGMA page_size");
    sizes.insert("the file".into(), (0, bytes));
    sizes
}

/// Returns the sizes after `early` and after `late` days.
async fn live(sweeps: bool, units_a_day: usize, early: u64, late: u64) -> [Sizes; 2] {
    let clock = Days::new(TokioRuntime::new());
    let fixture = Arc::new(OnDisk::new(clock.clone()));
    let mut traffic = Traffic::open(&(fixture.clone() as Arc<_>), clock, units_a_day).await;
    let mut sizes = Sizes::new();
    for day in 1..=late {
        traffic.day(sweeps).await;
        if day == early {
            sizes = measure(fixture.directory.path());
        }
    }
    [sizes, measure(fixture.directory.path())]
}

#[test]
fn tables_stop_growing_once_retention_deletes_as_much_as_is_written() {
    block_on(async {
        let [before, after] = live(true, 150, SETTLED, LATER).await;
        assert_eq!(grown(&before, &after), [""; 0], "{before:#?} {after:#?}");
        // Data with a retention period stays for that many days, without the last one.
        let days = |table: &str| after[table].0 / 150;
        assert_eq!((days("inbox"), days("journal")), (59, 89), "{after:#?}");
        assert!(after["queue"].0 == 0 && days("record") == 2, "{after:#?}");
    });
}

#[test]
fn tables_grow_without_retention() {
    block_on(async {
        let [before, after] = live(false, 60, 10, 30).await;
        let grown = grown(&before, &after);
        let expected = ["inbox", "journal", "record", "the file"];
        assert_eq!(grown, expected, "{before:#?} {after:#?}");
    });
}
