//! A store that records the units that it commits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    BoxFuture, CorrelationId, Key, MessageId, Name, Record, Result, Store, Timestamp, Topology,
    Unit,
};
use wingbeat_embedded::Embedded;

type Scanned = Vec<(String, Record)>;
type Due = Vec<DueRecord>;

pub(super) struct Recorder {
    store: Arc<Embedded>,
    records: AtomicBool,
    units: Mutex<Vec<Unit>>,
}

impl Recorder {
    pub(super) fn new(store: Arc<Embedded>) -> Self {
        Self {
            store,
            records: AtomicBool::new(false),
            units: Mutex::default(),
        }
    }

    pub(super) fn start(&self) {
        self.records.store(true, Ordering::SeqCst);
    }

    /// Returns the units that were committed since the start, in order.
    pub(super) fn stop(&self) -> Vec<Unit> {
        self.records.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.units.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Calls the method of the store.
macro_rules! forward {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> BoxFuture<'_, Result<$out>> {
            self.store.$name($($arg),*)
        })*
    };
}

impl Store for Recorder {
    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let outcomes = self.store.commit(Arc::clone(&units)).await?;
            if self.records.load(Ordering::SeqCst) {
                let mut all = self.units.lock().unwrap_or_else(PoisonError::into_inner);
                let committed = units.iter().zip(&outcomes);
                let committed = committed.filter(|(_, it)| **it == Outcome::Committed);
                all.extend(committed.map(|(unit, _)| unit.clone()));
            }
            Ok(outcomes)
        })
    }

    forward! {
        prepare(services: &[Name], topology: &Topology) -> ();
        ping() -> ();
        load(service: Name, key: &Key) -> Option<Record>;
        scan(service: Name, table: Name, after: Option<String>, limit: usize) -> Scanned;
        history(service: Name, key: &Key, after: u64) -> Vec<Recorded>;
        row(service: Name, view: Name, key: &str) -> Option<Row>;
        rows(service: Name, query: Query) -> Page;
        journal(service: Name, story: CorrelationId) -> Vec<Bytes>;
        counters(service: Name) -> Vec<(Name, i64)>;
        settled(queue: Name, source: &str, message: MessageId) -> bool;
        claim_due(services: &[Name], now: Timestamp, lease: Duration, limit: usize) -> Due;
        next_due(services: &[Name]) -> Option<Timestamp>;
        backlog(service: Name, now: Timestamp) -> Backlog;
        retain(now: Timestamp) -> u64;
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.store.outbox()
    }
}
