//! A batch ends with an outcome for each unit, however slow its statements are.

use std::time::Duration;

use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Statement, Unit};
use wingbeat_postgres::Config;

use crate::conformance::{block_on, open};
use crate::sql::{EGGS, Shop, TABLES, take};

/// Returns a statement that is much shorter than the timeout; twelve of them exceed it.
fn slow() -> Statement {
    Statement::new("SELECT pg_sleep(0.4)", ())
}

async fn shop() -> Shop {
    let short = |config: &mut Config| config.statement_timeout = Duration::from_secs(3);
    Shop::open(TABLES, short).await
}

/// Asserts that the store still commits.
async fn assert_commits(shop: &Shop) {
    let unit = shop.running("later", vec![take("ham")]);
    assert_eq!(shop.commit(vec![unit]).await, [Outcome::Committed]);
}

#[test]
fn many_units_that_wait_for_a_lock_do_not_delay_others_for_long() {
    block_on(async {
        let short = |config: &mut Config| config.statement_timeout = Duration::from_secs(5);
        let shop = Shop::open(TABLES, short).await;
        let other = open(&shop.prefix, &shop.runtime).await;
        let holder = other.begin().await.unwrap();
        let lock = holder.query_one("SELECT free FROM stock WHERE sku = $1 FOR UPDATE", ["egg"]);
        lock.await.unwrap();
        let mut batch: Vec<Unit> = (0..15)
            .map(|n| shop.running(&format!("busy{n}"), vec![take("egg")]))
            .collect();
        batch.push(shop.running("fine", vec![]));
        let bound = Duration::from_secs(14);
        let outcomes = tokio::time::timeout(bound, shop.commit(batch)).await;
        let mut expected = vec![Outcome::Unmet(Unmet::Busy { statement: 1 }); 15];
        expected.push(Outcome::Committed);
        assert_eq!(
            outcomes.expect("they do not wait one after another"),
            expected
        );
        assert!(shop.is_there("fine").await);
        drop(holder);
        assert_commits(&shop).await;
        assert_eq!(shop.number(EGGS), 10);
    });
}

#[test]
fn units_that_time_out_together_are_committed_one_by_one() {
    block_on(async {
        let shop = shop().await;
        let unit = |n| shop.running(&format!("slow{n}"), vec![slow()]);
        let outcomes = shop.commit((0..12).map(unit).collect()).await;
        assert_eq!(outcomes, [Outcome::Committed; 12]);
    });
}

#[test]
fn a_unit_whose_statements_time_out_is_busy_and_has_no_effect() {
    block_on(async {
        let shop = shop().await;
        let mut statements = vec![take("egg")];
        statements.extend(vec![slow(); 12]);
        let batch = vec![
            shop.running("slow", statements),
            shop.running("fine", vec![take("egg")]),
        ];
        let busy = Outcome::Unmet(Unmet::Busy { statement: 13 });
        assert_eq!(shop.commit(batch).await, [busy, Outcome::Committed]);
        assert!(!shop.is_there("slow").await);
        assert_commits(&shop).await;
        assert_eq!(shop.number(EGGS), 9);
    });
}

/// The unit is committed in a handler's transaction.
#[test]
fn a_transaction_whose_unit_times_out_is_rolled_back() {
    block_on(async {
        let shop = shop().await;
        let transaction = shop.store.begin().await.unwrap();
        let unit = Unit {
            transaction: Some(transaction.into()),
            ..shop.running("slow", vec![slow(); 12])
        };
        let busy = Outcome::Unmet(Unmet::Busy { statement: 12 });
        assert_eq!(shop.commit(vec![unit]).await, [busy]);
        for _ in 0..3 {
            assert_commits(&shop).await;
        }
        assert!(!shop.is_there("slow").await);
    });
}
