//! Deliveries that units settle: once.

use std::sync::Arc;

use super::commit::{counter, everything};
use crate::conformance::{Bench, Fixture, STOCK_PLACED};
use crate::unit::{Outcome, Settled};
use crate::{RuntimeExt as _, Unit};

/// A second unit that settles the same delivery is a duplicate, also after a restart.
pub async fn a_duplicate_delivery_has_no_effects(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let first = everything(&bench, "a");
    let again = Unit {
        settles: first.settles.clone(),
        ..everything(&bench, "b")
    };
    assert_eq!(bench.commit(first).await, Outcome::Committed);
    assert_eq!(bench.commit(again.clone()).await, Outcome::Duplicate);
    let bench = bench.reopen(&fixture).await;
    assert_eq!(
        bench
            .commit(Unit {
                id: bench.runtime.id().into(),
                ..again
            })
            .await,
        Outcome::Duplicate
    );
    assert_eq!((bench.load("b").await, counter(&bench).await), (None, 1));
}

/// The inbox also covers earlier units of the same batch.
pub async fn a_duplicate_in_the_same_batch_has_no_effects(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let first = everything(&bench, "a");
    let again = Unit {
        settles: first.settles.clone(),
        ..everything(&bench, "b")
    };
    let outcomes = bench.commit_all(vec![first, again]).await;
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Duplicate]);
    assert_eq!((bench.load("b").await, counter(&bench).await), (None, 1));
}

/// Deliveries differ if their queue, their source or their message differs.
pub async fn a_delivery_is_known_by_queue_source_and_message(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let first = bench.settlement();
    let others = [
        first.clone(),
        Settled {
            queue: STOCK_PLACED,
            ..first.clone()
        },
        Settled {
            source: "elsewhere".into(),
            ..first.clone()
        },
        Settled {
            message: bench.runtime.id().into(),
            ..first.clone()
        },
    ];
    for settles in others {
        let known = bench
            .store
            .settled(settles.queue, &settles.source, settles.message)
            .await;
        assert!(
            !known.expect("the store can be read"),
            "not settled yet: {settles:?}"
        );
        let unit = Unit {
            settles: Some(settles.clone()),
            ..bench.unit()
        };
        assert_eq!(bench.commit(unit).await, Outcome::Committed);
        let known = bench
            .store
            .settled(settles.queue, &settles.source, settles.message)
            .await;
        assert!(
            known.expect("the store can be read"),
            "settled: {settles:?}"
        );
    }
}
