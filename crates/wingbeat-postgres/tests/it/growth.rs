//! With retention, tables stop growing, in rows and in bytes.

use std::sync::{Arc, OnceLock};

use wingbeat::TokioRuntime;
use wingbeat_core::conformance::store::growth::{Days, LATER, SETTLED, Sizes, Traffic, grown};
use wingbeat_servers::Postgres as Server;

use crate::conformance::{OnServer, block_on};

/// Returns a server that no other test uses: an open transaction anywhere on a server keeps deleted
/// rows.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// Returns all tables of a schema, so that new tables are measured too.
fn tables(schema: &str) -> Vec<String> {
    let sql = format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1");
    server().sql(&sql).lines().map(str::to_owned).collect()
}

/// Measures rows and bytes (with indexes) of all tables after a VACUUM. Autovacuum would free the
/// space of deleted rows at an unknown time.
fn measure(schema: &str) -> Sizes {
    let tables = tables(schema);
    let all: Vec<String> = tables
        .iter()
        .map(|it| format!("\"{schema}\".{it}"))
        .collect();
    server().sql(&format!("VACUUM {}", all.join(", ")));
    let ask = |table: &String| {
        format!(
            "SELECT '{table}', count(*), pg_total_relation_size('\"{schema}\".{table}')
             FROM \"{schema}\".{table}"
        )
    };
    let queries: Vec<String> = tables.iter().map(ask).collect();
    let found = server().sql(&queries.join(" UNION ALL "));
    found
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('|').collect();
            let number = |at: usize| columns[at].parse().expect("a number");
            (columns[0].to_owned(), (number(1), number(2)))
        })
        .collect()
}

/// Returns the sizes after `early` and after `late` days.
async fn live(sweeps: bool, units_a_day: usize, early: u64, late: u64) -> [Sizes; 2] {
    let clock = Days::new(TokioRuntime::new());
    let fixture = OnServer::new(server(), clock.clone());
    let schema = format!("{}orders", fixture.prefix);
    let mut traffic = Traffic::open(&(Arc::new(fixture) as Arc<_>), clock, units_a_day).await;
    let mut sizes = Sizes::new();
    for day in 1..=late {
        traffic.day(sweeps).await;
        if day == early {
            sizes = measure(&schema);
        } else if day % 5 == 0 {
            measure(&schema);
        }
    }
    [sizes, measure(&schema)]
}

#[test]
fn tables_stop_growing_once_retention_deletes_as_much_as_is_written() {
    block_on(async {
        let [before, after] = live(true, 150, SETTLED, LATER).await;
        assert_eq!(grown(&before, &after), [""; 0], "{before:#?} {after:#?}");
        // Data with a retention period stays for that many days, without the last one.
        let days = |table: &str| after[table].0 / 150;
        assert_eq!((days("inbox"), days("journal")), (59, 89), "{after:#?}");
        assert!(after["outbox"].0 == 0 && days("record") == 3, "{after:#?}");
    });
}

#[test]
fn tables_grow_without_retention() {
    block_on(async {
        let [before, after] = live(false, 60, 10, 30).await;
        let grown = grown(&before, &after);
        assert_eq!(
            grown,
            ["inbox", "journal", "record"],
            "{before:#?} {after:#?}"
        );
    });
}
