//! SQL of services, in the file that also contains the framework's tables.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::{ORDERS, SERVICES, key, put, topology};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::{Outcome, Read};
use wingbeat_core::{OpenTransaction, Runtime as _, RuntimeExt as _, Statement, Store as _, Unit};
use wingbeat_embedded::{Config, Embedded};

use crate::conformance::number;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, free INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS strict_stock(sku TEXT UNIQUE ON CONFLICT ROLLBACK);
    CREATE TABLE IF NOT EXISTS watched(sku TEXT);
    CREATE TRIGGER IF NOT EXISTS watch AFTER INSERT ON watched
        BEGIN SELECT RAISE(ROLLBACK, 'not here') WHERE new.sku = 'egg'; END;
    INSERT OR IGNORE INTO stock VALUES ('egg', 10);";

struct Data {
    directory: TempDir,
    embedded: Arc<Embedded>,
    runtime: SharedRuntime,
}

fn config(path: &Path, tables: &'static str) -> Config {
    let mut config = Config::new(path);
    config.tables = tables.into();
    config.statement_timeout = Duration::from_millis(200);
    config
}

impl Data {
    async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), TABLES).await
    }

    async fn open(directory: TempDir, tables: &'static str) -> Self {
        let embedded = Embedded::open(&config(directory.path(), tables)).unwrap();
        embedded.prepare(&SERVICES, &topology()).await.unwrap();
        Self {
            directory,
            embedded,
            runtime: TokioRuntime::new(),
        }
    }

    fn unit(&self, id: &str, statements: Vec<Statement>) -> Unit {
        Unit {
            statements,
            writes: vec![put(id, "1")],
            ..Unit::new(self.runtime.id().into(), ORDERS, self.runtime.now())
        }
    }

    /// Commits a statement between two other units, which it must not affect. Returns its outcome.
    async fn among_others(&self, text: &str) -> Outcome {
        let take = || Statement::new("UPDATE stock SET free = free - 1", ()).expecting(1);
        let free = self.number("SELECT free FROM stock");
        let batch = vec![
            self.unit("before", vec![take()]),
            self.unit(
                "at fault",
                vec![take(), Statement::new(text.to_owned(), ())],
            ),
            self.unit("after", vec![take()]),
        ];
        let outcomes = self.embedded.commit(Arc::new(batch)).await.unwrap();
        let committed = Outcome::Committed;
        assert_eq!((outcomes[0], outcomes[2]), (committed, committed), "{text}");
        let at_fault = key("at fault");
        let found = self.embedded.load(ORDERS, &at_fault).await.unwrap();
        assert_eq!(found.is_some(), outcomes[1] == committed, "{text}");
        let taken = if outcomes[1] == committed { 3 } else { 2 };
        assert_eq!(
            self.number("SELECT free FROM stock"),
            free - taken,
            "{text}"
        );
        outcomes[1]
    }

    fn number(&self, query: &str) -> i64 {
        number(self.directory.path(), query)
    }
}

#[tokio::test]
async fn statements_cannot_access_the_frameworks_tables() {
    let data = Data::new().await;
    let tables = [
        "names",
        "inbox",
        "record",
        "history",
        "view_row",
        "view_index",
        "queue",
        "journal",
        "counters",
        "probe",
        "wb_dictionary",
    ];
    let own = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    assert_eq!(
        data.number(own),
        11 + 3,
        "every table of the framework is tested"
    );
    for table in tables {
        for text in [
            format!("DELETE FROM {table}"),
            format!("DELETE FROM main.\"{}\"", table.to_uppercase()),
            format!("UPDATE stock SET free = (SELECT count(*) FROM {table})"),
            format!("WITH x AS (SELECT * FROM {table}) SELECT 1 FROM x"),
        ] {
            assert_eq!(data.among_others(&text).await, Outcome::Refused, "{text}");
        }
    }
    for text in [
        "DELETE FROM queue WHERE id = 1",
        "UPDATE sqlite_schema SET sql = ''",
        "ATTACH 'other.db' AS other",
        "PRAGMA user_version = 99",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_table_info('record')",
        "VACUUM",
        "CREATE TABLE mine(x)",
        "CREATE TEMP TABLE mine(x)",
        "ALTER TABLE stock ADD COLUMN x",
        "SELECT load_extension('x')",
        "RELEASE unit",
        "ROLLBACK TO unit",
        "BEGIN",
        "EXPLAIN UPDATE record SET body = ''",
    ] {
        assert_eq!(data.among_others(text).await, Outcome::Refused, "{text}");
    }
    let fine = "UPDATE stock SET free = free WHERE EXISTS (SELECT 1 FROM watched) OR true";
    assert_eq!(data.among_others(fine).await, Outcome::Committed);
}

/// With `OR ROLLBACK`, SQLite rolls back the whole transaction. The other units are committed
/// without that unit.
#[tokio::test]
async fn a_conflict_that_rolls_back_the_transaction_refuses_only_its_unit() {
    let data = Data::new().await;
    for text in [
        "INSERT OR ROLLBACK INTO stock VALUES ('egg', 1)",
        "INSERT INTO strict_stock VALUES ('a'), ('a')",
        "INSERT INTO watched VALUES ('egg')",
    ] {
        assert_eq!(data.among_others(text).await, Outcome::Refused, "{text}");
    }
}

/// SQLite checks deferred foreign keys at COMMIT, for all units together.
#[tokio::test]
async fn a_deferred_foreign_key_refuses_only_its_unit() {
    let directory = tempfile::tempdir().unwrap();
    let tables = "CREATE TABLE IF NOT EXISTS parent(id INTEGER PRIMARY KEY);
        CREATE TABLE IF NOT EXISTS child(
            id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);";
    let data = Data::open(directory, tables).await;
    let child = |id: i64| Statement::new("INSERT INTO child VALUES ($1)", [id]);
    let parent = |id: i64| Statement::new("INSERT INTO parent VALUES ($1)", [id]);
    let on_b = Unit {
        reads: vec![Read {
            key: key("b"),
            version: 1,
        }],
        ..data.unit("d", vec![])
    };
    let batch = vec![
        data.unit("a", vec![child(1), parent(1)]),
        data.unit("b", vec![child(2)]),
        data.unit("b", vec![]),
        on_b,
        data.unit("c", vec![parent(3)]),
    ];
    let other_batch = vec![data.unit("e", vec![])];
    // Usually both are in one group. The outcomes are the same if they are not.
    let (outcomes, others) = tokio::join!(
        data.embedded.commit(Arc::new(batch.clone())),
        data.embedded.commit(Arc::new(other_batch)),
    );
    let (committed, refused) = (Outcome::Committed, Outcome::Refused);
    let expected = [committed, refused, committed, Outcome::Stale, committed];
    assert_eq!(outcomes.unwrap(), expected);
    assert_eq!(others.unwrap(), [committed]);
    assert_eq!(data.number("SELECT count(*) FROM child"), 1);
    assert_eq!(data.number("SELECT count(*) FROM parent"), 2);
    // Units that are submitted again have the same outcomes.
    let outcomes = data.embedded.commit(Arc::new(batch)).await;
    assert_eq!(outcomes.unwrap(), expected);
    let later = vec![data.unit("f", vec![parent(4), child(4)])];
    let outcomes = data.embedded.commit(Arc::new(later)).await;
    assert_eq!(outcomes.unwrap(), [committed]);
}

#[tokio::test]
async fn an_endless_statement_times_out_and_makes_only_its_unit_busy() {
    let data = Data::new().await;
    let busy = Outcome::Unmet(Unmet::Busy { statement: 2 });
    for text in [
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT 1 FROM n)
         INSERT INTO watched SELECT 'a' FROM n",
    ] {
        assert_eq!(data.among_others(text).await, busy, "{text}");
    }
    assert_eq!(data.number("SELECT count(*) FROM watched"), 0);
}

#[tokio::test]
async fn a_transaction_of_another_store_is_refused() {
    let data = Data::new().await;
    let unit = Unit {
        transaction: Some(OpenTransaction::new(())),
        ..data.unit("a", vec![])
    };
    let outcomes = data.embedded.commit(Arc::new(vec![unit])).await.unwrap();
    assert_eq!(outcomes, [Outcome::Refused]);
}

#[test]
fn tables_are_created_completely_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    for tables in [
        "CREATE TABLE fine(x); CREATE TABLE broken(",
        "CREATE TABLE fine(x); DROP TABLE record",
        "CREATE TABLE fine(x); CREATE TABLE IF NOT EXISTS record(x)",
        "CREATE TABLE fine(x); CREATE TABLE wb_later(x)",
        "CREATE TABLE fine(x); CREATE INDEX i ON queue(body)",
        "CREATE TABLE fine(x); CREATE TRIGGER t AFTER INSERT ON inbox BEGIN SELECT 1; END",
        "CREATE TABLE fine(x); ALTER TABLE journal RENAME TO fine2",
        "CREATE TABLE fine(x); COMMIT",
        "CREATE TABLE fine(x); PRAGMA user_version = 99",
    ] {
        let error = Embedded::open(&config(directory.path(), tables)).expect_err(tables);
        assert_eq!(error.code(), "tables_invalid", "{tables}");
    }
    for _ in 0..2 {
        Embedded::open(&config(directory.path(), TABLES)).expect("the SQL can run again");
    }
    let fine = "SELECT count(*) FROM sqlite_schema WHERE name IN ('fine', 'fine2', 'wb_later')";
    assert_eq!(number(directory.path(), fine), 0);
    assert_eq!(number(directory.path(), "SELECT free FROM stock"), 10);
}

/// The guard applies to a service's triggers as well.
#[tokio::test]
async fn triggers_cannot_access_the_frameworks_tables() {
    let directory = tempfile::tempdir().unwrap();
    let sly = "CREATE TABLE IF NOT EXISTS bait(x);
        CREATE TRIGGER IF NOT EXISTS sly AFTER INSERT ON bait BEGIN DELETE FROM inbox; END;";
    let embedded = Embedded::open(&config(directory.path(), sly)).unwrap();
    embedded.prepare(&SERVICES, &topology()).await.unwrap();
    let runtime = TokioRuntime::new();
    let unit = Unit {
        statements: vec![Statement::new("INSERT INTO bait VALUES (1)", ())],
        ..Unit::new(runtime.id().into(), ORDERS, runtime.now())
    };
    let outcomes = embedded.commit(Arc::new(vec![unit])).await.unwrap();
    assert_eq!(outcomes, [Outcome::Refused]);
}
