//! Several processes work on the data of one service.

use std::sync::Arc;

use bytes::Bytes;
use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Outcome, Read, Write};
use wingbeat_core::{Key, Name, RuntimeExt as _, Store, Topology, Unit};
use wingbeat_postgres::Postgres;

use crate::conformance::{block_on, open};

pub(crate) const SERVICE: Name = Name::new("orders");
const TABLE: Name = Name::new("things");

pub(crate) fn key(id: impl Into<String>) -> Key {
    Key::new(TABLE, id)
}

pub(crate) fn unit(runtime: &SharedRuntime) -> Unit {
    Unit::new(runtime.id().into(), SERVICE, runtime.now())
}

pub(crate) fn write(id: impl Into<String>, body: Option<Vec<u8>>) -> Write {
    Write {
        key: key(id),
        body: body.map(Bytes::from),
        due_at: None,
        expires_at: None,
    }
}

/// Opens the store and prepares the service's schema.
pub(crate) async fn prepared(prefix: &str, runtime: &SharedRuntime) -> Arc<Postgres> {
    let store = open(prefix, runtime).await;
    let prepared = store.prepare(&[SERVICE], &Topology::default()).await;
    prepared.expect("the schema can be created");
    store
}

/// Adds one to each number under these ids. Retries until no other unit conflicts.
pub(crate) async fn increment(store: &Postgres, runtime: &SharedRuntime, ids: &[String]) {
    'again: loop {
        let mut unit = unit(runtime);
        for id in ids {
            let Ok(found) = store.load(SERVICE, &key(id)).await else {
                tokio::task::yield_now().await;
                continue 'again;
            };
            let (version, number) = found.map_or((0, 0), |record| (record.version, record.body[0]));
            unit.reads.push(Read {
                key: key(id),
                version,
            });
            unit.writes.push(write(id, Some(vec![number + 1])));
        }
        let units = Arc::new(vec![unit]);
        // Like the runtime, submits the same unit again after an unknown outcome.
        let outcome = loop {
            match store.commit(Arc::clone(&units)).await {
                Ok(outcomes) => break outcomes[0],
                Err(_) => tokio::task::yield_now().await,
            }
        };
        match outcome {
            Outcome::Committed => return,
            Outcome::Stale => {}
            other => panic!("a unit without a delivery was {other:?}"),
        }
    }
}

/// Returns the numbers under these ids.
pub(crate) async fn numbers(store: &Postgres, ids: &[String]) -> Vec<u8> {
    let mut numbers = Vec::new();
    for id in ids {
        let record = store.load(SERVICE, &key(id)).await.unwrap();
        numbers.push(record.map_or(0, |record| record.body[0]));
    }
    numbers
}

/// Each replica writes the keys in a different order. None deadlocks, and no increment is lost.
#[test]
fn replicas_that_write_the_same_keys_lose_no_update() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("r{}_", runtime.id().simple());
        let ids: Vec<String> = (0..3).map(|n| format!("n{n}")).collect();
        let replicas = (0..4).map(|turn| {
            let (runtime, prefix) = (Arc::clone(&runtime), prefix.clone());
            let mut ids = ids.clone();
            ids.rotate_left(turn % 3);
            tokio::spawn(async move {
                let store = prepared(&prefix, &runtime).await;
                for _ in 0..20 {
                    increment(&store, &runtime, &ids).await;
                }
            })
        });
        for replica in replicas.collect::<Vec<_>>() {
            replica.await.unwrap();
        }
        let store = prepared(&prefix, &runtime).await;
        assert_eq!(numbers(&store, &ids).await, [80, 80, 80]);
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
        assert_eq!(crate::conformance::server().sql(deadlocks).trim(), "0");
    });
}

/// Otherwise a replica that read the record before its removal could commit a decision as if it had
/// read the new one.
#[test]
fn a_recreated_record_continues_the_versions() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("a{}_", runtime.id().simple());
        let store = prepared(&prefix, &runtime).await;
        for body in [Some(b"1".to_vec()), None, Some(b"2".to_vec())] {
            let mut unit = unit(&runtime);
            unit.writes.push(write("a", body));
            assert_eq!(
                store.commit(Arc::new(vec![unit])).await.unwrap(),
                [Outcome::Committed]
            );
        }
        let mut late = unit(&runtime);
        late.reads.push(Read {
            key: key("a"),
            version: 1,
        });
        late.writes
            .push(write("b", Some(b"decided on the removed record".to_vec())));
        assert_eq!(
            store.commit(Arc::new(vec![late])).await.unwrap(),
            [Outcome::Stale]
        );
        assert_eq!(
            store
                .load(SERVICE, &key("a"))
                .await
                .unwrap()
                .unwrap()
                .version,
            3
        );
    });
}

#[test]
fn a_unit_with_a_nul_character_is_refused_alone() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("z{}_", runtime.id().simple());
        let store = prepared(&prefix, &runtime).await;
        let put = |id: &str| {
            let mut unit = unit(&runtime);
            unit.writes.push(write(id, Some(vec![1])));
            unit
        };
        let outcomes = store
            .commit(Arc::new(vec![put("a"), put("b\0"), put("c")]))
            .await
            .unwrap();
        assert_eq!(
            outcomes,
            [Outcome::Committed, Outcome::Refused, Outcome::Committed]
        );
    });
}
