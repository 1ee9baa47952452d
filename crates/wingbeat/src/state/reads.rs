use std::sync::Arc;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{Position, Query, Select};
use wingbeat_core::{CorrelationId, Key, Name, Result};

use super::aggregate::{Aggregate, Snapshot};
use super::entity::Entity;
use super::view::View;
use crate::decode;
use crate::extract::Extract;
use crate::unit::{Entry, Scope, ServiceContext};

/// Reads a service's own data outside a unit of work: what screens and audits need.
#[derive(Clone)]
pub struct Reads {
    service: Arc<ServiceContext>,
}

/// Some rows of a view, and where the next page starts.
pub struct Listed<V> {
    /// Keys and rows.
    pub rows: Vec<(String, V)>,
    /// `None` on the last page.
    pub next: Option<Position>,
}

/// In a handler, for what it need not be validated against: a scheduled look, a clean-up.
impl<S> Extract<Scope, S> for Reads {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self::new(Arc::clone(scope.service())))
    }
}

impl Reads {
    pub(crate) fn new(service: Arc<ServiceContext>) -> Self {
        Self { service }
    }

    pub(crate) fn service(&self) -> &Arc<ServiceContext> {
        &self.service
    }

    /// Returns the port for time, chance and tasks.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.service.runtime
    }

    /// Returns the service's counters by name, for example `handled:orders.checkout`.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn counters(&self) -> Result<Vec<(Name, i64)>> {
        self.service.store.counters().await
    }

    /// A row by key.
    ///
    /// # Errors
    ///
    /// The store's, here and below.
    pub async fn row<V: View>(&self, key: &str) -> Result<Option<V>> {
        let row = self.service.store.row(Name::new(V::NAME), key).await?;
        row.map(|row| decode(&row.body)).transpose()
    }

    /// Rows by range or part.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn rows<V: View>(
        &self,
        select: Select,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Listed<V>> {
        let page = self
            .service
            .store
            .rows(Query {
                view: Name::new(V::NAME),
                select,
                after,
                limit,
            })
            .await?;
        let rows = page
            .rows
            .into_iter()
            .map(|(key, row)| Ok((key, decode(&row.body)?)))
            .collect::<Result<_>>()?;
        Ok(Listed {
            rows,
            next: page.next,
        })
    }

    /// An entity by id.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn entity<E: Entity>(&self, id: &E::Id) -> Result<Option<E>> {
        let key = Key::new(Name::new(E::NAME), id.to_string());
        self.service
            .store
            .load(&key)
            .await?
            .map(|record| decode(&record.body))
            .transpose()
    }

    /// Several entities at once, in the order of their ids; an error for each that does not fit its type.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn entities_of<E: Entity>(&self, ids: &[E::Id]) -> Result<Vec<Result<Option<E>>>> {
        let key = |id: &E::Id| Key::new(Name::new(E::NAME), id.to_string());
        let records = self.service.store.load_all(ids.iter().map(key).collect());
        let decoded = records.await?.into_iter().map(|record| {
            let record = record.as_ref();
            record.map(|record| decode(&record.body)).transpose()
        });
        Ok(decoded.collect())
    }

    /// An aggregate by id.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn aggregate<A: Aggregate>(&self, id: &A::Id) -> Result<Option<A>> {
        let key = Key::new(Name::new(A::NAME), id.to_string());
        let Some(record) = self.service.store.load(&key).await? else {
            return Ok(None);
        };
        Ok(Some(decode::<Snapshot<A>>(&record.body)?.state))
    }

    /// Entities in order of id, after `after`.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn entities<E: Entity>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, E)>> {
        let records = self
            .service
            .store
            .scan(Name::new(E::NAME), after, limit)
            .await?;
        records
            .into_iter()
            .map(|(id, record)| Ok((id, decode(&record.body)?)))
            .collect()
    }

    /// Aggregates in order of id, after `after`.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn aggregates<A: Aggregate>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, A)>> {
        let records = self
            .service
            .store
            .scan(Name::new(A::NAME), after, limit)
            .await?;
        records
            .into_iter()
            .map(|(id, record)| Ok((id, decode::<Snapshot<A>>(&record.body)?.state)))
            .collect()
    }

    /// What this service did in a story, oldest first.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn story(&self, story: CorrelationId) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for body in self.service.store.journal(story).await? {
            entries.extend(decode::<Vec<Entry>>(&body)?);
        }
        Ok(entries)
    }
}
