//! Transactions of handlers: committed with the unit, or rolled back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::{Outcome, Read, Settled};
use wingbeat_core::{Class, Name, RuntimeExt as _, Store, Unit};
use wingbeat_postgres::{Config, Transaction};

use crate::conformance::block_on;
use crate::replicas::{SERVICE, key, write};
use crate::sql::{EGGS, Shop, TABLES, take};

/// Maximum wait for something that must happen.
const SOON: Duration = Duration::from_secs(30);
/// A timeout that must not expire: longer than [`SOON`].
const LONG: Duration = Duration::from_secs(90);
const QUEUE: Name = Name::new("orders.placed");

impl Shop {
    /// Begins a transaction that takes an egg.
    async fn taking(&self) -> Transaction {
        let transaction = self.store.begin().await.expect("one is free");
        let row = transaction
            .query_one("SELECT free FROM stock WHERE sku = $1 FOR UPDATE", ["egg"])
            .await;
        assert!(row.expect("there are eggs").get::<_, i32>(0) > 0);
        let taken = transaction.execute("UPDATE stock SET free = free - 1 WHERE sku = $1", ["egg"]);
        assert_eq!(taken.await.expect("it is locked"), 1);
        transaction
    }

    async fn unit_in(&self, id: &str, transaction: Transaction) -> Unit {
        Unit {
            transaction: Some(transaction.into()),
            ..self.running(id, vec![])
        }
    }

    fn delivery(&self) -> Vec<Settled> {
        vec![Settled {
            queue: QUEUE,
            source: "shop".into(),
            message: self.runtime.id().into(),
            tag: None,
        }]
    }

    /// Waits until no transaction has a lock on the stock.
    fn assert_unlocked(&self) {
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'stock'::regclass";
        let start = Instant::now();
        while self.number(locks) > 0 {
            assert!(start.elapsed() < SOON, "a transaction stays open");
        }
    }

    /// Like the runtime, submits a unit until the store returns its outcome.
    async fn submit(&self, unit: &Unit) -> Outcome {
        let units = Arc::new(vec![unit.clone()]);
        loop {
            match self.store.commit(Arc::clone(&units)).await {
                Ok(outcomes) => return outcomes[0],
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

async fn shop() -> Shop {
    let settings = |config: &mut Config| {
        config.connections_max = 6;
        config.lock_timeout = Duration::from_secs(4);
    };
    Shop::open(TABLES, settings).await
}

#[test]
fn a_transaction_is_committed_with_inbox_records_and_statements() {
    block_on(async {
        let shop = shop().await;
        let delivery = shop.delivery();
        let in_transaction = Unit {
            settles: delivery.clone(),
            statements: vec![take("ham")],
            ..shop.unit_in("a", shop.taking().await).await
        };
        let batch = vec![
            shop.running("before", vec![take("ham")]),
            in_transaction,
            shop.running("after", vec![]),
        ];
        assert_eq!(shop.number(EGGS), 10);
        assert_eq!(shop.commit(batch).await, [Outcome::Committed; 3]);
        assert_eq!(shop.number(EGGS), 9);
        assert_eq!(shop.number("SELECT free FROM stock WHERE sku = 'ham'"), 8);
        assert!(shop.is_there("a").await);
        let settled = &delivery[0];
        let known = shop
            .store
            .settled(QUEUE, &settled.source, settled.message)
            .await;
        assert!(known.unwrap());
    });
}

/// A unit sees the writes of an earlier unit of the batch, and is stale if that unit was refused.
#[test]
fn a_unit_with_a_transaction_is_committed_in_the_order_of_the_batch() {
    block_on(async {
        let shop = shop().await;
        let on = |id: &str, unit: Unit| Unit {
            reads: vec![Read {
                key: key(id),
                version: 1,
            }],
            ..unit
        };
        let built = on("a", shop.unit_in("b", shop.taking().await).await);
        let further = on("b", shop.running("c", vec![]));
        let batch = vec![shop.running("a", vec![]), built, further];
        assert_eq!(shop.commit(batch).await, [Outcome::Committed; 3]);

        let refused = on("missing", shop.running("x", vec![]));
        let built = on("x", shop.unit_in("y", shop.taking().await).await);
        let further = on("y", shop.running("z", vec![]));
        let outcomes = shop.commit(vec![refused, built, further]).await;
        assert_eq!(outcomes, [Outcome::Stale; 3]);
        assert_eq!(shop.number(EGGS), 9);
    });
}

#[test]
fn the_transaction_of_a_refused_unit_is_rolled_back() {
    block_on(async {
        let shop = shop().await;
        let stale = Unit {
            reads: vec![Read {
                key: key("missing"),
                version: 3,
            }],
            ..shop.unit_in("a", shop.taking().await).await
        };
        assert_eq!(shop.commit(vec![stale]).await, [Outcome::Stale]);
        let delivery = shop.delivery();
        let first = Unit {
            settles: delivery.clone(),
            ..shop.running("b", vec![])
        };
        assert_eq!(shop.commit(vec![first]).await, [Outcome::Committed]);
        let again = Unit {
            settles: delivery,
            ..shop.unit_in("a", shop.taking().await).await
        };
        assert_eq!(shop.commit(vec![again]).await, [Outcome::Duplicate]);
        let unmet = Unit {
            statements: vec![take("nothing")],
            ..shop.unit_in("a", shop.taking().await).await
        };
        let outcomes = shop.commit(vec![unmet]).await;
        assert!(matches!(outcomes[..], [Outcome::Unmet(_)]), "{outcomes:?}");
        assert_eq!(shop.number(EGGS), 10);
        assert!(!shop.is_there("a").await);
        shop.assert_unlocked();
    });
}

#[test]
fn a_dropped_transaction_is_rolled_back_and_its_connection_is_reusable() {
    block_on(async {
        let two = |config: &mut Config| {
            config.connections_max = 2;
            config.statement_timeout = LONG;
        };
        let shop = Shop::open(TABLES, two).await;
        for _ in 0..5 {
            drop(shop.taking().await);
            let unit = shop.unit_in("never", shop.taking().await).await;
            drop(unit);
        }
        // A transaction that is dropped while its statement runs delays nobody.
        let transaction = shop.store.begin().await.unwrap();
        let slow = transaction.query("SELECT pg_sleep(60)", ());
        let a_while = Duration::from_millis(200);
        tokio::time::timeout(a_while, slow)
            .await
            .expect_err("it is slow");
        drop(transaction);
        for _ in 0..4 {
            let commit = shop.commit(vec![shop.running("a", vec![take("ham")])]);
            let outcomes = tokio::time::timeout(SOON, commit).await;
            assert_eq!(
                outcomes.expect("the commit does not wait"),
                [Outcome::Committed]
            );
        }
        assert_eq!(shop.number(EGGS), 10);
        assert!(!shop.is_there("never").await);
    });
}

/// The backend terminates at COMMIT. Nothing takes effect, and the handler runs again.
#[test]
fn a_unit_whose_backend_terminates_at_commit_is_stale_and_has_no_effect() {
    block_on(async {
        let shop = shop().await;
        shop.number(
            "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid());
                  PERFORM pg_sleep(9); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER gone AFTER UPDATE ON stock DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION gone();
             SELECT 1",
        );
        let unit = shop.unit_in("a", shop.taking().await).await;
        let unknown = shop.store.commit(Arc::new(vec![unit.clone()])).await;
        assert_eq!(
            unknown.expect_err("it is unknown").code(),
            "store_unavailable"
        );
        // The handler runs again, so this attempt must never take effect, however often and late it
        // is submitted.
        for _ in 0..3 {
            assert_eq!(shop.submit(&unit).await, Outcome::Stale);
        }
        assert_eq!(shop.number(EGGS), 10);
        let late = Unit {
            transaction: None,
            ..unit
        };
        assert_eq!(shop.submit(&late).await, Outcome::Stale);
        assert!(!shop.is_there("a").await);
        shop.number("DROP TRIGGER gone ON stock; SELECT 1");
        let again = shop.unit_in("a", shop.taking().await).await;
        assert_eq!(shop.commit(vec![again]).await, [Outcome::Committed]);
        assert_eq!(shop.number(EGGS), 9);
    });
}

#[test]
fn a_unit_submitted_again_after_its_commit_is_committed_once() {
    block_on(async {
        let shop = shop().await;
        let with_delivery = Unit {
            settles: shop.delivery(),
            ..shop.unit_in("a", shop.taking().await).await
        };
        assert_eq!(
            shop.commit(vec![with_delivery.clone()]).await,
            [Outcome::Committed]
        );
        let without = shop.unit_in("b", shop.taking().await).await;
        for unit in [without, with_delivery] {
            for _ in 0..2 {
                assert_eq!(shop.commit(vec![unit.clone()]).await, [Outcome::Committed]);
            }
        }
        assert_eq!(shop.number(EGGS), 8);
        let versions = [key("a"), key("b")].map(|key| {
            let store = Arc::clone(&shop.store);
            async move { store.load(SERVICE, &key).await.unwrap().unwrap().version }
        });
        for version in versions {
            assert_eq!(version.await, 1);
        }
    });
}

/// Handlers have as many transactions open as they may. Commits and reads still find a connection.
#[test]
fn open_transactions_leave_connections_for_commits() {
    block_on(async {
        let quick = |config: &mut Config| {
            config.connections_max = 4;
            config.connect_timeout = Duration::from_secs(4);
        };
        let shop = Shop::open(TABLES, quick).await;
        let open = [
            shop.store.begin().await.unwrap(),
            shop.store.begin().await.unwrap(),
        ];
        let commits = (0..20).map(|n| {
            let unit = shop.running(&format!("n{n}"), vec![]);
            shop.commit(vec![unit])
        });
        let commits = futures_util::future::join_all(commits);
        let (none, commits) = tokio::join!(shop.store.begin(), commits);
        for outcomes in commits {
            assert_eq!(outcomes, [Outcome::Committed]);
        }
        let none = none.expect_err("half of four connections are in use");
        assert_eq!(
            (none.class(), none.code()),
            (Class::Retry, "transactions_busy")
        );
        let [first, second] = open;
        let batch = vec![
            shop.unit_in("a", first).await,
            shop.unit_in("b", second).await,
        ];
        assert_eq!(shop.commit(batch).await, [Outcome::Committed; 2]);
        shop.store.begin().await.expect("they have ended");
    });
}

#[test]
fn a_pool_has_at_least_two_connections() {
    block_on(async {
        let one = |config: &mut Config| config.connections_max = 1;
        let shop = Shop::open(TABLES, one).await;
        let transaction = shop.taking().await;
        let batch = vec![
            shop.running("a", vec![]),
            shop.unit_in("b", transaction).await,
        ];
        assert_eq!(shop.commit(batch).await, [Outcome::Committed; 2]);
    });
}

#[test]
fn a_transaction_of_another_store_is_refused() {
    block_on(async {
        let (shop, other) = (shop().await, shop().await);
        let unit = shop.unit_in("a", other.taking().await).await;
        assert_eq!(shop.commit(vec![unit]).await, [Outcome::Refused]);
        assert_eq!(other.number(EGGS), 10);
    });
}

#[test]
fn errors_are_classed_and_end_the_transaction() {
    block_on(async {
        let shop = shop().await;
        let transaction = shop.taking().await;
        let refused = transaction.execute("COMMIT", ()).await.unwrap_err();
        assert_eq!(
            (refused.class(), refused.code()),
            (Class::Reject, "statement_refused")
        );
        let none = transaction.query_one("SELECT 1 WHERE false", ()).await;
        let none = none.unwrap_err();
        assert_eq!(
            (none.class(), none.code()),
            (Class::Retry, "rows_unexpected")
        );
        let wrong = transaction.execute("UPDATE stock SET free = -1", ()).await;
        assert_eq!(wrong.unwrap_err().code(), "statement_refused");
        // A unit whose handler ignored the error is refused: COMMIT would roll back without an
        // error.
        let unit = shop.unit_in("a", transaction).await;
        assert_eq!(shop.commit(vec![unit]).await, [Outcome::Refused]);
        assert_eq!(shop.number(EGGS), 10);
        let unit = Unit {
            writes: vec![write("b", Some(vec![1]))],
            ..shop.unit()
        };
        assert_eq!(shop.commit(vec![unit]).await, [Outcome::Committed]);
    });
}

#[test]
fn a_handler_that_hangs_loses_its_transaction() {
    block_on(async {
        let quick = |config: &mut Config| config.statement_timeout = Duration::from_secs(3);
        let shop = Shop::open(TABLES, quick).await;
        let transaction = shop.taking().await;
        shop.assert_unlocked();
        let unit = shop.unit_in("a", transaction).await;
        assert_eq!(shop.submit(&unit).await, Outcome::Stale);
        assert_eq!(shop.number(EGGS), 10);
    });
}

/// A handler that stopped waiting for a statement cannot know whether it took effect.
#[test]
fn a_transaction_with_an_unfinished_statement_is_refused() {
    block_on(async {
        let long = |config: &mut Config| config.statement_timeout = LONG;
        let shop = Shop::open(TABLES, long).await;
        let transaction = shop.taking().await;
        let slow = transaction.query("SELECT pg_sleep(60)", ());
        let a_while = Duration::from_millis(200);
        let abandoned = tokio::time::timeout(a_while, slow).await;
        abandoned.expect_err("it is slow");
        let batch = vec![
            shop.unit_in("a", transaction).await,
            shop.running("b", vec![]),
        ];
        let outcomes = tokio::time::timeout(SOON, shop.commit(batch)).await;
        assert_eq!(
            outcomes.expect("the commit does not wait"),
            [Outcome::Refused, Outcome::Committed]
        );
        assert!(!shop.is_there("a").await);
    });
}

/// Another transaction has locked the record that the unit writes. The handler runs again, and the
/// batch is not submitted again.
#[test]
fn a_transaction_with_a_lock_timeout_on_a_record_is_busy() {
    block_on(async {
        let shop = shop().await;
        let unit = shop.running("a", vec![]);
        assert_eq!(shop.commit(vec![unit]).await, [Outcome::Committed]);
        let record = format!("\"{}{SERVICE}\".record", shop.prefix);
        let lock = format!("SELECT id FROM {record} WHERE id = 'a' FOR UPDATE");
        let holder = shop.store.begin().await.unwrap();
        holder.query_one(lock, ()).await.unwrap();
        let batch = vec![
            shop.unit_in("a", shop.taking().await).await,
            shop.running("b", vec![]),
        ];
        let busy = Outcome::Unmet(Unmet::Busy { statement: 0 });
        assert_eq!(shop.commit(batch).await, [busy, Outcome::Committed]);
        assert_eq!(shop.number(EGGS), 10);
    });
}
