//! Verification of one type in tests and audits: snapshots against histories, view rows against
//! their sources.

use wingbeat_core::{Name, Result};

use super::aggregate::Aggregate;
use super::check::{of_aggregate, of_entity, settled};
use super::derived::CheckRecord;
use super::entity::Entity;
use super::reads::Reads;

/// A stored snapshot, history or view row that differs from its source.
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
    /// compares their snapshots and view rows with the result. [`App::verify`](crate::App::verify)
    /// verifies all that services store.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` or `unknown_form` if a snapshot or
    /// an event cannot be read; `panicked` if the aggregate panics.
    pub async fn verify_aggregates<A: Aggregate>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Verified> {
        self.verify(A::NAME, &of_aggregate::<A>(), after, limit)
            .await
    }

    /// Compares the view rows of at most `limit` entities, starting after the id `after`, with the
    /// entities.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored entity does not match
    /// its type; `panicked` if the entity panics.
    pub async fn verify_entities<E: Entity>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Verified> {
        self.verify(E::NAME, &of_entity::<E>(), after, limit).await
    }

    async fn verify(
        &self,
        table: &'static str,
        check: &CheckRecord,
        after: Option<String>,
        limit: usize,
    ) -> Result<Verified> {
        let (store, table) = (&self.service().store, Name::new(table));
        let records = store.scan(table, after, limit).await?;
        let mut verified = Verified {
            next: records.last().map(|(id, _)| id.clone()),
            ..Verified::default()
        };
        for (id, record) in records {
            verified.checked += 1;
            for why in settled(check, store, table, (id.clone(), record)).await? {
                match why.code() {
                    "undecodable" | "unknown_form" | "panicked" => return Err(why),
                    _ => verified.differences.push(Difference {
                        id: id.clone(),
                        description: why.to_string(),
                    }),
                }
            }
        }
        Ok(verified)
    }
}
