//! Verification of derived data: snapshots against histories, view rows against their sources.

use wingbeat_core::{Key, Name, Result};

use super::aggregate::{Aggregate, Snapshot};
use super::entity::Entity;
use super::reads::Reads;
use super::view::ViewRow;
use crate::encode;

/// A stored snapshot or view row that differs from its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Difference {
    /// The id of the aggregate or entity.
    pub id: String,
    /// A description of the difference.
    pub description: String,
}

/// The result of verifying one page of aggregates or entities.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// The number of aggregates or entities that were compared.
    pub checked: u64,
    /// The differences that were found.
    pub differences: Vec<Difference>,
    /// The id after which the next page starts; `None` after the last page.
    pub next: Option<String>,
}

impl Reads {
    /// Folds the histories of at most `limit` aggregates, starting after the id `after`, and
    /// compares their snapshots and view rows with the result.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a snapshot or an event does not
    /// match its type.
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
            let key = Key::new(Name::new(A::NAME), id.clone());
            let upcasts = A::upcasts();
            let snapshot = Snapshot::<A>::stored(&record.body);
            let mut state = A::default();
            let mut sequence = 0;
            for event in store.history(&key, 0).await? {
                state.apply(&upcasts.read(&event.body)?);
                sequence = event.sequence;
                if snapshot.as_ref().is_some_and(|it| it.sequence == sequence) {
                    break; // The snapshot does not cover later events.
                }
            }
            // Readers fold the history themselves if the snapshot is of another release.
            let differs = snapshot.is_some_and(|snapshot| {
                sequence != snapshot.sequence || encode(&state) != encode(&snapshot.state)
            });
            if differs {
                let description = "the snapshot differs from its history".into();
                verified.differences.push(Difference {
                    id: id.clone(),
                    description,
                });
            }
            self.verify_rows(&id, state.rows(&id), &mut verified)
                .await?;
        }
        Ok(verified)
    }

    /// Compares the view rows of at most `limit` entities, starting after the id `after`, with the
    /// entities.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored entity does not match
    /// its type.
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
            let found_as = match found {
                Some(row) if row == expected.row => continue,
                Some(_) => "differs",
                None => "is missing",
            };
            verified.differences.push(Difference {
                id: id.into(),
                description: format!("row {} of view {} {found_as}", expected.key, expected.view),
            });
        }
        Ok(())
    }
}
