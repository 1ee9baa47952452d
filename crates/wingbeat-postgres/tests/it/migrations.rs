//! A service's own tables change while it runs.

use wingbeat_core::unit::Outcome;
use wingbeat_core::{Class, Statement};

use crate::conformance::block_on;
use crate::sql::{Shop, TABLES};

const ALL: &str = "SELECT * FROM stock WHERE sku = $1";

/// The prepared statement has the old columns. It is prepared again, and the unit is not refused.
#[test]
fn a_query_of_a_table_with_a_new_column_succeeds_when_retried() {
    block_on(async {
        let shop = Shop::open(TABLES, |config| config.connections_max = 6).await;
        let all = async |columns: usize| {
            let transaction = shop.store.begin().await.unwrap();
            let row = transaction.query_one(ALL, ["egg"]).await;
            row.map(|row| assert_eq!(row.len(), columns))
        };
        // Two connections have prepared the statement.
        let (first, second) = (shop.store.begin().await, shop.store.begin().await);
        for transaction in [first.unwrap(), second.unwrap()] {
            transaction.query_one(ALL, ["egg"]).await.unwrap();
        }
        shop.number("ALTER TABLE stock ADD COLUMN shelf int; SELECT 1");
        let outdated = all(3).await.unwrap_err();
        assert_eq!(
            (outdated.class(), outdated.code()),
            (Class::Retry, "statement_busy")
        );
        for _ in 0..4 {
            all(3).await.unwrap();
        }
    });
}

/// The store retries a unit's statement at once.
#[test]
fn a_unit_on_a_table_with_a_new_column_is_committed() {
    block_on(async {
        let shop = Shop::open(TABLES, |config| config.connections_max = 2).await;
        let asking = |id| shop.running(id, vec![Statement::new(ALL, ["egg"]).expecting(1)]);
        assert_eq!(shop.commit(vec![asking("a")]).await, [Outcome::Committed]);
        shop.number("ALTER TABLE stock ADD COLUMN shelf int; SELECT 1");
        let outcomes = shop.commit(vec![asking("b"), asking("c")]).await;
        assert_eq!(outcomes, [Outcome::Committed; 2]);
    });
}
