//! Applies the events of aggregates that a projection has not counted yet.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use wingbeat_core::store::{Recorded, ServiceStore};
use wingbeat_core::unit::Row;
use wingbeat_core::{Error, Key, Name, Result, sabotage};

use super::super::aggregate::Aggregate;
use super::super::view::View;
use super::changes::CONCURRENT;
use super::comparison::{Keys, Recount};
use super::control::Parts;
use super::{Changes, PastEvent, Projection};
use crate::unit::{Projected, Scope};
use crate::{decode, encode};

/// The events of one aggregate that are read at once. A longer history takes several units.
const EVENTS: usize = 64;

/// The result of applying events.
pub(crate) struct Applied {
    /// The number of events that were applied.
    pub(crate) events: u64,
    /// The aggregates that may have further events.
    pub(crate) rest: BTreeSet<String>,
}

/// A projection without its type.
pub(crate) trait Projecting: Send + Sync {
    fn projected(&self) -> Projected;

    fn columns(&self) -> &'static [&'static str];

    /// Applies the events of these aggregates after their checkpoints. Rows and checkpoints are
    /// written in the unit of the scope. The caller makes sure that no other unit writes them
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// A store error; `undecodable` or `unknown_form` if stored data cannot be read.
    fn apply<'a>(
        &'a self,
        scope: &'a Scope,
        ids: BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Applied>>;

    /// Folds all histories again up to their checkpoints, into the rows with these keys.
    ///
    /// # Errors
    ///
    /// A store error.
    fn recount<'a>(&'a self, store: &'a ServiceStore, keys: Keys)
    -> BoxFuture<'a, Result<Recount>>;
}

/// The projection `P`.
pub(crate) struct Applying<P>(PhantomData<fn() -> P>);

/// The checkpoint of a projection in the history of one aggregate.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Checkpoint<P> {
    /// The position of the last event that counts.
    #[serde(rename = "v")]
    pub(super) sequence: u64,
    /// What the projection remembers of the aggregate.
    #[serde(rename = "m")]
    memory: P,
}

/// The next events of an aggregate.
struct Next<P> {
    id: String,
    checkpoint: Checkpoint<P>,
    events: Vec<Recorded>,
}

impl<P: Projection> Applying<P> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    pub(super) fn parts() -> Parts {
        Parts::of(P::Row::NAME, P::VERSION)
    }

    async fn next(store: &ServiceStore, progress: Name, id: String) -> Result<Next<P>> {
        let stored = store.row(progress, &id).await?;
        let checkpoint = match stored {
            None => Checkpoint::default(),
            Some(row) => decode::<Checkpoint<P>>(&row.body).map_err(|why| {
                let text = format!("what {} remembers of {id}: {why}", P::Row::NAME);
                Error::reject("undecodable", text)
            })?,
        };
        let key = Key::new(Name::new(P::Aggregate::NAME), id);
        let events = store.history_page(&key, checkpoint.sequence, EVENTS);
        Ok(Next {
            events: events.await?,
            id: key.id,
            checkpoint,
        })
    }

    async fn apply_all(scope: &Scope, ids: BTreeSet<String>) -> Result<Applied> {
        let (store, parts) = (&scope.service().store, Self::parts());
        let next = ids
            .into_iter()
            .map(|id| Self::next(store, parts.progress, id));
        let all: Vec<Next<P>> = stream::iter(next)
            .buffered(CONCURRENT)
            .try_collect()
            .await?;
        let mut changes = Changes::new();
        let mut applied = Applied {
            events: 0,
            rest: BTreeSet::new(),
        };
        for Next {
            id,
            checkpoint,
            events,
        } in all
        {
            if events.is_empty() {
                continue;
            }
            applied.events += events.len() as u64;
            let checkpoint = fold(&id, checkpoint, &events, &mut changes)?;
            if !sabotage::lacks(sabotage::PROJECTION_CHECKPOINT) {
                let row = Row {
                    columns: Vec::new(),
                    body: encode(&checkpoint),
                };
                scope.put_row(parts.progress, id.clone(), Some(row))?;
            }
            if events.len() == EVENTS {
                applied.rest.insert(id);
            }
        }
        changes.write(scope, parts.rows, P::COLUMNS).await?;
        Ok(applied)
    }
}

/// Folds events into the checkpoint and the changes of rows.
pub(super) fn fold<P: Projection>(
    id: &str,
    mut checkpoint: Checkpoint<P>,
    events: &[Recorded],
    changes: &mut Changes<P::Row>,
) -> Result<Checkpoint<P>> {
    let upcasts = P::Aggregate::upcasts();
    for stored in events {
        let event = upcasts.read(&stored.body).map_err(|why| {
            let text = format!("event {} of {id}: {why}", stored.sequence);
            Error::reject(why.code(), text)
        })?;
        let past = PastEvent {
            id,
            event: &event,
            sequence: stored.sequence,
            at: stored.at,
        };
        checkpoint.memory.project(&past, changes);
        checkpoint.sequence = stored.sequence;
    }
    Ok(checkpoint)
}

impl<P: Projection> Projecting for Applying<P> {
    fn projected(&self) -> Projected {
        Projected {
            table: Name::new(P::Aggregate::NAME),
            view: Name::new(P::Row::NAME),
            version: P::VERSION,
            changed: Self::parts().changed,
        }
    }

    fn columns(&self) -> &'static [&'static str] {
        P::COLUMNS
    }

    fn apply<'a>(
        &'a self,
        scope: &'a Scope,
        ids: BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Applied>> {
        Box::pin(Self::apply_all(scope, ids))
    }

    fn recount<'a>(
        &'a self,
        store: &'a ServiceStore,
        keys: Keys,
    ) -> BoxFuture<'a, Result<Recount>> {
        Box::pin(Self::recount_all(store, keys))
    }
}
