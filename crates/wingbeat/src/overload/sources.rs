//! The sources of readings: the machine, and the services and subscriptions of a process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wingbeat_core::{Name, Timestamp};

/// The machine on which a process runs. [`run`](crate::run()) reads the real one; a test returns
/// the readings that it needs.
pub trait Probe: Send + Sync {
    /// Returns the memory of the process, in percent of its limit; `None` if it has no limit or
    /// cannot be read.
    fn memory_percent(&self) -> Option<u64> {
        None
    }

    /// Returns the free space of the embedded store's disk, in bytes; `None` without such a store
    /// or if it cannot be read.
    fn disk_free(&self) -> Option<u64> {
        None
    }
}

/// The services and subscriptions of the process. Those of a service that restarts are replaced.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) services: BTreeSet<Name>,
    pub(super) subscriptions: BTreeMap<Name, Oldest>,
}

/// Returns the time at which the oldest delivery of a subscription was sent; `None` if it has none
/// in this process, or is paused: nobody expects a paused one to handle its messages soon.
pub(crate) type Oldest = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;
