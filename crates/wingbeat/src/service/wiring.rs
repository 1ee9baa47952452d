//! What a service consists of, without the type of its state.

use std::time::Duration;

#[cfg(feature = "http")]
use axum::Router;
use wingbeat_core::Name;

use crate::call::Executor;
use crate::describe::ServiceDescription;
use crate::dispatch::Subscription;
use crate::project::Registered;
use crate::replay::{Begins, Histories};
#[cfg(feature = "test")]
use crate::saga;
use crate::saga::SagaCheck;
use crate::schedule::{Polling, Registered as RegisteredSchedule};
use crate::state::{CheckedView, Derived};
use crate::unit::Published;
use crate::{Promise, TargetPolicy};

/// The wiring of a service, independent of its state type.
pub(crate) struct Wiring {
    pub(crate) name: Name,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) executors: Vec<Executor>,
    pub(crate) targets: Vec<(&'static str, TargetPolicy)>,
    pub(crate) schedules: Vec<RegisteredSchedule>,
    pub(crate) polls: Vec<Polling>,
    /// The tables that handlers and routes use; one may occur several times.
    pub(crate) tables: Vec<Derived>,
    /// The views that handlers and routes use; one may occur several times.
    pub(crate) views: Vec<CheckedView>,
    pub(crate) saga_checks: Vec<SagaCheck>,
    /// The functions that publish events of histories.
    pub(crate) published: Published,
    /// The histories that can be replayed.
    pub(crate) histories: Histories,
    /// The projections of histories.
    pub(crate) projections: Registered,
    /// The subscriptions from the beginning.
    pub(crate) begins: Vec<Begins>,
    #[cfg(feature = "http")]
    pub(crate) routes: Router,
    #[cfg(feature = "test")]
    pub(crate) sagas: Vec<saga::Outline>,
    pub(crate) description: ServiceDescription,
    pub(crate) waits: Vec<SagaWaits>,
    /// The promises to users.
    pub(crate) promises: Vec<Promise>,
    /// The time for which a dead letter waits for a decision.
    pub(crate) dead_letters_kept: Duration,
    /// The largest number of runs of all subscriptions in a process.
    pub(crate) concurrency: Option<usize>,
}

/// The inputs of a saga that can end its states.
pub(crate) struct SagaWaits {
    pub(crate) queue: Name,
    pub(crate) timers: usize,
    /// Messages that do not start it.
    pub(crate) others: usize,
}
