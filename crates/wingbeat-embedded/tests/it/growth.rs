//! What grows stops growing, in rows and in space.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use wingbeat::real::TokioRuntime;
use wingbeat_core::conformance::store::growth::{Days, LATER, SETTLED, Sizes, Traffic, grown};
use wingbeat_embedded::Config;

use crate::conformance::{OnDisk, block_on};

/// Rows of all tables (a new one is measured as well), and the space of the file.
fn measure(directory: &Path) -> Sizes {
    let only_reads = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let file = Connection::open_with_flags(Config::new(directory).file(), only_reads).unwrap();
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

/// The sizes after so many days, and after so many.
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
fn tables_stop_growing_when_retention_has_caught_up() {
    block_on(async {
        let [before, after] = live(true, 150, SETTLED, LATER).await;
        assert_eq!(grown(&before, &after), [""; 0], "{before:#?} {after:#?}");
        // What has a period is there for that long and no longer: whole days, the last one being over.
        let days = |table: &str| after[table].0 / 150;
        assert_eq!((days("inbox"), days("journal")), (59, 89), "{after:#?}");
        assert!(after["queue"].0 == 0 && days("record") == 2, "{after:#?}");
    });
}

#[test]
fn without_retention_they_grow() {
    block_on(async {
        let [before, after] = live(false, 60, 10, 30).await;
        let grown = grown(&before, &after);
        let expected = ["inbox", "journal", "record", "the file"];
        assert_eq!(grown, expected, "{before:#?} {after:#?}");
    });
}
