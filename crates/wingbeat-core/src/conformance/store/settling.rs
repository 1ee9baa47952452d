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
            settles: vec![settles.clone()],
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

/// The deliveries of a batch are settled with one unit, and each is a duplicate from then on. The
/// unit itself can be submitted again.
pub async fn a_unit_settles_several_deliveries_together(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let batch: Vec<Settled> = (0..40).map(|_| bench.settlement()).collect();
    let unknown = bench.settlement();
    let unit = Unit {
        settles: batch.clone(),
        ..everything(&bench, "a")
    };
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    let bench = bench.reopen(&fixture).await;
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    for settles in [&batch[..1], &batch[39..]] {
        let again = Unit {
            settles: settles.to_vec(),
            ..everything(&bench, "b")
        };
        assert_eq!(bench.commit(again).await, Outcome::Duplicate);
    }
    let asked = vec![batch[7].clone(), unknown, batch[39].clone()];
    let known = bench.store.settled_among(bench.unit().service, asked).await;
    assert_eq!(known.expect("the store can be read"), [true, false, true]);
    assert_eq!((bench.load("b").await, counter(&bench).await), (None, 1));
}

/// A batch with one known delivery has no effects, whatever its place. The others are settled by a
/// later unit, and units beside it are committed.
pub async fn a_known_delivery_among_several_leaves_the_others_unsettled(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    for place in 0..3 {
        let batch: Vec<Settled> = (0..3).map(|_| bench.settlement()).collect();
        let known = Unit {
            settles: vec![batch[place].clone()],
            ..bench.unit()
        };
        let all = Unit {
            settles: batch.clone(),
            ..everything(&bench, "a")
        };
        let beside = Unit {
            settles: vec![bench.settlement()],
            ..bench.unit()
        };
        let outcomes = bench.commit_all(vec![known, all.clone(), beside]).await;
        let expected = [Outcome::Committed, Outcome::Duplicate, Outcome::Committed];
        assert_eq!(outcomes, expected, "place {place}");
        assert_eq!(bench.load("a").await, None, "place {place}");
        let others = batch.iter().enumerate().filter(|(at, _)| *at != place);
        let others = Unit {
            settles: others.map(|(_, settled)| settled.clone()).collect(),
            ..bench.unit()
        };
        assert_eq!(
            bench.commit(others).await,
            Outcome::Committed,
            "place {place}"
        );
    }
}
