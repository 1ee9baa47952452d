//! Commits: atomic, validated, and applied once.

use std::sync::Arc;

use bytes::Bytes;

use crate::conformance::{Bench, Fixture, LEASE, ORDERS, SERVICES, key, put, read};
use crate::unit::{Append, Journal, Outcome, Row, RowWrite, Write};
use crate::{Key, Name, Unit};

pub(super) const COUNTER: Name = Name::new("hits");
const VIEW: Name = Name::new("parts");

/// Creates a unit with one effect of every kind, all under `id`.
pub(super) fn everything(bench: &Bench, id: &str) -> Unit {
    let mut unit = bench.unit();
    let body = Bytes::from_static(b"x");
    unit.writes.push(put(id, "x"));
    unit.writes.push(Write {
        key: Key::new(Name::new("timers"), id),
        due_at: Some(unit.at),
        ..put(id, "x")
    });
    unit.appends.push(Append {
        key: key(id),
        sequence: 1,
        at: unit.at,
        body: body.clone(),
    });
    unit.rows.push(RowWrite {
        view: VIEW,
        key: id.into(),
        row: Some(Row {
            columns: vec![],
            body: body.clone(),
        }),
    });
    unit.journal = Some(Journal {
        correlation: unit.id.0.into(),
        body,
    });
    unit.counts.push((COUNTER, 1));
    unit.settles = vec![bench.settlement()];
    unit
}

/// Counts the effects of [`everything`] that are visible.
pub(super) async fn parts(bench: &Bench, unit: &Unit, id: &str) -> usize {
    let store = &bench.store;
    let timers = store
        .claim_due(&SERVICES, bench.now(), LEASE, 100)
        .await
        .expect("the store can be read");
    let settled = unit.settles.first().expect("the unit settles a delivery");
    [
        bench.load(id).await.is_some(),
        timers.iter().any(|due| due.key.id == id),
        !store
            .history(ORDERS, &key(id), 0)
            .await
            .expect("the store can be read")
            .is_empty(),
        store
            .row(ORDERS, VIEW, id)
            .await
            .expect("the store can be read")
            .is_some(),
        !store
            .journal(ORDERS, unit.id.0.into())
            .await
            .expect("the store can be read")
            .is_empty(),
        counter(bench).await > 0,
        store
            .settled(settled.queue, &settled.source, settled.message)
            .await
            .expect("the store can be read"),
    ]
    .into_iter()
    .filter(|seen| *seen)
    .count()
}

pub(super) async fn counter(bench: &Bench) -> i64 {
    let counters = bench
        .store
        .counters(ORDERS)
        .await
        .expect("the store can be read");
    counters
        .iter()
        .filter(|(name, _)| *name == COUNTER)
        .map(|(_, value)| value)
        .sum()
}

/// A committed unit applies every kind of effect: records, timers, history, views, journal,
/// counters, inbox.
pub async fn all_parts_of_a_unit_become_visible_together(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let unit = everything(&bench, "a");
    assert_eq!(parts(&bench, &unit, "a").await, 0);
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    assert_eq!(parts(&bench, &unit, "a").await, 7);
}

/// A unit with an outdated read has no effect of any kind.
pub async fn a_stale_read_is_refused_and_leaves_nothing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench
        .commit(Unit {
            writes: vec![put("base", "1")],
            ..bench.unit()
        })
        .await;
    bench
        .commit(Unit {
            writes: vec![put("base", "2")],
            ..bench.unit()
        })
        .await;
    let unit = Unit {
        reads: vec![read("base", 1)],
        ..everything(&bench, "a")
    };
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Stale);
    assert_eq!(parts(&bench, &unit, "a").await, 0);
}

/// Version 0 means absent: the second unit that expects it is stale.
pub async fn an_absence_that_was_read_is_validated(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let absent = |value| Unit {
        reads: vec![read("a", 0)],
        writes: vec![put("a", value)],
        ..bench.unit()
    };
    assert_eq!(bench.commit(absent("1")).await, Outcome::Committed);
    assert_eq!(bench.commit(absent("2")).await, Outcome::Stale);
    assert_eq!(bench.load("a").await.expect("the record exists").body, "1");
}

/// A unit that only reads is stale as well if its read is outdated.
pub async fn a_decision_to_refuse_is_validated_like_a_write(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench
        .commit(Unit {
            writes: vec![put("a", "1")],
            ..bench.unit()
        })
        .await;
    let refusal = |version| Unit {
        reads: vec![read("a", version)],
        ..bench.unit()
    };
    assert_eq!(bench.commit(refusal(0)).await, Outcome::Stale);
    assert_eq!(bench.commit(refusal(1)).await, Outcome::Committed);
}

/// A write without a read replaces any version.
pub async fn blind_writes_need_no_version(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    for value in ["1", "2", "3"] {
        let unit = Unit {
            writes: vec![put("a", value)],
            ..bench.unit()
        };
        assert_eq!(bench.commit(unit).await, Outcome::Committed);
    }
    assert_eq!(bench.load("a").await.expect("the record exists").body, "3");
}

/// Each write raises the version of its record by exactly one.
pub async fn versions_grow_by_one(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    for version in 1..=5 {
        bench
            .commit(Unit {
                writes: vec![put("a", "x")],
                ..bench.unit()
            })
            .await;
        assert_eq!(
            bench.load("a").await.expect("the record exists").version,
            version
        );
    }
}

/// A record that was removed and put again is not mistaken for the one before.
pub async fn a_record_that_was_put_again_is_another(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let commit = async |write| {
        let unit = Unit {
            writes: vec![write],
            ..bench.unit()
        };
        assert_eq!(bench.commit(unit).await, Outcome::Committed);
    };
    let removal = Write {
        body: None,
        ..put("a", "")
    };
    let mut seen = Vec::new();
    for body in ["first", "second", "third"] {
        commit(put("a", body)).await;
        let version = bench.load("a").await.expect("the record exists").version;
        for earlier in &seen {
            let unit = Unit {
                reads: vec![read("a", *earlier)],
                writes: vec![put("a", "based on what was removed")],
                ..bench.unit()
            };
            assert_eq!(bench.commit(unit).await, Outcome::Stale, "{body}");
        }
        seen.push(version);
        commit(removal.clone()).await;
    }
    // The same within one batch.
    let units = [put("a", "fourth"), removal, put("a", "fifth")].map(|write| Unit {
        writes: vec![write],
        ..bench.unit()
    });
    bench.commit_all(units.into()).await;
    let last = bench.load("a").await.expect("the record exists").version;
    assert!(!seen.contains(&last), "{last} is none of {seen:?}");
}

/// A unit reads the versions that earlier units of its batch write.
pub async fn units_build_on_earlier_units_of_the_batch(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let step = |version, value| Unit {
        reads: vec![read("a", version)],
        writes: vec![put("a", value)],
        ..bench.unit()
    };
    let outcomes = bench
        .commit_all(vec![step(0, "1"), step(1, "2"), step(2, "3")])
        .await;
    assert_eq!(outcomes, [Outcome::Committed; 3]);
    let record = bench.load("a").await.expect("the record exists");
    assert_eq!((record.version, record.body), (3, Bytes::from_static(b"3")));
}

/// If an earlier unit of the batch is refused, all units that read its writes are stale, directly
/// or not.
pub async fn a_unit_built_on_a_refused_unit_is_stale(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let refused = Unit {
        reads: vec![read("missing", 7)],
        writes: vec![put("a", "1")],
        ..bench.unit()
    };
    let built = Unit {
        reads: vec![read("a", 1)],
        writes: vec![put("a", "2"), put("b", "2")],
        ..bench.unit()
    };
    let further = Unit {
        reads: vec![read("b", 1)],
        writes: vec![put("c", "3")],
        ..bench.unit()
    };
    let outcomes = bench.commit_all(vec![refused, built, further]).await;
    assert_eq!(outcomes, [Outcome::Stale; 3]);
    for id in ["a", "b", "c"] {
        assert_eq!(bench.load(id).await, None);
    }
}

/// The first unit expects version 1 of "a", but the store has version 2. The second unit read
/// version 2 as the first unit would have written it, which is not the version 2 that the store
/// has.
pub async fn a_refused_write_is_not_mistaken_for_another_of_its_version(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    for body in ["first", "rival"] {
        let write = Unit {
            writes: vec![put("a", body)],
            ..bench.unit()
        };
        assert_eq!(bench.commit(write).await, Outcome::Committed);
    }
    let step = |version, body| Unit {
        reads: vec![read("a", version)],
        writes: vec![put("a", body)],
        ..bench.unit()
    };
    let outcomes = bench
        .commit_all(vec![step(1, "refused"), step(2, "built")])
        .await;
    assert_eq!(outcomes, [Outcome::Stale; 2]);
    let record = bench.load("a").await.expect("the record exists");
    assert_eq!(
        (record.version, record.body),
        (2, Bytes::from_static(b"rival"))
    );
}

/// A stale unit does not affect its neighbours in the batch.
pub async fn units_that_share_nothing_do_not_fail_together(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let write = |id: &str| Unit {
        writes: vec![put(id, "1")],
        ..bench.unit()
    };
    let stale = Unit {
        reads: vec![read("x", 3)],
        ..write("b")
    };
    let outcomes = bench.commit_all(vec![write("a"), stale, write("c")]).await;
    assert_eq!(
        outcomes,
        [Outcome::Committed, Outcome::Stale, Outcome::Committed]
    );
    assert!(bench.load("a").await.is_some() && bench.load("c").await.is_some());
    assert_eq!(bench.load("b").await, None);
}

/// Of two units that both expect a key to be absent, the first wins.
pub async fn a_claimed_key_has_one_winner(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let claim = |value| Unit {
        reads: vec![read("a", 0)],
        writes: vec![put("a", value)],
        ..bench.unit()
    };
    let outcomes = bench
        .commit_all(vec![claim("first"), claim("second")])
        .await;
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Stale]);
    let record = bench.load("a").await.expect("the record exists");
    assert_eq!(
        (record.version, record.body),
        (1, Bytes::from_static(b"first"))
    );
}

/// Submitting a unit again reports it as committed and applies nothing.
pub async fn a_unit_submitted_again_is_committed_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let mut without_delivery = everything(&bench, "b");
    without_delivery.settles.clear();
    for unit in [everything(&bench, "a"), without_delivery] {
        let unit = Unit {
            reads: vec![read(&unit.writes[0].key.id, 0)],
            ..unit
        };
        for _ in 0..3 {
            assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
        }
        assert_eq!(
            bench
                .load(&unit.writes[0].key.id)
                .await
                .expect("the record exists")
                .version,
            1
        );
        let journal = bench
            .store
            .journal(ORDERS, unit.id.0.into())
            .await
            .expect("the store can be read");
        assert_eq!(journal.len(), 1);
    }
    assert_eq!(counter(&bench).await, 2);
}

/// Unit ids survive a restart.
pub async fn a_unit_submitted_again_after_a_restart_is_committed_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let mut unit = everything(&bench, "a");
    unit.reads.push(read("a", 0));
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    let bench = bench.reopen(&fixture).await;
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    assert_eq!(
        (
            counter(&bench).await,
            bench.load("a").await.expect("the record exists").version
        ),
        (1, 1)
    );
}

/// The same unit twice in one batch is applied once.
pub async fn a_unit_twice_in_one_batch_is_committed_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let unit = everything(&bench, "a");
    let outcomes = bench.commit_all(vec![unit.clone(), unit]).await;
    assert_eq!(outcomes, [Outcome::Committed; 2]);
    assert_eq!(
        (
            counter(&bench).await,
            bench.load("a").await.expect("the record exists").version
        ),
        (1, 1)
    );
}

/// A unit that the store can never apply is refused without its neighbours; see
/// [`Fixture::poison`].
pub async fn a_poisonous_unit_stands_alone(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let write = |id: &str| Unit {
        writes: vec![put(id, "1")],
        ..bench.unit()
    };
    let Some(poisoned) = fixture.poison(write("b")) else {
        return;
    };
    let built = Unit {
        reads: vec![read("b", 1)],
        ..write("d")
    };
    let outcomes = bench
        .commit_all(vec![write("a"), poisoned, write("c"), built])
        .await;
    assert_eq!(
        outcomes,
        [
            Outcome::Committed,
            Outcome::Refused,
            Outcome::Committed,
            Outcome::Stale
        ]
    );
    assert!(bench.load("a").await.is_some() && bench.load("c").await.is_some());
    assert_eq!((bench.load("b").await, bench.load("d").await), (None, None));
}

/// Every kind of effect survives a restart.
pub async fn committed_units_survive_a_restart(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let unit = everything(&bench, "a");
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    let bench = bench.reopen(&fixture).await;
    assert_eq!(parts(&bench, &unit, "a").await, 7);
}

/// A batch without units, and a unit without effects, are valid.
pub async fn an_empty_batch_commits(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    assert_eq!(bench.commit_all(Vec::new()).await, []);
    assert_eq!(bench.commit(bench.unit()).await, Outcome::Committed);
}

/// A batch of 1,500 units, each of which builds on the one before.
pub async fn a_large_batch_is_committed_in_order(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let step = |n: u64| {
        let chained = Unit {
            reads: vec![read("a", n)],
            writes: vec![put("a", "x")],
            ..bench.unit()
        };
        Unit {
            counts: vec![(COUNTER, 1)],
            ..chained
        }
    };
    let outcomes = bench.commit_all((0..1500).map(step).collect()).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == Outcome::Committed)
    );
    assert_eq!(
        (
            counter(&bench).await,
            bench.load("a").await.expect("the record exists").version
        ),
        (1500, 1500)
    );
}
