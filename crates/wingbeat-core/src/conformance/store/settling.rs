//! Deliveries that units settle: once, parked or handled.

use std::sync::Arc;

use super::commit::{COUNTER, counter, everything};
use crate::conformance::{Bench, Fixture, STOCK_PLACED, put};
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

pub async fn a_parked_delivery_can_run_later(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let done = bench.settlement();
    let parked = Settled {
        done: false,
        ..done.clone()
    };
    let park = Unit {
        settles: Some(parked),
        writes: vec![put("parked", "m")],
        ..bench.unit()
    };
    assert_eq!(bench.commit(park).await, Outcome::Committed);
    assert!(
        !bench
            .store
            .settled(done.queue, &done.source, done.message)
            .await
            .expect("an answer")
    );
    let run = Unit {
        settles: Some(done.clone()),
        ..everything(&bench, "a")
    };
    assert_eq!(bench.commit(run).await, Outcome::Committed);
    let again = Unit {
        settles: Some(done),
        ..everything(&bench, "b")
    };
    assert_eq!(bench.commit(again).await, Outcome::Duplicate);
    assert!(bench.load("a").await.is_some());
}

pub async fn a_parked_delivery_is_parked_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let done = bench.settlement();
    let parked = Settled {
        done: false,
        ..done.clone()
    };
    let park = Unit {
        settles: Some(parked.clone()),
        counts: vec![(COUNTER, 1)],
        ..bench.unit()
    };
    for _ in 0..2 {
        assert_eq!(bench.commit(park.clone()).await, Outcome::Committed);
    }
    assert_eq!(counter(&bench).await, 1);
    bench
        .commit(Unit {
            settles: Some(done),
            ..bench.unit()
        })
        .await;
    let late = Unit {
        settles: Some(parked),
        counts: vec![(COUNTER, 1)],
        ..bench.unit()
    };
    assert_eq!(
        bench.commit(late).await,
        Outcome::Duplicate,
        "what is done cannot be parked any more"
    );
    assert_eq!(counter(&bench).await, 1);
}
