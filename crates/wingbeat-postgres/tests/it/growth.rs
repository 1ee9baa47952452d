//! What grows stops growing, in rows and in space.

use std::sync::{Arc, OnceLock};

use wingbeat::real::TokioRuntime;
use wingbeat_core::conformance::store::growth::{Days, LATER, SETTLED, Sizes, Traffic, grown};
use wingbeat_servers::Postgres as Server;

use crate::conformance::{OnServer, block_on};

/// A server without anybody else: a transaction that is open somewhere keeps what was deleted meanwhile.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// All of them: a new one is measured as well.
fn tables(schema: &str) -> Vec<String> {
    let sql = format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1");
    server().sql(&sql).lines().map(str::to_owned).collect()
}

/// Rows and space, with indexes, of all tables, once the space of what went is free again: autovacuum does
/// that in its own time.
fn measure(schema: &str) -> Sizes {
    let tables = tables(schema);
    let all: Vec<String> = tables
        .iter()
        .map(|it| format!("\"{schema}\".{it}"))
        .collect();
    server().sql(&format!("VACUUM {}", all.join(", ")));
    let ask = |table: &String| {
        format!(
            "SELECT '{table}', count(*), pg_total_relation_size('\"{schema}\".{table}') FROM \"{schema}\".{table}"
        )
    };
    let asked: Vec<String> = tables.iter().map(ask).collect();
    let told = server().sql(&asked.join(" UNION ALL "));
    told.lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('|').collect();
            let number = |at: usize| columns[at].parse().expect("a number");
            (columns[0].to_owned(), (number(1), number(2)))
        })
        .collect()
}

/// The sizes after so many days, and after so many.
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
fn tables_stop_growing_when_retention_has_caught_up() {
    block_on(async {
        let [before, after] = live(true, 150, SETTLED, LATER).await;
        assert_eq!(grown(&before, &after), [""; 0], "{before:#?} {after:#?}");
        // What has a period is there for that long and no longer: whole days, the last one being over.
        let days = |table: &str| after[table].0 / 150;
        assert_eq!((days("inbox"), days("journal")), (59, 89), "{after:#?}");
        assert!(after["outbox"].0 == 0 && days("record") == 3, "{after:#?}");
    });
}

#[test]
fn without_retention_they_grow() {
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
