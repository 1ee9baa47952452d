//! Statements of services: types, locks and timeouts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Param, RuntimeExt as _, Statement, Store, Topology, Unit};
use wingbeat_postgres::{Config, Postgres};

use crate::conformance::{block_on, config, connect, make_tables, number};
use crate::replicas::{SERVICE, key, unit, write};

/// A store, and a service's own tables in the same database.
pub(crate) struct Shop {
    pub(crate) store: Arc<Postgres>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) prefix: String,
}

pub(crate) const TABLES: &str = "
    CREATE TABLE stock(sku text PRIMARY KEY, free int NOT NULL CHECK (free >= 0));
    INSERT INTO stock VALUES ('egg', 10), ('ham', 10);";

impl Shop {
    /// Opens a store with these tables and settings.
    pub(crate) async fn open(tables: &str, set: impl FnOnce(&mut Config)) -> Self {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("s{}_", runtime.id().simple());
        make_tables(&prefix, tables);
        let mut config = config(&prefix);
        set(&mut config);
        let shop = Self {
            store: prepared(&config, &runtime).await,
            runtime,
            prefix,
        };
        shop.number("SELECT 1"); // Fails if the search path is wrong.
        shop
    }

    pub(crate) fn unit(&self) -> Unit {
        unit(&self.runtime)
    }

    /// Returns a unit with these statements that also writes a record with this id.
    pub(crate) fn running(&self, id: &str, statements: Vec<Statement>) -> Unit {
        Unit {
            statements,
            writes: vec![write(id, Some(vec![1]))],
            ..self.unit()
        }
    }

    pub(crate) async fn commit(&self, units: Vec<Unit>) -> Vec<Outcome> {
        self.store
            .commit(Arc::new(units))
            .await
            .expect("PostgreSQL answers")
    }

    pub(crate) async fn is_there(&self, id: &str) -> bool {
        let found = self.store.load(SERVICE, &key(id)).await;
        found.expect("PostgreSQL answers").is_some()
    }

    /// Returns the number that a query finds. The query uses a separate connection.
    pub(crate) fn number(&self, query: &str) -> i64 {
        number(&self.prefix, query)
    }
}

async fn prepared(config: &Config, runtime: &SharedRuntime) -> Arc<Postgres> {
    let store = connect(config, runtime).await;
    let prepared = store.prepare(&[SERVICE], &Topology::default()).await;
    prepared.expect("the schema can be created");
    store
}

pub(crate) fn take(sku: &str) -> Statement {
    let text = "UPDATE stock SET free = free - 1 WHERE sku = $1 AND free > 0";
    Statement::new(text, [sku]).expecting(1)
}

pub(crate) const EGGS: &str = "SELECT free FROM stock WHERE sku = 'egg'";

#[test]
fn parameters_are_converted_to_the_types_of_their_columns() {
    block_on(async {
        let shop = Shop::open(
            "CREATE TABLE kinds(i int4, b bigint, s smallint, n numeric, t text, u uuid, j jsonb,
                at timestamptz, d date, y bytea, o boolean, f float8, a int[], nothing int)",
            |_| (),
        )
        .await;
        let id = shop.runtime.id();
        let now = shop.runtime.now();
        let params: Vec<Param> = vec![
            i32::MIN.into(),
            i64::MAX.into(),
            7.into(),
            "12345678901234567890.5".into(),
            "naïve 'text'".into(),
            id.into(),
            r#"{"a": [1, null]}"#.into(),
            now.into(),
            "2024-02-29".into(),
            Bytes::from_static(&[0, 255, b'\\']).into(),
            true.into(),
            0.1.into(),
            "{1,2}".into(),
            None::<i64>.into(),
        ];
        let insert = "INSERT INTO kinds
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let unit = shop.running("a", vec![Statement::new(insert, params).expecting(1)]);
        assert_eq!(shop.commit(vec![unit]).await, [Outcome::Committed]);
        let as_given = format!(
            "SELECT count(*) FROM kinds WHERE i = -2147483648 AND b = 9223372036854775807 AND s = 7
             AND n = 12345678901234567890.5 AND t = 'naïve ''text''' AND u = '{id}'
             AND j = '{{\"a\":[1,null]}}' AND at = '{now}' AND d = '2024-02-29'
             AND y = '\\x00ff5c' AND o AND f = 0.1 AND a = '{{1,2}}'
             AND nothing IS NULL"
        );
        assert_eq!(shop.number(&as_given), 1);
    });
}

#[test]
fn a_value_that_does_not_fit_its_column_refuses_only_its_unit() {
    block_on(async {
        let shop = Shop::open(TABLES, |_| ()).await;
        let text = "UPDATE stock SET free = $1";
        for param in [
            Param::from(i64::MAX),
            "many".into(),
            Param::Null,
            "\0".into(),
            "é".repeat(9).as_bytes()[..3].to_vec().into(),
        ] {
            let poison = shop.running("p", vec![Statement::new(text, [param])]);
            let outcomes = shop.commit(vec![poison, shop.running("a", vec![take("egg")])]);
            assert_eq!(outcomes.await, [Outcome::Refused, Outcome::Committed]);
        }
        let zero = shop.running("p", vec![Statement::new("SELECT 1 -- \0", ())]);
        assert_eq!(shop.commit(vec![zero]).await, [Outcome::Refused]);
        assert!(!shop.is_there("p").await);
        assert_eq!(shop.number(EGGS), 5);
    });
}

/// Another transaction has locked the row. The unit that needs it gets a lock timeout, and the
/// other units are committed.
#[test]
fn a_locked_row_delays_only_its_unit() {
    block_on(async {
        let short = |config: &mut Config| config.lock_timeout = Duration::from_millis(100);
        let shop = Shop::open(TABLES, short).await;
        let holder = shop.store.begin().await.unwrap();
        let lock = "SELECT free FROM stock WHERE sku = $1 FOR UPDATE";
        holder.query_one(lock, ["egg"]).await.unwrap();
        let batch = || {
            vec![
                shop.running("a", vec![take("ham")]),
                shop.running("b", vec![take("ham"), take("egg")]),
                shop.running("c", vec![]),
            ]
        };
        let busy = Outcome::Unmet(Unmet::Busy { statement: 2 });
        let outcomes = shop.commit(batch()).await;
        assert_eq!(outcomes, [Outcome::Committed, busy, Outcome::Committed]);
        assert!(!shop.is_there("b").await);
        drop(holder);
        assert_eq!(shop.commit(batch()).await, [Outcome::Committed; 3]);
        assert_eq!(shop.number("SELECT sum(free) FROM stock"), 20 - 4);
    });
}

#[test]
fn a_statement_that_times_out_makes_only_its_unit_busy() {
    block_on(async {
        let short = |config: &mut Config| config.statement_timeout = Duration::from_secs(3);
        let shop = Shop::open(TABLES, short).await;
        let slow = shop.running("a", vec![Statement::new("SELECT pg_sleep(60)", ())]);
        let outcomes = shop.commit(vec![slow, shop.running("b", vec![])]).await;
        let busy = Outcome::Unmet(Unmet::Busy { statement: 1 });
        assert_eq!(outcomes, [busy, Outcome::Committed]);
    });
}

/// These errors usually mean that the server failed, but here the same statement always raises
/// them.
#[test]
fn a_statement_that_raises_a_server_error_makes_only_its_unit_busy() {
    block_on(async {
        let shop = Shop::open(
            "CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION USING ERRCODE = code; END';",
            |_| (),
        )
        .await;
        for code in ["08006", "53100", "57P01", "58030", "XX000"] {
            let failing = Statement::new("SELECT fail($1)", [code]);
            let batch = vec![shop.running("a", vec![failing]), shop.running("b", vec![])];
            let busy = Outcome::Unmet(Unmet::Busy { statement: 1 });
            assert_eq!(
                shop.commit(batch).await,
                [busy, Outcome::Committed],
                "{code}"
            );
        }
    });
}

#[test]
fn a_deferred_constraint_refuses_only_its_unit() {
    block_on(async {
        let shop = Shop::open(
            "CREATE TABLE parent(id int PRIMARY KEY);
             CREATE TABLE child(id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
            |_| (),
        )
        .await;
        let child = |id: i32| Statement::new("INSERT INTO child VALUES ($1)", [id]);
        let parent = |id: i32| Statement::new("INSERT INTO parent VALUES ($1)", [id]);
        let batch = vec![
            shop.running("a", vec![child(1), parent(1)]),
            shop.running("b", vec![child(2)]),
            shop.running("c", vec![]),
        ];
        let outcomes = shop.commit(batch).await;
        let expected = [Outcome::Committed, Outcome::Refused, Outcome::Committed];
        assert_eq!(outcomes, expected);
        assert_eq!(shop.number("SELECT count(*) FROM child"), 1);
        assert!(!shop.is_there("b").await);
    });
}

/// Replicas update the same rows in different orders. A unit that waits too long for a lock is
/// busy, well before the server checks for deadlocks, and the stock matches the committed units.
#[test]
fn replicas_that_update_the_same_rows_lose_no_update() {
    block_on(async {
        let shop = Shop::open(TABLES, |_| ()).await;
        let replicas = (0..3).map(|replica| {
            let (runtime, prefix) = (Arc::clone(&shop.runtime), shop.prefix.clone());
            tokio::spawn(async move {
                let mut config = config(&prefix);
                config.lock_timeout = Duration::from_millis(200);
                let store = prepared(&config, &runtime).await;
                let mut taken = 0;
                for n in 0..10 {
                    let mut statements = vec![take("egg"), take("ham")];
                    statements.rotate_left((replica + n) % 2);
                    let unit = Unit {
                        statements,
                        ..unit(&runtime)
                    };
                    let units = Arc::new(vec![unit]);
                    let outcome = loop {
                        if let Ok(outcomes) = store.commit(Arc::clone(&units)).await {
                            break outcomes[0];
                        }
                    };
                    taken += i64::from(outcome == Outcome::Committed);
                }
                taken
            })
        });
        let mut taken = 0;
        for replica in replicas.collect::<Vec<_>>() {
            taken += replica.await.unwrap();
        }
        assert_eq!(shop.number("SELECT sum(free) FROM stock"), 20 - 2 * taken);
        assert!(taken > 0);
    });
}
