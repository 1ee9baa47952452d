//! Commits random batches to PostgreSQL and to the model's store: outcomes and stored data must be
//! equal. So both paths through the commit function have the same meaning.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use wingbeat::TokioRuntime;
use wingbeat::test::model::Model;
use wingbeat_core::collections::HashMap;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Append, Outcome, Read, Row, RowWrite, Settled};
use wingbeat_core::{Key, MessageId, Name, RuntimeExt as _, Store, Unit};

use crate::conformance::block_on;
use crate::replicas::{SERVICE, key, prepared, unit, write};

const VIEW: Name = Name::new("things_seen");
const QUEUE: Name = Name::new("orders.things");
const COUNTER: Name = Name::new("handled");
/// So few that units conflict.
const KEYS: u64 = 5;
const BATCHES: u64 = 400;
const UNITS_MAX: u64 = 6;

/// Pseudo-random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn id(&mut self) -> String {
        format!("k{}", self.below(KEYS))
    }
}

/// One of the two stores, and the versions that the next unit of the batch reads.
struct Side {
    store: Arc<dyn Store>,
    found: HashMap<Key, Option<u64>>,
    last: HashMap<Key, u64>,
}

impl Side {
    async fn version(&mut self, key: &Key) -> Option<u64> {
        if let Some(found) = self.found.get(key) {
            return *found;
        }
        let record = self.store.load(SERVICE, key).await.unwrap();
        Some(record.map_or(0, |record| record.version))
    }

    async fn last_event(&mut self, key: &Key) -> u64 {
        if let Some(last) = self.last.get(key) {
            return *last;
        }
        self.store.history(SERVICE, key, 0).await.unwrap().len() as u64
    }

    /// Returns the unit that a process would submit to this store.
    async fn unit(&mut self, plan: &Plan) -> Unit {
        let mut unit = plan.unit.clone();
        for (id, off) in &plan.reads {
            if let Some(version) = self.version(&key(id)).await {
                let version = version + off;
                unit.reads.push(Read {
                    key: key(id),
                    version,
                });
            }
        }
        for (id, off) in &plan.events {
            let last = self.last_event(&key(id)).await + off;
            self.last.insert(key(id), last + 1);
            unit.appends.push(Append {
                key: key(id),
                sequence: last + 1,
                at: unit.at,
                body: Bytes::from_static(b"e"),
            });
        }
        for written in &unit.writes {
            let read = unit.reads.iter().find(|read| read.key == written.key);
            let before = match self.found.get(&written.key) {
                Some(found) => *found,
                None => read.map(|read| read.version),
            };
            let after = match &written.body {
                // After a removal, both continue the versions, which are not followed here.
                Some(_) if before == Some(0) => None,
                Some(_) => before.map(|version| version + 1),
                None => Some(0),
            };
            self.found.insert(written.key.clone(), after);
        }
        unit
    }
}

/// A unit without the versions, which depend on the store.
struct Plan {
    unit: Unit,
    /// Ids, and what to add to the version to make it wrong.
    reads: Vec<(String, u64)>,
    events: Vec<(String, u64)>,
}

/// Returns a random unit. In each batch some keys are only read, and the other keys are read only
/// by units that write them. Otherwise a group that is retried unit by unit may come after a unit
/// that overwrote its reads: it is then stale, correctly, where the model commits it.
fn plan(batch: u64, dice: &mut Dice, runtime: &SharedRuntime, settled: &mut Vec<Uuid>) -> Plan {
    let only_read = [batch % KEYS, (batch + 1) % KEYS].map(|number| format!("k{number}"));
    let mut unit = unit(runtime);
    let mut reads: Vec<(String, u64)> = Vec::new();
    for _ in 0..dice.below(3) {
        let id = dice.id();
        if reads.iter().all(|(read, _)| *read != id) {
            reads.push((id, if dice.one_in(12) { 3 } else { 0 }));
        }
    }
    for _ in 0..dice.below(3) {
        let id = if reads.is_empty() || dice.one_in(4) {
            dice.id()
        } else {
            let index = usize::try_from(dice.below(reads.len() as u64)).unwrap();
            reads[index].0.clone()
        };
        if unit.writes.iter().all(|write| write.key.id != id) && !only_read.contains(&id) {
            let body = (!dice.one_in(5)).then(|| unit.id.0.as_bytes().to_vec());
            unit.writes.push(write(id, body));
        }
    }
    reads.retain(|(id, _)| only_read.contains(id) || unit.writes.iter().any(|it| it.key.id == *id));
    let mut events = Vec::new();
    if dice.one_in(5) {
        events.push((dice.id(), if dice.one_in(8) { 2 } else { 0 }));
    }
    if dice.one_in(4) {
        let columns = vec![(
            Name::new("colour"),
            ["red", "blue"][usize::from(dice.one_in(2))].to_owned(),
        )];
        let body = Bytes::copy_from_slice(unit.id.0.as_bytes());
        unit.rows.push(RowWrite {
            view: VIEW,
            key: dice.id(),
            row: (!dice.one_in(5)).then_some(Row { columns, body }),
        });
    }
    if dice.one_in(2) {
        let again = dice.one_in(6) && !settled.is_empty();
        let message = if again {
            settled[usize::try_from(dice.below(settled.len() as u64)).unwrap()]
        } else {
            runtime.id()
        };
        settled.push(message);
        unit.settles.push(Settled {
            queue: QUEUE,
            source: "shop".into(),
            message: MessageId(message),
            tag: None,
        });
    }
    unit.counts.push((COUNTER, 1));
    Plan {
        unit,
        reads,
        events,
    }
}

async fn stored(store: &dyn Store) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..KEYS {
        let id = format!("k{number}");
        let record = store.load(SERVICE, &key(&*id)).await.unwrap();
        let history = store.history(SERVICE, &key(&*id), 0).await.unwrap();
        let row = store.row(SERVICE, VIEW, &id).await.unwrap();
        let body = record.map(|record| record.body);
        all.push(format!("{id}: {body:?}, {} events, {row:?}", history.len()));
    }
    all.push(format!("{:?}", store.counters(SERVICE).await.unwrap()));
    all
}

#[test]
fn random_batches_have_the_same_outcomes_as_in_the_model() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("m{}_", runtime.id().simple());
        let model = Model::new(Arc::clone(&runtime));
        let ours = prepared(&prefix, &runtime).await;
        let stores: [Arc<dyn Store>; 2] = [ours, Arc::clone(&model.store) as Arc<_>];
        let (mut dice, mut settled) = (Dice(17), Vec::new());
        let mut seen: HashMap<String, u32> = HashMap::default();
        for batch in 0..BATCHES {
            let units = 1 + dice.below(UNITS_MAX);
            let plans: Vec<Plan> = (0..units)
                .map(|_| plan(batch, &mut dice, &runtime, &mut settled))
                .collect();
            let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
            for store in &stores {
                let mut side = Side {
                    store: Arc::clone(store),
                    found: HashMap::default(),
                    last: HashMap::default(),
                };
                let mut batch_units = Vec::new();
                for plan in &plans {
                    batch_units.push(side.unit(plan).await);
                }
                let batch_units = Arc::new(batch_units);
                outcomes.push(store.commit(Arc::clone(&batch_units)).await.unwrap());
                if dice.0 % 16 == 0 {
                    let again = store.commit(batch_units).await.unwrap();
                    assert!(again.iter().zip(&outcomes[outcomes.len() - 1]).all(
                        |(again, first)| {
                            *first != Outcome::Committed || *again == Outcome::Committed
                        }
                    ));
                }
            }
            assert_eq!(outcomes[0], outcomes[1], "batch {batch}");
            for outcome in &outcomes[0] {
                *seen.entry(format!("{outcome:?}")).or_default() += 1;
            }
            if batch % 20 == 0 {
                assert_eq!(
                    stored(&*stores[0]).await,
                    stored(&*stores[1]).await,
                    "batch {batch}"
                );
            }
        }
        assert_eq!(stored(&*stores[0]).await, stored(&*stores[1]).await);
        for outcome in ["Committed", "Stale", "Duplicate"] {
            assert!(
                seen.get(outcome).is_some_and(|times| *times > 20),
                "{seen:?}"
            );
        }
    });
}
