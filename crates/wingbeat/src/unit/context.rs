//! The context of a running service.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{BoxFuture, Cache, Error, HttpClient, Name, Result, ServiceStore};

use crate::bodies::LargeBodies;
use crate::commit::Committer;
use crate::recording::Recorder;
use crate::trust::Commands;

/// A running service, for code beside its handlers: seeding, routes, audits.
///
/// Handlers do not get it: they record effects through their extractors, and only the runtime
/// commits. Pass it to [`run_unit`](crate::run_unit) to commit a unit of work, or read the
/// service's data through [`Reads`](crate::Reads).
pub struct ServiceContext {
    pub(crate) name: Name,
    pub(crate) store: ServiceStore,
    pub(crate) committer: Arc<Committer>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) trust: Option<Arc<Commands>>,
    pub(crate) bodies: Option<LargeBodies>,
    pub(crate) published: Arc<Published>,
    pub(crate) incomplete: Incomplete,
    pub(crate) projections: Projections,
    /// Set if the service records stories.
    pub(crate) recorder: Option<Recorder>,
    pub(crate) past: Past,
}

/// Folds the history of an aggregate to each of these lengths, in ascending order. Returns `None`
/// for a state that the history does not reach, or only after too many events.
pub(crate) type Fold = Arc<
    dyn Fn(ServiceStore, String, Vec<u64>) -> BoxFuture<'static, Result<Vec<Option<Value>>>>
        + Send
        + Sync,
>;

/// Readers of past states, by table. The types are erased here, since this module knows neither
/// aggregates nor sagas.
#[derive(Default)]
pub(crate) struct Past {
    /// The aggregates.
    pub(crate) folds: BTreeMap<&'static str, Fold>,
    /// The sagas.
    pub(crate) sagas: BTreeMap<&'static str, PastSaga>,
}

/// A saga of this release.
#[cfg_attr(
    not(feature = "host"),
    expect(dead_code, reason = "only the operator's API reads it")
)]
#[derive(Clone, Copy)]
pub(crate) struct PastSaga {
    pub(crate) queue: Name,
    /// Returns the name of the state of a stored saga.
    pub(crate) state: fn(&[u8]) -> Result<&'static str>,
    /// Returns the messages that can move it once it has started, without its timers.
    pub(crate) inputs: fn() -> Vec<&'static str>,
}

/// The views and index columns that lack rows of older records.
#[derive(Default)]
pub(crate) struct Incomplete(RwLock<BTreeSet<(Name, Option<Name>)>>);

impl Incomplete {
    /// Replaces all. A view without a column stands for its rows as such.
    pub(crate) fn set(&self, all: BTreeSet<(Name, Option<Name>)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// Returns `index_incomplete` if a list by this column, or of all rows, would miss some.
    pub(crate) fn check(&self, view: Name, column: Option<Name>) -> Result<()> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() || !(all.contains(&(view, None)) || all.contains(&(view, column))) {
            return Ok(());
        }
        let by = column.map_or_else(String::new, |column| format!(" by {column}"));
        let text = format!("the rows of {view}{by} are being rebuilt: a list would miss some");
        Err(Error::retry("index_incomplete", text))
    }
}

/// The functions that publish events of histories, by aggregate type. The types are erased here,
/// since this module knows no aggregates.
#[derive(Default)]
pub(crate) struct Published(pub(crate) BTreeMap<TypeId, Vec<Box<dyn Any + Send + Sync>>>);

impl Published {
    /// Returns the functions of type `P` for the aggregate type `A`.
    pub(crate) fn of<A: 'static, P: 'static>(&self) -> impl Iterator<Item = &P> {
        let all = self.0.get(&TypeId::of::<A>()).into_iter().flatten();
        all.filter_map(|one| one.downcast_ref())
    }
}

/// A projection of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Projected {
    /// The aggregate type.
    pub(crate) table: Name,
    /// The view of its rows, which is also its name.
    pub(crate) view: Name,
    pub(crate) version: u32,
    /// The stored view in which units note the aggregates that have new events.
    pub(crate) changed: Name,
}

/// The projections of this release.
#[derive(Default)]
pub(crate) struct Projections(pub(crate) Vec<Projected>);

impl Projections {
    /// Returns the projections of an aggregate type.
    pub(crate) fn of_table(&self, table: &str) -> impl Iterator<Item = &Projected> {
        self.0.iter().filter(move |it| it.table.as_str() == table)
    }

    /// Returns the projection that writes a view.
    pub(crate) fn of_view(&self, view: Name) -> Option<&Projected> {
        self.0.iter().find(|it| it.view == view)
    }
}

impl ServiceContext {
    /// Returns the service's name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// Returns the port for time, chance and tasks.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }

    /// Returns the cache that all services share.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.cache
    }
}
