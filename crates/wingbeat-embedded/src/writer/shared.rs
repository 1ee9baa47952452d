//! State in memory that the writer shares with readers and consumers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wingbeat_core::store::Walk;
use wingbeat_core::unit::Settled;
use wingbeat_core::{Key, Name};

use crate::broker::Broker;
use crate::guard::Guard;
use crate::id::RecordKey;
use crate::intake::Intake;
use crate::leases::Leases;
use crate::names::{NONE, Names, Space};
use crate::recent::Recent;
use crate::removed::Removed;
use crate::stats::Counters;

/// State in memory that the writer shares with readers and consumers.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) names: Arc<Names>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) removed: Arc<Removed>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) guard: Arc<Guard>,
    /// The places at which the sweep continues in the inbox and in the journal.
    pub(crate) walks: Arc<Mutex<[Walk; 2]>>,
}

impl Shared {
    /// Returns the stored form of a record's key; interns its table.
    pub(super) fn key(&self, service: Name, key: &Key) -> RecordKey {
        let table = self.names.intern_under(service, Space::Table, key.table);
        RecordKey::new(table, key)
    }

    /// Returns the places at which the sweep continues.
    pub(super) fn walks(&self) -> MutexGuard<'_, [Walk; 2]> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interns a service.
    pub(super) fn service(&self, service: Name) -> u32 {
        self.names.intern(Space::Service, NONE, service.as_str())
    }

    /// Interns the inbox scope of a delivery: its publisher, for one queue.
    pub(super) fn scope(&self, settled: &Settled) -> u32 {
        self.names.intern_scope(settled.queue, &settled.source)
    }
}
