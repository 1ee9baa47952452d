//! Doubles for tests of failures: a store that refuses chosen units, and the log as a test reads
//! it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tracing::field::Field;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Name, Record, Result, Store, Unit};

/// Returns whether a scan of this table, after this id, finds nothing.
pub(crate) type Hides = dyn Fn(Name, Option<&str>) -> bool + Send + Sync;

/// A store that refuses the units for which `refuses` returns `true`, and lists no record of a
/// table, after an id, for which `hides` does.
pub(crate) struct Refusing {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) refuses: Arc<dyn Fn(&Unit) -> bool + Send + Sync>,
    pub(crate) hides: Arc<Hides>,
}

impl Store for Refusing {
    forward_store!(
        prepare, ping, load, history, row, rows, journal, counters, settled, claim_due, next_due,
        backlog, retain, outbox
    );

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let refused: Vec<bool> = units.iter().map(|unit| (self.refuses)(unit)).collect();
            let accepted = units.iter().zip(&refused).filter(|(_, refused)| !**refused);
            let accepted = accepted.map(|(unit, _)| unit.clone()).collect();
            let outcomes = self.inner.commit(Arc::new(accepted)).await?;
            let mut outcomes = outcomes.into_iter();
            let outcome = |refused: bool| match refused {
                true => Some(Outcome::Refused),
                false => outcomes.next(),
            };
            Ok(refused.into_iter().filter_map(outcome).collect())
        })
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        if (self.hides)(table, after.as_deref()) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.inner.scan(service, table, after, limit)
    }
}

/// The log of this thread: one line per event, with its level and fields.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Starts to record. The log ends with the guard.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let recording = tracing_subscriber::registry().with(log.clone());
        (log, tracing::subscriber::set_default(recording))
    }

    /// Counts the lines that contain all of these parts.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        let lines = self.0.lock().expect("no test panics with it");
        let matches = |line: &&String| parts.iter().all(|part| line.contains(part));
        lines.iter().filter(matches).count()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            let _ = write!(line, " {field}={value:?}"); // Writing to a string never fails.
        });
        self.0.lock().expect("no test panics with it").push(line);
    }
}
