//! Reads of sagas.

use wingbeat_core::{Name, Result, Timestamp};

use super::count::counted;
use super::definition::Saga;
use super::step::{SagaRecord, table, timer_key};
use crate::decode;
use crate::state::Reads;

/// The state in which the counters count ended instances.
const ENDED: &str = "ended";

impl Reads {
    /// Returns at most `limit` sagas in the order of their ids, starting after the id `after`.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored saga does not match
    /// its type.
    pub async fn sagas<S: Saga>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, SagaRecord<S>)>> {
        let records = self.scan(table(S::NAME), after, limit);
        let records = records.await?.into_iter();
        let decoded = records.map(|(id, record)| Ok((id, decode(&record.body)?)));
        decoded.collect()
    }

    /// Counts the instances of a saga that have not ended.
    ///
    /// Reads counters that the units keep, so the cost does not grow with the number of sagas.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn open_sagas<S: Saga>(&self) -> Result<u64> {
        self.count_sagas::<S>(|state| state != ENDED).await
    }

    /// Counts the instances of a saga that have ended, since the service exists.
    ///
    /// Reads counters that the units keep, so the cost does not grow with the number of sagas.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn ended_sagas<S: Saga>(&self) -> Result<u64> {
        self.count_sagas::<S>(|state| state == ENDED).await
    }

    async fn count_sagas<S: Saga>(&self, counts: impl Fn(&str) -> bool) -> Result<u64> {
        let counters = self.counters().await?.into_iter();
        let counted = counters.filter_map(|(name, count)| {
            let (saga, state) = counted(name)?;
            (saga == S::NAME && counts(state)).then_some(count)
        });
        Ok(counted.sum::<i64>().max(0).unsigned_abs())
    }

    /// Returns when a pending timer of a saga is due; `None` if there is no such timer. `timer` is
    /// the wire type of its message.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn timer_due<S: Saga>(&self, id: &str, timer: &str) -> Result<Option<Timestamp>> {
        let queue = Name::intern(&format!("{}.{}", self.service().name, S::NAME));
        let key = timer_key(queue, id, timer);
        let record = self.load(&key).await?;
        Ok(record.and_then(|record| record.due_at))
    }
}
