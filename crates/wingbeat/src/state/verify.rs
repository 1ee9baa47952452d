//! Recomputes what is stored twice: snapshots from their history, own views from what they show.

use wingbeat_core::{Key, Name, Result};

use super::aggregate::{Aggregate, Snapshot};
use super::entity::Entity;
use super::reads::Reads;
use super::view::ViewRow;
use crate::{decode, encode};

/// Something that is not what its source says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Of which aggregate or entity.
    pub id: String,
    /// What differs.
    pub what: String,
}

/// Some of what was recomputed.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// How many were looked at.
    pub checked: u64,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

impl Reads {
    /// Folds the history of some aggregates and compares their snapshots and rows with it.
    ///
    /// # Errors
    ///
    /// The store's, and what cannot be decoded.
    pub async fn verify_aggregates<A: Aggregate>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Verified> {
        let store = &self.service().store;
        let records = store.scan(Name::new(A::NAME), after, limit).await?;
        let mut verified = Verified {
            next: records.last().map(|(id, _)| id.clone()),
            ..Verified::default()
        };
        for (id, record) in records {
            verified.checked += 1;
            let snapshot: Snapshot<A> = decode(&record.body)?;
            let key = Key::new(Name::new(A::NAME), id.clone());
            let mut state = A::default();
            let mut sequence = 0;
            for event in store.history(&key, 0).await? {
                state.apply(&decode(&event.body)?);
                sequence = event.sequence;
                if sequence == snapshot.sequence {
                    break; // What came since is not in this snapshot.
                }
            }
            if sequence != snapshot.sequence || encode(&state) != encode(&snapshot.state) {
                let what = "the snapshot is not what its events say".into();
                verified.differences.push(Difference {
                    id: id.clone(),
                    what,
                });
            }
            self.verify_rows(&id, state.rows(&id), &mut verified)
                .await?;
        }
        Ok(verified)
    }

    /// Compares the rows of some entities with the entities.
    ///
    /// # Errors
    ///
    /// The store's, and what cannot be decoded.
    pub async fn verify_entities<E: Entity>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Verified> {
        let entities = self.entities::<E>(after, limit).await?;
        let mut verified = Verified {
            next: entities.last().map(|(id, _)| id.clone()),
            ..Verified::default()
        };
        for (id, entity) in entities {
            verified.checked += 1;
            self.verify_rows(&id, entity.rows(&id), &mut verified)
                .await?;
        }
        Ok(verified)
    }

    async fn verify_rows(
        &self,
        id: &str,
        rows: Vec<ViewRow>,
        verified: &mut Verified,
    ) -> Result<()> {
        for expected in rows {
            let found = self
                .service()
                .store
                .row(expected.view, &expected.key)
                .await?;
            let what = match found {
                Some(row) if row == expected.row => continue,
                Some(_) => "differs",
                None => "is missing",
            };
            verified.differences.push(Difference {
                id: id.into(),
                what: format!("row {} of view {} {what}", expected.key, expected.view),
            });
        }
        Ok(())
    }
}
